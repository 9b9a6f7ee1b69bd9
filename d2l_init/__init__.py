"""d2l_init: how neural networks get their first weights, predicted, drawn and measured.

Every public name is loaded on first use, so that ``import d2l_init`` needs nothing but Python:
``python -m d2l_init`` can speak on a machine where MXNet cannot be imported.

>>> import d2l_init
>>> d2l_init.he_normal()
VarianceScaling(scale=2.0)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .initializers import DeltaOrthogonal as DeltaOrthogonal
    from .initializers import HaarOrthogonal as HaarOrthogonal
    from .initializers import Identity as Identity
    from .initializers import Mixture as Mixture
    from .initializers import Sparse as Sparse
    from .initializers import TruncatedNormal as TruncatedNormal
    from .initializers import VarianceScaling as VarianceScaling
    from .initializers import glorot_normal as glorot_normal
    from .initializers import glorot_uniform as glorot_uniform
    from .initializers import he_normal as he_normal
    from .initializers import he_uniform as he_uniform
    from .initializers import lecun_normal as lecun_normal
    from .initializers import lecun_uniform as lecun_uniform
    from .laws import Law as Law
    from .laws import fans as fans
    from .laws import gain as gain
    from .laws import law as law
    from .plots import caption as caption
    from .plots import gallery as gallery
    from .plots import plot_curves as plot_curves
    from .plots import plot_histogram as plot_histogram
    from .plots import plot_weights as plot_weights
    from .plots import show as show
    from .runtime import doctor as doctor
    from .runtime import install_kernel as install_kernel
    from .runtime import record as record
    from .signal_plots import plot_layer_histograms as plot_layer_histograms
    from .signal_plots import plot_map as plot_map
    from .signal_plots import plot_phases as plot_phases
    from .signal_plots import plot_signals as plot_signals
    from .signal_plots import plot_spectra as plot_spectra
    from .signals import Trace as Trace
    from .signals import trace as trace
    from .spectra import jacobian as jacobian
    from .spectra import log_singular_values as log_singular_values
    from .sweeps import sweep as sweep
    from .theory import MeanField as MeanField
    from .theory import critical_sigma_w as critical_sigma_w
    from .theory import mean_field as mean_field
    from .training import accuracy as accuracy
    from .training import train as train

_ROOMS = {
    "initializers": (
        "DeltaOrthogonal HaarOrthogonal Identity Mixture Sparse TruncatedNormal VarianceScaling "
        "glorot_normal glorot_uniform he_normal he_uniform lecun_normal lecun_uniform"
    ),
    "laws": "Law fans gain law",
    "plots": "caption gallery plot_curves plot_histogram plot_weights show",
    "runtime": "doctor install_kernel record",
    "signal_plots": "plot_layer_histograms plot_map plot_phases plot_signals plot_spectra",
    "signals": "Trace trace",
    "spectra": "jacobian log_singular_values",
    "sweeps": "sweep",
    "theory": "MeanField critical_sigma_w mean_field",
    "training": "accuracy train",
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted(_ROOM_OF)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOM_OF, *_ROOMS})
