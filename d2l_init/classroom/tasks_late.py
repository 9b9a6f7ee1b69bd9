"""Tasks of chapters 05 to 09: data for the judges."""

from collections.abc import Callable
from math import log, pi, prod, sqrt

from scipy import stats

from ..laws import Law, fans
from .judges import Draws, Mistake, Task
from .mistakes import (
    Rule,
    constant,
    cut_normal,
    normal,
    truncated_normal,
    uniform,
    variance_scaling,
)
from .rows import draws, measured, named, net, numbers


def _weights(id: str, scale: float, argument: float | None, *rows: tuple[str, Rule, str]) -> Draws:
    """Normal weights of variance ``scale`` over fan-in, by a function of ``argument`` if any."""
    rule = variance_scaling("normal", scale, "in")
    usual = [one for one in rule["mistakes"] if not one.keyword.endswith("left")]
    known = [*(Mistake(*row) for row in rows), *usual]
    return draws(id, rule["right"], known=known, arguments=lambda shape: (argument,))


def _over(scale: float, fan: int = 0, kind: Callable[[float], Law] = normal) -> Rule:
    """Laws of variance ``scale`` over the inputs (0) or outputs (1) of a layer."""
    return lambda shape: kind(sqrt(scale / fans(shape)[fan]))


def _by_rows(kind: Callable[[float], Law], scale: float) -> Rule:
    """The first axis taken for the inputs."""
    return lambda shape: kind(sqrt(scale / shape[0]))


_HE = sqrt(2 / 200)  # standard deviation of He's rule in the net of 09-head
_SMALL, _OLD = cut_normal(0.01), 0.5  # the head's law, and what all weights were before
_BY_HE = Law([(1.0, stats.uniform(-_OLD - sqrt(3) * _HE, 2 * sqrt(3) * _HE))])  # the change by it
_CHANGE = Law([(1.0, stats.truncnorm(-2, 2, loc=-_OLD, scale=0.01))])
_REACH, _LAW = "which blocks does this reach?", "which law was the head to get?"
_EDGE = 1.54967  # σ_w of tanh at σ_b = ½
_CONV = 0.07 * 12 / sqrt(3)  # gain of the default at 16 channels, 3 × 3
_DOCSTRING = "which law does the docstring name, and what is its standard deviation?"
_BY_VARIANCE = "VarianceScaling takes n times the variance: what is that in terms of σ_w?"
_INPUTS = "over what does a layer sum, its inputs or its outputs?"
_ONE_AXIS = "this is the share of one axis, or a root: an image has two axes"
_DIFFERENCE = "what is the variance of the difference of two independent logits?"
_STD = "does stats.norm take the variance, or its root?"
_ROOT = "this is the growth of the second moment: what is that of its root?"
_SQUARE = "this is the growth of the rms: what is that of its square?"
_PROPORTIONAL = "which is proportional to the weights, the variance or its root?"
_BACK = "is this the factor on the way forward? On its way back the gradient grows"

