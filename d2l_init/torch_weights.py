"""What PyTorch draws weights from: ``torch.nn.init`` by name, and what modules do by themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from math import ceil, prod, sqrt
from re import match
from typing import Any

from scipy import stats
from torch import nn
from torch.nn.modules import batchnorm, conv

from .arguments import one_of
from .figures import clipped
from .fits import Sample
from .laws import Law, else_zero, haar_entry

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Rule:
    """A function of ``torch.nn.init`` with its arguments."""

    name: str
    arguments: Mapping[str, Any]
    by: str = ""  # the module that calls it

    def law(self, shape: Shape) -> Law:
        """The law of one entry of a weight of this shape."""
        return _LAWS[self.name](shape, **self.arguments)

    def __repr__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return self.by or f"{self.name}({given})"


def rule(given: Any) -> Rule:
    """From a function of ``torch.nn.init``, a partial of one, or a name.

    Raises ValueError for a name without a known law and for arguments that the function refuses.
    """
    if isinstance(given, Rule):
        return given
    function = given if isinstance(given, str) else getattr(given, "func", given).__name__
    draw, arguments = _LAWS[one_of("rule", function, _LAWS)], getattr(given, "keywords", {})
    known = {key: value for key, value in arguments.items() if key != "generator"}
    try:
        signature(draw).bind((1,), *getattr(given, "args", ()), **known)
    except TypeError as error:
        raise ValueError(f"rule must have {function}'s arguments by name: {error}") from None
    return Rule(function, known)


def _fans(shape: Shape) -> tuple[int, int]:
    """PyTorch's own, which a transposed or a grouped convolution has otherwise."""
    if len(shape) < 2:
        raise ValueError(f"a shape of at least 2 axes is needed for its fans, got {shape}")
    return prod(shape[1:]), shape[0] * prod(shape[2:])


def _uniform(shape: Shape, a: float = 0.0, b: float = 1.0) -> Law:
    return Law([(1.0, stats.uniform(a, b - a))])


def _normal(shape: Shape, mean: float = 0.0, std: float = 1.0) -> Law:
    return Law([(1.0, stats.norm(mean, std))])


