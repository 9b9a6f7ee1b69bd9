"""Parameters of a Gluon net, each with the initializer that is taken to have drawn it."""

from collections.abc import Iterable, Mapping, Sequence
from re import match
from typing import Any

import mxnet as mx
from numpy.typing import NDArray

from .base import leaf, weights
from .figures import clipped
from .fits import Sample
from .laws import created


def samples(net: Any, init: Any, which: Any) -> tuple[list[Sample], list[str]]:
    """The parameters with values, and the names of those without; ValueError for none."""
    every = net.collect_params()
    chosen = net.collect_params(which) if isinstance(which, str) else which
    parameters = list((every if which is None else chosen).values())
    if not parameters:
        known = clipped(", ".join(every), 200) or f"{type(net).__name__} with none"
        asked = f", which={which!r}" * (which is not None)
        raise ValueError(f"net must have parameters to plot, got {known}{asked}")
    _check(init, every)
    lacking = [p.name for p in parameters if p._data is None]
    drawn = [p for p in parameters if p._data is not None]
    if any(leaf(p).ndim > 1 for p in drawn):  # the others belong to blocks that were never called
        parameters = drawn
    made = [Sample(p.name, values_of(p), _initializer_of(p, init)) for p in parameters]
    return made, lacking


def values_of(parameter: Any) -> NDArray[Any]:
    try:
        return weights(parameter)
    except (RuntimeError, mx.gluon.parameter.DeferredInitializationError) as error:
        raise ValueError(
            f"parameter {parameter.name!r} has no values yet: call net.initialize(), and pass one "
            f"batch through the net where shapes are deferred, before plotting ({error})"
        ) from None


def _check(init: Any, parameters: Iterable[str]) -> None:
    """Refuses what can't have drawn anything."""
    given = list(init.values()) if isinstance(init, Mapping) else [init]
    for one in given:
        try:
            known = one is None or hasattr(created(one), "_init_weight") or hasattr(one, "law")
        except (LookupError, ValueError) as error:
            raise ValueError(f"init must be an initializer: {error}") from None
        if not known:
            raise ValueError(f"init must be an initializer or a registered name, got {one!r}")
    unused = [key for key in (init if isinstance(init, Mapping) else ())
              if not any(match(key, name) for name in parameters)]  # fmt: skip
    if unused:
        raise ValueError(f"init must have patterns that match a parameter, got {unused}")


def _initializer_of(parameter: Any, init: Any) -> Any:
    if isinstance(init, Mapping):
        found = [value for pattern, value in init.items() if match(pattern, parameter.name)]
        if parameter.name in init:
            return init[parameter.name]
        init = found[0] if found else None
    return parameter.init if parameter.init is not None else init


def drawn(initializer: Any, shape: Sequence[int]) -> NDArray[Any]:
    """Values for a weight, as Gluon draws: through a parameter."""
    parameter = mx.gluon.Parameter("weight", shape=shape, init=initializer, grad_req="null")
    parameter.initialize(ctx=mx.cpu())
    values: NDArray[Any] = parameter.data().asnumpy()
    return values
