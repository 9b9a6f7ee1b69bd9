"""Threads that change no result: as many as there are cores, and one for each BLAS call."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")
Result = TypeVar("Result")


def cores() -> int:
    """The cores that this process may use, where the system tells (Linux); else all."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def side_by_side(function: Callable[[T], Result], items: Iterable[T]) -> list[Result]:
    """``function`` of each item, in threads that end with the call: a fork finds none of them."""
    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(cores(), len(items))) as pool:
        return list(pool.map(function, items))


def one_blas_thread() -> AbstractContextManager[Any]:
    """With two, a matrix product takes its sums in another order: the last bits differ."""
    return _controller().limit(limits=1, user_api="blas")  # type: ignore[no-any-return]


@lru_cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