TASKS: list[Task] = [
    numbers(
        "05-sizes",
        {"linear": 3.0**-10, "relu": 2.0**-10, "rms": 2.0**-5, "gradient": 0.25},
        ("linear", "variance for std", 1, "what is the variance of U(−a, a)? It is not a²"),
        ("linear", "rms for square", 3.0**-5, _SQUARE),
        ("relu", "layer without activation", 1, "what does each ReLU leave of a second moment?"),
        ("relu", "one layer missing", 2.0**-9, "is the tenth ReLU counted, too?"),
        ("relu", "std for rms", (0.5 - 0.5 / pi) ** 10, "the next layer sums squares"),
        ("rms", "square for rms", 2.0**-10, "is this the second moment? The rms is its root"),
        ("gradient", "wrong fan", 1, "a gradient sums over the outputs: how many are there?"),
        ("gradient", "layer without activation", 0.5, "and what does the ReLU let through?"),
    ),
    _weights(
        "05-leaky",
        1.6,
        0.5,
        ("slope forgotten", _over(2), "√2 is ReLU's gain: what comes from the negative side?"),
        ("slope not squared", _over(4 / 3), "a slope a multiplies z by a, and z² by what?"),
    ),
    _weights(
        "05-repair",
        2,
        None,
        ("nothing repaired", _by_rows(uniform, 2 / 3), f"{_DOCSTRING} And {_INPUTS}"),
        ("first axis", _by_rows(normal, 2), "is the first axis of a weight that of the inputs?"),
        ("uniform of bound std", _over(2 / 3, 0, uniform), _DOCSTRING),
        ("uniform, first axis", _by_rows(uniform, 2), f"{_DOCSTRING} And {_INPUTS}"),
    ),
    measured(
        "05-growth",
        1.21,
        ("rms for square", 1.1, _SQUARE),
        ("forward for backward", 0.826, _BACK),
        ("layer without activation", 25 / 9, "is there a tanh behind each layer?"),
        ("gain not squared", 1.0, "VarianceScaling takes the gain's square: what is it for 5/3?"),
    ),
    numbers(
        "06-relu",
        {"chi_1": 0.72, "q*": 0.25 / 0.28, "xi": -1 / log(0.72), "edge": sqrt(2), "q, layer 21": 6},
        ("chi_1", "layer without activation", 1.44, "which share of ReLU's slopes is 1?"),
        ("chi_1", "std for variance", 0.6, "σ_w enters with its square"),
        ("chi_1", "q for χ₁", 0.25 / 0.28, "this is q*: χ₁ is made of slopes"),
        ("q*", "χ₁ for q", 0.72, "this is χ₁: at which q is q′ = q?"),
        ("q*", "std for variance", 0.5 / 0.28, "σ_b enters with its square"),
        ("xi", "by layer for by e-fold", 0.72, "this is one layer's factor: how many make 1/e?"),
        ("xi", "half for e", log(0.5) / log(0.72), "half is left after so many layers: and 1/e?"),
        ("xi", "rms for square", -2 / log(0.72), "1 − c falls like χ₁ itself, not like its root"),
        ("edge", "variance for std", 2, "is this σ_w, or its square?"),
        ("q, layer 21", "one layer too many", 6.25, "how many layers come after the first?"),
        ("q, layer 21", "std for variance", 11, "σ_b enters with its square"),
        ("q, layer 21", "biases forgotten", 1, "what do the biases add at each layer?"),
    ),
    numbers(
        "06-padding",
        {"8": 0.013182, "16": 0.23460, "32": 0.54989, "64": 0.75824, "half": 29},
        ("8", "one axis", 0.11481, _ONE_AXIS),
        ("16", "one axis", 0.48436, _ONE_AXIS),
        ("32", "one axis", 0.74154, _ONE_AXIS),
        ("64", "one axis", 0.87077, _ONE_AXIS),
        ("half", "one axis", 17, _ONE_AXIS),
    ),
    _weights(
        "06-edge",
        _EDGE**2,
        0.5,
        ("nothing repaired", _over(_EDGE, 1, truncated_normal), f"{_BY_VARIANCE} And {_INPUTS}"),
        ("std for variance", _over(_EDGE), _BY_VARIANCE),
        ("std for variance, wrong fan", _over(_EDGE, 1), f"{_BY_VARIANCE} And {_INPUTS}"),
    ),
    measured(
        "06-widths",
        1.98,
        ("log₁₀ for log", 0.86, "is this the logarithm to base 10?"),
        ("variance for std", 3.92, "is this the variance of log q? Its root is asked for"),
        ("rms for square", 0.99, "is this the logarithm of q, or that of its root?"),
        ("layer without activation", 1.22, "is there a ReLU between the layers?"),
    ),
    numbers(
        "07-predict",
        {
            "scale": 0.4,
            "first loss": log(100),
            "s_min": sqrt(2 * pi * 1e-5 / (128 * (pi - 1))),
            "stream": prod(1 + 1 / (20 * k) for k in range(1, 21)),
        },
        ("scale", "variance for std", 0.16, _PROPORTIONAL),
        ("first loss", "log₁₀ for log", 2, "what is the base of the loss's logarithm?"),
        (
            "s_min",
            "layer without activation",
            sqrt(1e-5 / 128),
            "what does ReLU leave of a second moment r?",
        ),
        ("s_min", "rms for std", sqrt(2e-5 / 128), "the norm takes out the mean behind a ReLU"),
        ("stream", "branch stays as it was", 2, "a smaller stream makes its branches smaller, too"),
        ("stream", "branch like its stream", 1.05**20, "the branch had variance 1, its stream k"),
        ("stream", "not divided", 21, "this is LSUV's stream: what does √20 change?"),
    ),
    numbers(
        "07-two",
        {"1": 0.90266, "2": 1.06771, "4": 1.33540, "doubled": 4.43241},
        ("1", "factor 2 forgotten", 0.80606, _DIFFERENCE),
        ("2", "factor 2 forgotten", 0.90266, _DIFFERENCE),
        ("4", "factor 2 forgotten", 1.06771, _DIFFERENCE),
        ("doubled", "factor 2 forgotten", 8.86483, _DIFFERENCE),
        ("1", "variance for std", 1.06771, _STD),
        ("2", "variance for std", 1.75001, _STD),
        ("doubled", "variance for std", 1.48870, _STD),
    ),
    measured(
        "07-lsuv",
        1,
        ("variance for std", 2.05, _PROPORTIONAL),
        ("scaled for old inputs", 0.12, "the next layer meets what a scaled layer puts out"),
        ("both", 0, "by what are the weights divided, and which h does the next layer get?"),
        within=0.1,
    ),
    measured(
        "07-slope",
        1.2436,
        ("slope forgotten", pi / (pi - 1), "this is ReLU's factor: is the slope 0.2?"),
        ("rms for square", 1.12, _SQUARE),
        ("forward for backward", 0.79, _BACK),
        ("no norm", 0.97, "does the norm use the batch, as in training?"),
        within=0.07,
    ),
    numbers(
        "08-sizes",
        {"stream": 1.01**100, "1/L": 1.0001**100, "logits": 0.125, "power": 1.5},
        ("stream", "a for a²", 1.1**100, "a block multiplies by 1 + a²"),
        ("stream", "branch scale 1/L for 1/√L", 1.0001**100, "with a = 1/√L, what is a²?"),
        ("1/L", "branch scale 1/√L for 1/L", 1.01**100, "with a = 1/L, what is a²?"),
        ("logits", "variance for std", 1 / 64, "is this the variance? Its root is asked for"),
        ("logits", "1/√d for 1/d", 1, "this is what √d gives: and d?"),
        ("logits", "1/√d forgotten", 8, "this is without a division"),
        ("power", "random signs", 1, "do the n terms have random signs, or one sign?"),
        ("power", "sum forgotten", 0.5, "how many terms does the sum have?"),
    ),
    _weights(
        "08-gpt2",
        1 / 8,
        8,
        (
            "branch scale 1/N for 1/√N",
            _over(2 / 256),
            "if √N divides weights, what divides variance?",
        ),
        ("blocks for branches", _over(2 / 8), "how many branches does a block have?"),
        ("factor 2 forgotten", _over(1 / 16), "what does He's rule ask for behind a ReLU?"),
        ("branches forgotten", _over(2), "this is He's rule: and GPT-2's factor?"),
    ),
    measured(
        "08-attention",
        3.68,
        ("1/√d forgotten", 0.25, "the logits have variance d: what brings it to 1?"),
        ("1/d for 1/√d", 4.157, "once divided by d, how large are the logits?"),
        ("wrong axis", 3.22, "along which axis should the weights of one query sum to 1?"),
        within=0.03,
    ),
    measured(
        "08-post",
        0.25,
        ("pre-norm", 0.447, "does the norm stand behind the sum, or before the branch?"),
        ("square for cosine", 0.0625, "is this the square, or behind eight branches?"),
        ("nothing added", 0, "is the branch added to the stream?"),
        ("factor 2 forgotten", 4 / 9, "is the variance of W₂ equal to 2/n?"),
        within=0.12,
        least=8,
    ),
    numbers(
        "09-numbers",
        {"gain": _CONV, "rms": (_CONV / sqrt(2)) ** 3, "first loss": log(5)},
        ("gain", "bound for std", 0.84, "is ±0.07 the standard deviation?"),
        ("gain", "kernel forgotten", _CONV / 3, "how many numbers does one output sum?"),
        ("rms", "square for rms", (_CONV / sqrt(2)) ** 6, _ROOT),
        ("rms", "layer without activation", _CONV**3, "what does each ReLU leave of an rms?"),
        (
            "rms",
            "one layer too many",
            (_CONV / sqrt(2)) ** 4,
            "how far is the fourth from the first?",
        ),
        ("first loss", "log₁₀ for log", log(5, 10), "what is the base of the logarithm?"),
    ),
    measured(
        "09-cured",
        0.87,
        ("one is sick", 0.65, "is one of the three still sick? Ask again after its cure"),
        ("two are sick", 0.4, "are two of the three still sick?"),
        ("all are sick", 0.2, "is any of the three cured?"),
        within=0.08,
        least=9,
    ),
    draws(
        "09-head",
        named(head_weight=_SMALL),
        ("nothing repaired", named(head_weight=uniform(_HE), body_weight=_BY_HE), _REACH),
        ("all drawn anew", named(head_weight=_SMALL, body_weight=_CHANGE), _REACH),
        ("nothing drawn", named(head_weight=constant(_OLD)), "values stay without force_reinit"),
        ("normal for truncated", named(head_weight=normal(0.01)), "may weights lie beyond 0.02?"),
        ("He's rule", named(head_weight=uniform(_HE)), _LAW),
        ("He's rule", named(head_weight=truncated_normal(_HE)), _LAW),
        **net(body=(200, 200), head=(100, 200)),
    ),
    measured(
        "09-labels",
        0.1,
        ("trained images", 0.38, "were these images trained on? Take those of validation"),
        ("trained images", 0.19, "were these images trained on? Take those of validation"),
        ("true labels", 0.88, "was it trained on the shuffled labels?"),
        within=0.5,
        least=10,
    ),
]
