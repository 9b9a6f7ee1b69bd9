"""Tasks of chapters 01 to 04: data for the judges."""

from collections.abc import Callable
from math import log, prod, sqrt
from typing import Any

from scipy import stats

from ..laws import Law
from .judges import Task
from .mistakes import clipped_normal, constant, cut_normal, normal, uniform, variance_scaling
from .rows import draws, measured, named, net, numbers
from .verdicts import Shape


def _scaled(kind: Callable[[float], Law], size: float, power: float = -0.5) -> Any:
    """Laws whose standard deviation is ``size`` times a power of the fan-in."""
    return lambda shape: kind(size * prod(shape[1:]) ** power)


def _always(law: Law) -> Callable[[Shape], Law]:
    return lambda shape: law


def _half_empty(share: float, part: Any) -> Callable[[Shape], Law]:
    return _always(Law([(share, 0.0), (1 - share, part)]))


def _tails_cut(std: float) -> Law:
    return cut_normal(std / cut_normal(1).std)


_NO_FAN = "a unit that sums more inputs needs smaller weights"
_REBOUND = "`data = ...` makes a new array and calls it data; `data[:] = ...` fills MXNet's"
_FORCE = "weights are as they were: what does initialize do to them without force_reinit?"
_DEFAULT = "what initialize gives a net or a block is a default: does a bias listen to it?"
_VARIANCE = "that is the variance: take its root"
_WHOLE = "a whole Gaussian is asked for, and the tails of this one are cut"

_STD = 0.07 / sqrt(3)  # of MXNet's default
_EACH = 0.1 ** (1 / 4)  # what four layers multiply by, each, that leave a tenth

_MEAN_FAN = "without arguments, which fan does it divide by?"
_WAY = "its gradient comes back through W2: what is W2?"
_HE, _XAVIER = (variance_scaling("normal", scale, "in") for scale in (2, 0.3))
_AXIS = "which axes of a weight count what one output sums?"
_THREE = "he_for did the same: is it a Gaussian, which are the fans, what is the argument?"
_TWO = "two things are wrong: the fan-in, and what Normal's argument is"

_BODY = "the body was to stay: on which part of the net is initialize to be called?"
_LAST = "of several patterns that fit, the first counts"
_YIELDS = "to what does the initializer of a net or a block yield?"
_VALUE = "force_reinit throws values away: which initializer is asked for new ones?"
_LAWS = {
    **dict.fromkeys(["body0_weight", "body1_weight"], normal(sqrt(2 / 64))),
    "head_weight": normal(0.01),
}
_HEAD = {"head_weight": normal(0.01), "head_bias": constant(-2.2)}
_NO_BIAS = {**_HEAD, "head_bias": constant(0)}
_BLOCK = {"head_weight": constant(-2.2), "head_bias": constant(0)}
_OLD = {"head_weight": constant(0.5), "head_bias": constant(0)}
_DRAWN = {"body_weight": Law([(1.0, stats.norm(-0.5, 0.01))])}  # how far from what it was
_COUNTS = (178, 182, 177, 183, 181, 22, 14, 15, 15, 10)  # of digits that are kept
_BEST = -sum(count / 977 * log(count / 977) for count in _COUNTS)

_EITHER = "either of the two p-values may be the one that is below 0.01"
_OTHERS = "std is that of the weights which are not zero"
_PILE = "values beyond the bound pile up in one place: are they drawn again?"
_BEYOND = 2 * float(stats.norm.sf(2))  # share of a normal law beyond two standard deviations
_CUT = stats.truncnorm(-2, 2, scale=0.05)
_TAILS = [stats.truncnorm(2, 99, scale=0.05), stats.truncnorm(-99, -2, scale=0.05)]
_ONCE = Law([(1 - _BEYOND**2, _CUT), *((_BEYOND**2 / 2, tail) for tail in _TAILS)])

