"""d2l_init: how neural networks get their first weights, predicted, drawn and measured.

The package has four rooms::

    core      laws          what an initializer draws: Law, law, fans, gain
              initializers  those that MXNet lacks; base: into its memory; filling: with values
              plots         weights with their law on top; figures: what all figures share
              frameworks    whose net it is: MXNet's or PyTorch's
    lab/      trace         what each block does to signals and gradients; signals: the record
              spectra       what layers do to directions; lsuv: scales that the data decide
              theory        what mean-field theory predicts of it
              diagnose      what is wrong with a net: case, what was measured; faults, the rules;
                            diagnosis, what was found, in words
              watch         what a diagnosis notes; nested: arrays in tuples and dicts. Files named
                            gluon_ or torch_ know one framework each, the others none
              training      many nets side by side; sweeps: grids of experiments
              plots         measurement and prediction in one figure; explore: with controls
    machine/  doctor        what is missing here; kernels and recording of notebooks
    classroom/ check        a student's answer to an exercise, made into plain arrays
              judges        what they earn: tasks are data, and so are known mistakes

Nothing in the core imports the other three. Every public name is loaded on first use, so that
``import d2l_init`` needs nothing but Python, and ``python -m d2l_init`` can speak on a machine
where MXNet cannot be imported.

>>> import d2l_init
>>> d2l_init.he_normal()
VarianceScaling(scale=2.0)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classroom.check import check as check
    from .figures import caption as caption, plot_curves as plot_curves, show as show
    from .initializers import (
        DeltaOrthogonal as DeltaOrthogonal,
        HaarOrthogonal as HaarOrthogonal,
        Identity as Identity,
        Mixture as Mixture,
        Sparse as Sparse,
        TruncatedNormal as TruncatedNormal,
        VarianceScaling as VarianceScaling,
        glorot_normal as glorot_normal,
        glorot_uniform as glorot_uniform,
        he_normal as he_normal,
        he_uniform as he_uniform,
        lecun_normal as lecun_normal,
        lecun_uniform as lecun_uniform,
    )
    from .lab.diagnose import diagnose as diagnose
    from .lab.diagnosis import Diagnosis as Diagnosis
    from .lab.explore import explore as explore
    from .lab.lsuv import lsuv as lsuv
    from .lab.plots import (
        plot_layer_histograms as plot_layer_histograms,
        plot_map as plot_map,
        plot_phases as plot_phases,
        plot_signals as plot_signals,
    )
    from .lab.spectra import jacobian as jacobian, log_singular_values as log_singular_values
    from .lab.sweeps import sweep as sweep
    from .lab.theory import (
        MeanField as MeanField,
        critical_sigma_w as critical_sigma_w,
        mean_field as mean_field,
    )
    from .lab.trace import Trace as Trace, trace as trace
    from .lab.training import accuracy as accuracy, train as train
    from .laws import Law as Law, fans as fans, gain as gain, law as law
    from .machine.doctor import doctor as doctor
    from .machine.kernels import install_kernel as install_kernel
    from .machine.recording import record as record
    from .plots import (
        gallery as gallery,
        plot_histogram as plot_histogram,
        plot_weights as plot_weights,
    )

_MODULES = {
    "classroom.check": "check",
    "figures": "caption plot_curves show",
    "initializers": "DeltaOrthogonal HaarOrthogonal Identity Mixture Sparse TruncatedNormal "
    "VarianceScaling glorot_normal glorot_uniform he_normal he_uniform lecun_normal lecun_uniform",
    "laws": "Law fans gain law",
    "plots": "gallery plot_histogram plot_weights",
    "lab.diagnose": "diagnose",
    "lab.diagnosis": "Diagnosis",
    "lab.explore": "explore",
    "lab.lsuv": "lsuv",
    "lab.plots": "plot_layer_histograms plot_map plot_phases plot_signals",
    "lab.spectra": "jacobian log_singular_values",
    "lab.sweeps": "sweep",
    "lab.theory": "MeanField critical_sigma_w mean_field",
    "lab.trace": "Trace trace",
    "lab.training": "accuracy train",
    "machine.doctor": "doctor",
    "machine.kernels": "install_kernel",
    "machine.recording": "record",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("initializers", "laws", "plots"):
        return import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .frameworks import mxnet_needed

    with mxnet_needed(f"d2l_init.{name}"):
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
