"""Bad input: an error that names the argument, the rule and the value, and nothing lost."""

import mxnet as mx
import numpy as np
import pytest
from mxnet import init
from mxnet.gluon import nn
from scipy import stats

import d2l_init as di

NAN = float("nan")
CONSTRUCTIONS = [
    (lambda: di.TruncatedNormal(std=-1), "std must be a positive number, got -1"),
    (lambda: di.TruncatedNormal(std=NAN), "std must be a positive number, got nan"),
    (lambda: di.TruncatedNormal(mean=float("inf")), "mean must be a finite number, got inf"),
    (lambda: di.TruncatedNormal(bound=0), "bound must be a positive number, got 0"),
    (lambda: di.TruncatedNormal(std="1"), "std must be a positive number, got '1'"),
    (lambda: di.VarianceScaling(scale=0), "scale must be a positive number, got 0"),
    (lambda: di.VarianceScaling(mode="fan_inn"), "mode must be one of .* did you mean 'fan_in'"),
    (lambda: di.VarianceScaling(distribution="gauss"), "distribution must be one of .*got 'gauss'"),
    (lambda: di.VarianceScaling(distribution="uniforn"), "did you mean 'uniform'"),
    (lambda: di.VarianceScaling(layout="HWIO"), "layout must be one of .*got 'HWIO'"),
    (lambda: di.VarianceScaling(groups=0), "groups must be a whole number of at least 1, got 0"),
    (lambda: di.HaarOrthogonal(gain=-2), "gain must be a positive number, got -2"),
    (lambda: di.Sparse(nonzero=0), "nonzero must be a whole number of at least 1, got 0"),
    (lambda: di.Sparse(nonzero=1.5), "nonzero must be a whole number of at least 1, got 1.5"),
    (lambda: di.Sparse(std=-1), "std must be a positive number, got -1"),
    (lambda: di.Identity(seed=-1), "seed must be a whole number of at least 0, got -1"),
    (lambda: di.Identity(seed=1.0), "seed must be a whole number of at least 0, got 1.0"),
    (lambda: di.Identity(seed=True), "seed must be a whole number of at least 0, got True"),
    (lambda: di.Mixture([(0.5, 0), (0.6, 1)]), r"probabilities must .* sum to 1, got \[0.5, 0.6\]"),
    (lambda: di.Mixture([(-1, 0), (2, 1)]), "probability must be a positive number, got -1"),
    (lambda: di.Mixture([(NAN, 0), (1, 1)]), "probability must be a positive number, got nan"),
    (lambda: di.Mixture(0.5), r"parts must be pairs \(probability, draw\), got 0.5"),
    (lambda: di.Mixture([(1, (2, 1))]), r"draw must be .* low < high.*got \(2, 1\)"),
    (lambda: di.Mixture([(1, "norm")]), "draw must be .*got 'norm'"),
    (lambda: di.Mixture([(1, stats.norm)]), "draw must be .*frozen"),
    (lambda: di.Mixture([(1, stats.norm(0, -1))]), "arguments that norm does not allow"),
    (lambda: di.Mixture([(1, stats.poisson(3))]), "continuous distribution that scipy.stats has"),
    (lambda: di.Mixture([(1, stats.rv_histogram(np.histogram([1, 2]))())]), "by name"),
    (lambda: di.Mixture([(1, stats.norm([0, 1]))]), "loc must be a finite number"),
    (lambda: di.gain("rellu"), "activation must be one of .* did you mean 'relu'"),
    (lambda: di.gain(lambda z: z[:2]), "activation must return the shape it is given"),
    (lambda: di.gain(np.zeros_like), "activation must have a finite"),
    (lambda: di.gain(np.log), "activation must give a finite number for each, got .*nan"),
    (lambda: di.gain(lambda z: 1e200 * z), "activation must have a finite"),
    (lambda: di.gain(3), "activation must be a name or a function, got 3"),
    (lambda: di.gain("leaky_relu", slope=True), "slope must be a finite number, got True"),
    (lambda: di.gain("leaky_relu", slope=NAN), "slope must be a finite number, got nan"),
    (lambda: di.fans((8,)), r"2 to 5 axes .*got \(8,\)"),
    (lambda: di.fans((8, -1)), "every size in shape must be known and positive"),
    (lambda: di.fans((8, 4, 3), layout="OIHW"), "layout must be one of OIW, .*got 'OIHW'"),
    (lambda: di.fans((8, 4), groups=3), "groups must divide the first size .*got 3"),
    (lambda: di.law(init.Xavier("guassian"), (8, 4)), "rnd_type .* did you mean 'gaussian'"),
    (lambda: di.law(init.Xavier(factor_type="inn"), (8, 4)), "factor_type .* did you mean 'in'"),
    (lambda: di.law(init.Bilinear(), (8, 4)), "Bilinear needs 4 axes"),
    (lambda: di.plot_histogram([]), "values must not be empty"),
    (lambda: di.gallery([], (8, 4)), "initializers must hold at least one"),
]


