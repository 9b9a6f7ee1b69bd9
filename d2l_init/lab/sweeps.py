"""Grids of experiments: one function, many settings, on all cores or on a cluster."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import partial
from inspect import signature
from itertools import product
from numbers import Number
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from tqdm import tqdm

from .front_end import front_end

Point = dict[Any, Any]
Task = tuple[int, Any, Any, Any]  # the arguments of _outcome
Outcome = tuple[int, Point]  # which point, and its results or its error


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]],
) -> pd.DataFrame:
    """What a function returns at each point of a grid, one row a point.

    ``grid`` maps names of arguments to their values, of which every combination is taken, the last
    name fastest; or it lists the points, each a mapping. The function returns a number, which goes
    into the column ``value``, or a mapping of names to values. MXNet arrays become NumPy's, and an
    array of one entry a number.

    >>> sweep(lambda width, depth: width**depth, {"width": [2, 3], "depth": [1, 2]})
       width  depth  value
    0      2      1      2
    1      2      2      4
    2      3      1      3
    3      3      2      9

    A point that fails, exits or takes its process down stops no other: the frame then has a last
    column ``error`` with the exception's type and message, NaN for points that went well.

    By default the points share the cores that this process may use. ``joblib.parallel_config``
    decides otherwise: ``n_jobs=1`` stays in this process, ``"dask"`` goes to the cluster of the
    active ``dask.distributed.Client``, whose workers need this package. (Not "multiprocessing":
    MXNet does not survive a fork.) Elsewhere the function finds ``npx.set_np()`` as it is here, but
    not the state of random generators: draw from a seed set inside or given as an argument.

    A progress bar is drawn on a terminal and in a live notebook; nothing of it is recorded.

    Raises ValueError for an empty grid or an argument named ``error``; TypeError for a grid of
    another kind, points that the function can't be called with, and what can't be pickled for
    other processes.
    """
    points = _points(grid)
    _check_call(function, points)
    backend, n_jobs = get_active_backend()
    if n_jobs is None:  # the caller has not said
        n_jobs = 1 if backend.nesting_level else -1
    n_jobs = min(effective_n_jobs(n_jobs), len(points))
    on_dask = type(backend).__name__ == "DaskDistributedBackend"
    here = not on_dask and (n_jobs == 1 or getattr(backend, "supports_sharedmem", False))
    send = (lambda _, thing: thing) if here else _pickled
    what, flags = send("function", function), _semantics()
    tasks = [(place, what, send("grid", point), flags) for place, point in enumerate(points)]
    outcomes = _on_dask(backend, tasks) if on_dask else _by_joblib(tasks, n_jobs)
    # disable=None: no bar unless the file is a terminal
    bar = tqdm(outcomes, total=len(tasks), file=front_end(), leave=False, disable=None, ncols=80)
    found = dict(bar)
    rows = [{**point, **found[place]} for place, point in enumerate(points)]
    names = dict.fromkeys(name for row in [*points, *rows] for name in row)
    return pd.DataFrame(rows, columns=sorted(names, key="error".__eq__))


def _points(grid: Any) -> list[Point]:
    if isinstance(grid, Mapping):
        axes = [_values(f"grid[{name!r}]", values) for name, values in grid.items()]
        points = [dict(zip(grid, values, strict=True)) for values in product(*axes) if grid]
    else:
        points = [_point(point) for point in (grid if np.iterable(grid) else [grid])]
    if not points:
        raise ValueError(f"grid must hold at least one point, got {grid!r}")
    if any("error" in point for point in points):
        raise ValueError("grid must not name an argument 'error': that column is for failures")
    return points


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not np.iterable(values):
        raise TypeError(f"{name} must be a sequence of values, got {values!r}")
    if not len(listed := [_plain(value) for value in values]):
        raise ValueError(f"{name} must hold at least one value, got {values!r}")
    return listed


def _point(point: Any) -> Point:
    if not isinstance(point, Mapping):
        raise TypeError(
            "grid must map names of arguments to sequences of values, or be a sequence of such "
            f"mappings from name to value, got {point!r}"
        )
    return {name: _plain(value) for name, value in point.items()}


def _check_call(function: Any, points: list[Point]) -> None:
    if not callable(function):
        raise TypeError(f"function must be callable, got {function!r}")
    try:
        form = signature(function)
    except ValueError:  # some builtins don't tell
        return
    for point in points:
        try:
            form.bind(**point)
        except TypeError as error:
            name = f"{getattr(function, '__name__', function)}{form}"
            raise TypeError(
                f"grid must name the arguments of {name}, got {point}: {error}"
            ) from None


def _pickled(argument: str, thing: Any) -> bytes:
    # Before anything runs: Dask would wait for ever for a task that it couldn't send.
    try:
        return bytes(cloudpickle.dumps(thing))
    except Exception as error:
        raise TypeError(
            f"{argument} must be picklable to be sent to other processes, got {thing!r}: {error}; "
            "joblib.parallel_config(n_jobs=1) stays in this one"
        ) from error


def _semantics() -> list[bool]:
    """MXNet's NumPy switches of this thread; none where MXNet is not in use."""
    util = sys.modules.get("mxnet.util")
    return [util.is_np_shape(), util.is_np_array()] if util else []