def _trunc_normal(
    shape: Shape, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Law:
    """Its bounds are values, not standard deviations."""
    cut = stats.truncnorm((a - mean) / std, (b - mean) / std, loc=mean, scale=std)
    return Law([(1.0, cut)])


def _constant(shape: Shape, val: float = 0.0) -> Law:
    return Law([(1.0, float(val))])


def _xavier(draw: str, shape: Shape, gain: float = 1.0) -> Law:
    return _of_std(draw, gain * sqrt(2 / sum(_fans(shape))))


def _kaiming(
    draw: str, shape: Shape, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Law:
    fan = dict(zip(("fan_in", "fan_out"), _fans(shape), strict=True))
    gain = nn.init.calculate_gain(nonlinearity, a)
    return _of_std(draw, gain / sqrt(fan[one_of("mode", mode, fan)]))


def _of_std(draw: str, std: float) -> Law:
    wide = sqrt(3) * std
    return _normal((), 0.0, std) if draw == "normal" else _uniform((), -wide, wide)


def _orthogonal(shape: Shape, gain: float = 1.0) -> Law:
    _fans(shape)
    return Law(haar_entry(gain, shape[0], prod(shape[1:])))


def _dirac(shape: Shape, groups: int = 1) -> Law:
    kept = groups * min(shape[0] // groups, shape[1])
    return else_zero(kept / prod(shape), [(1.0, 1.0)])


def _sparse(shape: Shape, sparsity: float, std: float = 0.01) -> Law:
    """That share of each column is zero."""
    return else_zero(1 - ceil(sparsity * shape[0]) / shape[0], [(1.0, stats.norm(0, std))])


_LAWS: dict[str, Callable[..., Law]] = {
    "uniform_": _uniform,
    "normal_": _normal,
    "trunc_normal_": _trunc_normal,
    "constant_": _constant,
    "ones_": lambda shape: _constant(shape, 1.0),
    "zeros_": _constant,
    "eye_": lambda shape: else_zero(min(shape) / prod(shape), [(1.0, 1.0)]),
    "xavier_uniform_": partial(_xavier, "uniform"),
    "xavier_normal_": partial(_xavier, "normal"),
    "kaiming_uniform_": partial(_kaiming, "uniform"),
    "kaiming_normal_": partial(_kaiming, "normal"),
    "orthogonal_": _orthogonal,
    "dirac_": _dirac,
    "sparse_": _sparse,
}


def default(module: Any, name: str) -> Any:
    """What the module's own ``reset_parameters`` draws for its parameter; None if unknown."""
    shape, by = getattr(module, name).shape, f"{type(module).__name__}'s own"
    counts: dict[Any, Callable[[], int]] = {
        nn.Linear: lambda: module.weight[0].numel(),
        nn.Bilinear: lambda: module.in1_features,
        conv._ConvNd: lambda: module.weight[0].numel(),  # transposed: of its outputs, per group
        nn.RNNBase: lambda: module.hidden_size,
        nn.RNNCellBase: lambda: module.hidden_size,
    }
    for kind, count in counts.items():
        if isinstance(module, kind):
            high = 1 / sqrt(count())
            return Rule("uniform_", {"a": -high, "b": high}, by)
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        rest = 1.0 if module.padding_idx is None else 1 - 1 / shape[0]
        return Law([(rest, stats.norm(0, 1)), *([(1 - rest, 0.0)] * (rest < 1))])
    if isinstance(module, nn.MultiheadAttention):
        kinds = {"in_proj_bias": "zeros_", "bias_k": "xavier_normal_", "bias_v": "xavier_normal_"}
        return Rule(kinds.get(name, "xavier_uniform_"), {}, by)
    if isinstance(module, batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
        return Rule("ones_" if name == "weight" else "zeros_", {}, by)
    return Rule("constant_", {"val": module.init}, by) if isinstance(module, nn.PReLU) else None


def samples(net: Any, init: Any, which: Any) -> tuple[list[Sample], list[str]]:
    """The parameters with values, and the names of those without; ValueError for none."""
    every = dict(net.named_parameters())
    chosen = {name: p for name, p in every.items() if which is None or match(which, name)}
    if not chosen:
        known = clipped(", ".join(every), 200) or f"{type(net).__name__} with none"
        raise ValueError(f"net must have parameters to plot, got {known}, which={which!r}")
    rules = init if isinstance(init, Mapping) else {} if init is None else {"": init}
    if unused := [key for key in rules if not any(match(key, name) for name in every)]:
        raise ValueError(f"init must have patterns that match a parameter, got {unused}")
    made = {key: one if isinstance(one, Law) else rule(one) for key, one in rules.items()}
    lacking = [name for name, p in chosen.items() if nn.parameter.is_lazy(p)]
    values = {name: p.detach().float().cpu().numpy()
              for name, p in chosen.items() if name not in lacking}  # fmt: skip
    whole = made if isinstance(init, Mapping) else {}
    drawn = [
        Sample(name, one, next((law for key, law in whole.items() if match(key, name)), None)
               or (made.get("") if one.ndim > 1 else None) or _by_itself(net, name))
        for name, one in values.items()
    ]  # fmt: skip
    return drawn, lacking


def _by_itself(net: Any, name: str) -> Any:
    place, _, own = name.rpartition(".")
    above = [net.get_submodule(".".join(place.split(".")[:k])) for k in range(place.count(".") + 1)]
    inside = any(isinstance(one, nn.Transformer) for one in above)
    if inside and net.get_parameter(name).ndim > 1:
        return Rule("xavier_uniform_", {}, "Transformer's own")
    if isinstance(above[-1], nn.MultiheadAttention) and own == "bias":
        return Rule("zeros_", {}, "MultiheadAttention's own")
    return default(net.get_submodule(place), own)