@pytest.mark.filterwarnings("ignore:(invalid|divide):RuntimeWarning")
@pytest.mark.parametrize(
    ("call", "message"), CONSTRUCTIONS, ids=lambda x: str(x)[:60] if isinstance(x, str) else ""
)
def test_the_error_names_argument_rule_and_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()


SHAPES = [
    (di.he_normal(), (8,)),
    (di.HaarOrthogonal(), (8,)),
    (di.Sparse(), (8,)),
    (di.Identity(), (8,)),
    (di.DeltaOrthogonal(), (4, 8, 3, 3)),
    (di.DeltaOrthogonal(layout="IOHW"), (8, 4, 3, 3)),
    (di.DeltaOrthogonal(), (8, 4, 2, 2)),
    (di.Identity(), (4, 4, 2, 3)),
    (di.Identity(groups=3), (4, 4, 3, 3)),
    (di.VarianceScaling(layout="OIHW"), (8, 4)),
]


@pytest.mark.parametrize(("initializer", "shape"), SHAPES, ids=str)
def test_an_unfit_shape_is_refused_with_the_parameters_name_and_the_array_stays(initializer, shape):
    array = mx.nd.ones(shape)
    description = init.InitDesc("head_bias", {"__init__": initializer})
    with pytest.raises(ValueError, match="parameter 'head_bias': "):
        initializer(description, array)
    assert (array.asnumpy() == 1).all()
    with pytest.raises(ValueError, match="parameter 'head_bias': "):
        di.law(initializer, shape, name="head_bias")


def test_a_bias_without_initializer_is_named_with_the_way_out():
    # Gluon drops a parameter's old values before it calls any initializer with force_reinit, so
    # what our error can save is the array it is given, not the parameter's last state.
    layer = nn.Dense(8, in_units=4, bias_initializer=None, prefix="out_")
    with pytest.raises(ValueError, match=r"'out_bias'.*initializer of its own, such as 'zeros'"):
        layer.initialize(di.he_normal())


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
def test_whole_number_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match=f"dtype must be float16, float32 or float64, got {dtype}"):
        di.he_normal().sample((8, 4), dtype)
    array = mx.nd.ones((8, 4), dtype="int32")
    with pytest.raises(ValueError, match="parameter 'w_weight': dtype"):
        di.he_normal()(init.InitDesc("w_weight"), array)
    assert (array.asnumpy() == 1).all()


def test_nets_that_cannot_be_plotted_say_what_to_do():
    with pytest.raises(ValueError, match="net must have parameters to plot, got Sequential"):
        di.plot_weights(nn.Sequential())
    layer = nn.Dense(8, prefix="a_")
    with pytest.raises(ValueError, match=r"'a_weight' has no values yet: call net\.initialize"):
        di.plot_weights(layer)
    layer.initialize()
    with pytest.raises(ValueError, match=r"'a_weight' has no values yet: .*pass one batch"):
        di.plot_weights(layer)


def test_a_law_that_is_not_known_says_how_to_give_one():
    with pytest.raises(LookupError, match=r"no law is known for Orthogonal: .*HaarOrthogonal"):
        di.law(init.Orthogonal(), (4, 4))
    with pytest.raises(LookupError, match=r"method law\(shape\)"):
        di.law(object(), (4, 4))