def _outcome(place: int, function: Any, point: Any, flags: list[bool]) -> Outcome:
    """Where a point is run: nothing but plain results and words leaves this function."""
    try:
        with ExitStack() as stack:
            if flags:
                from mxnet import util

                stack.enter_context(util.np_shape(flags[0]))
                stack.enter_context(util.np_array(flags[1]))
            if isinstance(function, bytes):  # MXNet's arrays are unpickled by their semantics
                function, point = cloudpickle.loads(function), cloudpickle.loads(point)
            results = _named(function(**point))
        if clash := [name for name in results if name in {*point, "error"}]:
            raise ValueError(f"a result must not have the name of an argument or 'error': {clash}")
        cloudpickle.dumps(results)  # what can't be sent back fails here, on any backend
    except (Exception, SystemExit) as error:
        results = _failure(error)
    return place, results


def _failure(error: BaseException) -> Point:
    return {"error": f"{type(error).__name__}: {error}"}


def _named(returned: Any) -> Point:
    if isinstance(returned, Mapping):
        return {name: _plain(value) for name, value in returned.items()}
    if not isinstance(value := _plain(returned), Number):
        raise TypeError(
            f"function must return a number or a mapping of names to values, got {value!r}"
        )
    return {"value": value}


def _plain(value: Any) -> Any:
    """Arrays as NumPy's, those of one entry as numbers; anything else as it is."""
    if hasattr(value, "asnumpy"):
        value = value.asnumpy()
    single = isinstance(value, (np.ndarray, np.generic)) and value.size == 1
    return value.item() if single else value


def _by_joblib(tasks: list[Task], n_jobs: int) -> Iterator[Outcome]:
    """The outcomes as they come in from this machine's processes or threads."""
    left = {task[0]: task for task in tasks}
    while left:
        # A new one each time: after a failure its queue still holds points of the last call.
        parallel = Parallel(n_jobs, return_as="generator_unordered", batch_size=1)
        try:
            for outcome in parallel(delayed(_outcome)(*task) for task in list(left.values())):
                del left[outcome[0]]
                yield outcome
        except BrokenProcessPool as error:
            # A point took the pool down: one of those that ran, which are the first that are left.
            for place in list(left)[:n_jobs]:
                alone = [left.pop(place)]
                yield from (
                    _by_joblib(alone, n_jobs) if len(tasks) > 1 else [(place, _failure(error))]
                )


def _on_dask(backend: Any, tasks: list[Task]) -> Iterator[Outcome]:
    """The same from a cluster; joblib waits for ever there where a point's workers have died."""
    from distributed import as_completed

    submit = partial(backend.client.submit, _outcome, pure=False, **backend.submit_kwargs)
    sent, suspects = {submit(*task): task for task in tasks}, []
    come = as_completed(sent, with_results=True, raise_errors=False)  # type: ignore[no-untyped-call]
    try:
        for future, outcome in come:
            # letting go of it, so that it isn't run again when its worker dies
            task = sent.pop(future)
            if future.status == "finished":
                yield outcome
            else:
                suspects.append((task, future.exception()))
    finally:
        backend.client.cancel(list(sent))  # what an interrupt leaves
    for task, error in suspects:
        if len(suspects) > 1:  # those that waited for the same worker are blamed as well
            error = (future := submit(*task)).exception()
        yield (task[0], _failure(error)) if error else future.result()