TASKS: list[Task] = [
    numbers(
        "01-default",
        {"std": 0.1 / sqrt(3), "twenty layers": (16 * _STD) ** 20, "width": 300},
        ("std", "std for bound", 0.1, "is a the standard deviation of U(−a, a)?"),
        ("std", "variance for std", 0.01 / 3, _VARIANCE),
        ("std", "root of 3 forgotten", 0.1 / 3, "the variance is a²/3: what is its root?"),
        ("twenty layers", "halved", 0.0064, "do ten more layers take one half, or a factor?"),
        ("twenty layers", "doubled", 0.0256, "do factors of layers add up?"),
        ("width", "std for bound", 100, "is the variance of U(−a, a) equal to a²?"),
        ("width", "std for variance", sqrt(300), "n σ² must be 1, not n σ"),
    ),
    draws(
        "01-bound",
        _scaled(uniform, _EACH),
        ("std for bound", _scaled(uniform, _EACH / sqrt(3)), "what is the σ of U(−a, a)?"),
        ("3 left outside", _scaled(uniform, _EACH * sqrt(3)), "a is √3 σ, not 3 σ"),
        ("depth forgotten", _scaled(uniform, 0.1), "is 0.1 for one layer, or for all?"),
        ("depth divides", _scaled(uniform, 0.025), "do factors of layers add up?"),
        ("std for variance", _scaled(uniform, sqrt(_EACH)), "the factor is √n σ, not n σ²"),
        ("variance for std", _scaled(uniform, _EACH**2, -1), "was a root forgotten?"),
        ("fan forgotten", _scaled(uniform, _EACH, 0), _NO_FAN),
        ("normal for uniform", _scaled(normal, _EACH), "a uniform law is asked for"),
        arguments=lambda shape: (prod(shape[1:]), 4, 0.1),
    ),
    draws(
        "01-repair",
        named(weight=uniform(_STD), bias=constant(0)),
        ("old weights", named(weight=constant(0.5), bias=constant(0)), _FORCE),
        **net(first=(64, 64), second=(64, 64), last=(10, 64)),
    ),
    measured(
        "01-relu",
        16 * _STD / sqrt(2),
        ("layer without activation", 16 * _STD, "did the signal pass a ReLU?"),
        ("half for its root", 8 * _STD, "ReLU halves E[z²]: what does its root lose?"),
        ("all layers", (16 * _STD) ** 10 / 32, "that is the factor of ten layers"),
        ("variance for std", (16 * _STD) ** 2 / 2, "that is the factor of E[h²]"),
        ("std for rms", 0.377, "after a ReLU the mean is not 0: take √E[h²]"),
    ),
    numbers(
        "02-spread",
        {
            "Xavier": 40**-0.5,
            "gaussian": 0.075**0.5,
            "MSRAPrelu": 21.25**-0.5,
            "Orthogonal": 60**-0.5,
        },
        ("Xavier", "bound for std", sqrt(3 / 40), "that is the bound, not the deviation"),
        ("Xavier", "sum of fans", sqrt(1 / 80), "does it divide by the fans' sum, or their mean?"),
        ("Xavier", "wrong fan", sqrt(1 / 60), _MEAN_FAN),
        ("gaussian", "3 left out", sqrt(1 / 40), "what becomes of the magnitude's 3 here?"),
        ("gaussian", "wrong fan", sqrt(3 / 60), _MEAN_FAN),
        ("MSRAPrelu", "He's rule", sqrt(2 / 60), "that is He's rule: is it what this draws?"),
        ("MSRAPrelu", "slope forgotten", sqrt(2 / 40), "which slope does it expect?"),
        ("MSRAPrelu", "wrong fan", sqrt(2 / 1.0625 / 60), _MEAN_FAN),
        ("Orthogonal", "wrong side", sqrt(1 / 20), "a row has length 1: how many entries has it?"),
    ),
    numbers(
        "02-gradients",
        {"W1": 0, "b1": 0, "W2": 1, "b2": 1, "after one step": 4},
        ("W1", "way back", 1, _WAY),
        ("b1", "way back", 1, _WAY),
        ("W2", "still at zero", 0, "its gradient contains h: is h still zero?"),
        ("b2", "still at zero", 0, "it moved even in the net of zeros"),
        ("after one step", "still at zero", 2, "W2 has moved: what does it let through now?"),
        ("after one step", "way back", 3, "W1 and b1 are reached by the same way"),
    ),
    draws(
        "02-xavier",
        _XAVIER["right"],
        ("fan forgotten", _scaled(normal, sqrt(0.3), -1), "Xavier divides by the fan"),
        ("uniform for normal", _scaled(uniform, sqrt(0.1)), "is it a Gaussian?"),
        ("tails cut", _scaled(_tails_cut, sqrt(0.3)), _WHOLE),
        known=_XAVIER["mistakes"],
        arguments=lambda shape: (0.3 / prod(shape[1:]), prod(shape[1:])),
    ),
    draws(
        "02-repair",
        _HE["right"],
        ("first axis", lambda shape: normal(sqrt(2 / shape[0])), _AXIS),
        ("first axis, variance for std", lambda shape: normal(2 / shape[0]), _TWO),
        ("kernel forgotten, variance for std", lambda shape: normal(2 / shape[1]), _TWO),
        ("nothing repaired", lambda shape: uniform(2 / 3**0.5 / shape[0]), _THREE),
        ("uniform for normal", _scaled(uniform, sqrt(2 / 3)), "is it a Gaussian?"),
        ("MSRAPrelu's slope", _scaled(normal, sqrt(2 / 1.0625)), "ReLU has the slope 0"),
        ("tails cut", _scaled(_tails_cut, sqrt(2)), _WHOLE),
        known=_HE["mistakes"],
        arguments=lambda shape: (shape,),
    ),
    measured(
        "02-start",
        23.1,  # measured with 16 seeds, which differ by 0.2
        ("not divided", 69.4, "there are three factors of ten from 1e-2 to 1e-5"),
        ("one for three", 34.7, "how many factors of ten are there from 1e-2 to 1e-5?"),
        ("factor e", 10.0, "that is for a factor of e, not of ten"),
    ),
    numbers(
        "03-winner",
        {"A": 2, "B": 1, "C": 1, "D": 1, "E": 2},
        ("A", "first wins", 3, "the net was initialized after the block"),
        ("B", "default wins", 2, _YIELDS),
        *(("C", "default wins", place, _YIELDS) for place in (2, 3)),
        *(("D", "default wins", place, _YIELDS) for place in (2, 3)),
        *((name, "value for a rule", 4, _VALUE) for name in ("D", "E")),
        ("E", "first wins", 3, "the net was initialized after the block"),
    ),
    draws(
        "03-by-name",
        named(**_LAWS, bias=constant(0.1)),
        ("default for a bias", named(**_LAWS, bias=constant(0)), _DEFAULT),
        *(
            (name, named(weight=constant(weight), bias=constant(bias)), hint)
            for name, weight, hint in (("last pattern", 1, _LAST), ("old weights", 0.5, _FORCE))
            for bias in (0, 0.1, 1)
        ),
        **net(body0=(64, 64), body1=(64, 64), head=(10, 64)),
    ),
    draws(
        "03-head",
        named(**_HEAD),
        ("bias ignores its block", named(**_NO_BIAS), _DEFAULT),
        ("body drawn anew", named(**_HEAD, **_DRAWN), _BODY),
        ("body drawn anew", named(**_NO_BIAS, **_DRAWN), f"{_BODY} And {_DEFAULT}"),
        ("bias ignores its block", named(**_BLOCK), f"the weights got −2.2; {_DEFAULT}"),
        ("nothing repaired", named(**_BLOCK, **_DRAWN), "new_head did the same"),
        ("old weights", named(**_OLD), _FORCE),
        ("old weights", named(**{**_HEAD, "head_weight": constant(0.5)}), _FORCE),
        **net(body=(64, 64), head=(1, 64)),
    ),
    measured(
        "03-biases",
        log(10) - _BEST,
        ("loss for gain", _BEST, "that is the loss: by how much is it lower?"),
        ("sign", _BEST - log(10), "which loss is subtracted from which?"),
        ("sign of the logarithm", -1.729, "should a rare class have a high output?"),
        ("shares for logarithms", 0.0678, "what does softmax make of the shares?"),
        ("another logarithm", 0.3188, "this is log10: which one undoes the exponential?"),
        ("another logarithm", 0.3908, "this is log2: which one undoes the exponential?"),
    ),
    numbers(
        "04-low",
        {"zeros": 0.6, "std": sqrt(784 / 30), "scatter": sqrt(90000 * 0.6 * 0.4)},
        ("zeros", "the others", 0.4, "that is the share of weights that are not zero"),
        ("zeros", "one side", 0.3, "weights of both signs are set to zero"),
        ("std", "zeros left out", sqrt(784 / 12), "do the zeros count in the mean square?"),
        ("std", "variance for std", 784 / 30, _VARIANCE),
        ("std", "one size for all", sqrt(0.4) * 8, "not all sizes are 8: what is E[u²]?"),
        ("scatter", "variance for std", 21600, _VARIANCE),
        ("scatter", "of the share", sqrt(0.24 / 90000), "of the count, not of its share"),
        ("scatter", "rare events", sqrt(54000), "a coin has two sides: share · (1 − share)"),
    ),
    draws(
        "04-spike",
        _half_empty(0.3, stats.norm(0, 0.2)),
        ("rebound", _always(constant(0)), _REBOUND),
        ("the others", _half_empty(0.7, stats.norm(0, 0.2)), "share is that of zeros"),
        ("zeros forgotten", _always(normal(0.2)), "where are the zeros?"),
        ("variance for std", _half_empty(0.3, stats.norm(0, 0.04)), "was std squared?"),
        ("std for variance", _half_empty(0.3, stats.norm(0, sqrt(0.2))), "a root of std?"),
        ("std of all", _half_empty(0.3, stats.norm(0, 0.2 / sqrt(0.7))), _OTHERS),
        arguments=lambda shape: (0.3, 0.2),
    ),
    draws(
        "04-cut",
        _always(cut_normal(0.05)),
        ("rebound", _always(constant(0)), _REBOUND),
        ("clipped instead of drawn again", _always(clipped_normal(0.05)), _PILE),
        ("zero instead of drawn again", _half_empty(_BEYOND, _CUT), _PILE),
        ("drawn again once", _always(_ONCE), "may the second draw be beyond again?"),
        ("not cut", _always(normal(0.05)), "what became of values beyond 2 std?"),
        ("cut at one", _always(cut_normal(0.05, 1)), "two standard deviations"),
        ("widened", _always(_tails_cut(0.05)), "std is the one before the cut"),
        arguments=lambda shape: (0.05,),
    ),
    measured(
        "04-power",
        0.61,  # of 40,000 samples
        ("places only", 0.51, _EITHER),
        ("shares only", 0.2, _EITHER),
        ("both", 0.11, _EITHER),
        ("another threshold", 0.95, "is the threshold 0.01, and not 0.05?"),
        ("another threshold", 0.19, "is the threshold 0.01, and not 0.001?"),
        ("not rejected", 0.39, "is this the share that was rejected?"),
        within=0.1,
    ),
]
