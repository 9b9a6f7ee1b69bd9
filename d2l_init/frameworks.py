"""Whose net it is, told without importing the other framework."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def is_torch(net: Any) -> bool:
    """Whether it is a ``torch.nn.Module``; who has one has imported torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(net, torch.nn.Module)


def made_for(net: Any, module: str) -> Any:
    """The module for nets of this kind: ``module`` with ``gluon`` or ``torch`` in it.

    Raises ImportError where that kind's framework isn't installed.
    """
    kind = "torch" if is_torch(net) else "gluon"
    with mxnet_needed(f"A net of type {type(net).__name__}, which is no torch.nn.Module,"):
        return import_module(module.format(kind), __package__)


@contextmanager
def mxnet_needed(what: str) -> Iterator[None]:
    """Where MXNet is missing, an ImportError says which extra brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        raise ImportError(
            f"{what} needs MXNet, which the extra d2l-init[cpu] brings on CPython 3.11"
        ) from None
