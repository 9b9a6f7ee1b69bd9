"""Grids of experiments: one function, many settings, on all cores or on a cluster."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from functools import partial
from inspect import signature
from itertools import product
from numbers import Number
from typing import Any, TypeVar

import cloudpickle
import numpy as np
import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from tqdm import tqdm

T = TypeVar("T")
Point = dict[str, Any]
Outcome = tuple[int, dict[Any, Any]]  # which point, and its results or its error
Task = tuple[int, Any, Any, set[str], Any]  # the arguments of _outcome

_ERROR, _VALUE = "error", "value"


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]],
) -> pd.DataFrame:
    """What a function returns at each point of a grid, one row a point.

    ``grid`` maps names of arguments to their values, of which every combination is taken, the last
    name fastest; or it lists the points, each a mapping. The function returns a number, which goes
    into the column ``value``, or a mapping of names to values. Columns are the point's, then the
    results'. MXNet arrays, in the grid too, become NumPy's, and an array of one entry a number.

    >>> sweep(lambda width, depth: width**depth, {"width": [2, 3], "depth": [1, 2]})
       width  depth  value
    0      2      1      2
    1      2      2      4
    2      3      1      3
    3      3      2      9

    Where a point fails, the rest goes on. The frame then has a last column ``error`` with the
    exception's type and message, NaN for points that went well. A point that takes its process
    down, by a crash or for want of memory, is found out by running the suspects one at a time.

    By default the points share the cores that this process may use, each process with its share of
    threads. ``joblib.parallel_config`` decides otherwise: ``n_jobs=1`` stays in this process,
    ``"dask"`` goes to the cluster of the active ``dask.distributed.Client``, whose workers need
    this package. (Its backend "multiprocessing" can't be used: MXNet does not survive a fork.)
    Elsewhere the function finds ``npx.set_np()`` as it is here, but not the state of random
    generators: draw from a seed that is set inside the function or is one of its arguments.

    A progress bar is drawn on a terminal and in a live notebook, and is gone at the end; where
    nobody watches, as when notebooks are recorded or tested, there is none.

    Raises ValueError for an empty grid or an argument named ``error``; TypeError for a grid of
    another kind, points that the function can't be called with, and a function or points that
    can't be pickled where other processes are to run them.
    """
    points = _points(grid)
    _check_call(function, points)
    backend, n_jobs = _backend()
    on_dask = type(backend).__name__ == "DaskDistributedBackend"
    here = not on_dask and (n_jobs == 1 or getattr(backend, "supports_sharedmem", False))
    send = _as_it_is if here else _pickled
    what, flags = send("function", function), _semantics()
    taken = {name for point in points for name in point} | {_ERROR}
    tasks = [(place, what, send("grid", point), taken, flags) for place, point in enumerate(points)]
    outcomes = _on_dask(backend, tasks) if on_dask else _here(tasks, min(n_jobs, len(tasks)))
    results = dict(progress(outcomes, len(tasks)))
    return _frame(points, [results[place] for place in range(len(points))])


def _backend() -> tuple[Any, int]:
    """joblib's active backend, and how many points it shall run at a time."""
    backend, n_jobs = get_active_backend()
    if n_jobs is None:  # the caller has not said
        n_jobs = 1 if backend.nesting_level else -1
    return backend, effective_n_jobs(n_jobs)


def _points(grid: Any) -> list[Point]:
    if isinstance(grid, Mapping):
        axes = {name: _values(name, values) for name, values in grid.items()}
        points = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
        empty = not grid
    else:
        points = [{name: _plain(value) for name, value in point.items()} for point in _listed(grid)]
        empty = not points
    if empty:
        raise ValueError(f"grid must hold at least one point, got {grid!r}")
    if any(_ERROR in point for point in points):
        raise ValueError(f"grid must not name an argument {_ERROR!r}: that column is for failures")
    return points


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not np.iterable(values):
        raise TypeError(f"grid[{name!r}] must be a sequence of values, got {values!r}")
    listed = [_plain(value) for value in values]
    if not listed:
        raise ValueError(f"grid[{name!r}] must hold at least one value, got {values!r}")
    return listed


def _listed(grid: Any) -> list[Mapping[str, Any]]:
    points = list(grid) if np.iterable(grid) else [grid]
    for point in points:
        if not isinstance(point, Mapping):
            raise TypeError(
                "grid must map names of arguments to sequences of values, or be a sequence of such "
                f"mappings from name to value, got {point!r}"
            )
    return points


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
            name = getattr(function, "__name__", repr(function))
            raise TypeError(
                f"grid must name the arguments of function, {name}{form}, got {point}: {error}"
            ) from None


def _as_it_is(argument: str, thing: Any) -> Any:
    return thing


class _Pickled(bytes):
    """What is sent to another process; it is loaded where MXNet's NumPy semantics are set."""


def _pickled(argument: str, thing: Any) -> _Pickled:
    # Before anything runs: Dask would wait for ever for a task that it couldn't send.
    try:
        return _Pickled(cloudpickle.dumps(thing))
    except Exception as error:
        raise TypeError(
            f"{argument} must be picklable to be sent to other processes, got {thing!r}: {error}; "
            "joblib.parallel_config(n_jobs=1) stays in this one"
        ) from error


def _loaded(thing: Any) -> Any:
    return cloudpickle.loads(thing) if isinstance(thing, _Pickled) else thing


def _semantics() -> tuple[bool, bool] | None:
    """MXNet's NumPy switches of this thread, if MXNet is in use at all."""
    if "mxnet" not in sys.modules:
        return None
    from mxnet import util

    return util.is_np_shape(), util.is_np_array()


def _switched(flags: tuple[bool, bool] | None) -> ExitStack:
    """A context with these switches, which are each thread's own."""
    stack = ExitStack()
    if flags is not None:
        from mxnet import util

        for switch, on in zip((util.np_shape, util.np_array), flags, strict=True):
            stack.enter_context(switch(on))
    return stack


def _outcome(place: int, function: Any, point: Any, taken: set[str], flags: Any) -> Outcome:
    """Where a point is run: nothing but plain results and words leaves this function."""
    try:
        with _switched(flags):
            results = _named(_loaded(function)(**_loaded(point)))
        if clash := [name for name in results if name in taken]:
            raise ValueError(
                f"a result must not have the name of an argument or {_ERROR!r}: {clash}"
            )
        cloudpickle.dumps(results)  # what can't be sent back fails here, on any backend
    except Exception as error:
        results = {_ERROR: _words(error)}
    return place, results


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _named(returned: Any) -> dict[Any, Any]:
    if isinstance(returned, Mapping):
        return {name: _plain(value) for name, value in returned.items()}
    number = _plain(returned)
    if not isinstance(number, Number):
        raise TypeError(
            f"function must return a number or a mapping of names to values, got {number!r}"
        )
    return {_VALUE: number}


def _plain(value: Any) -> Any:
    """Arrays as NumPy's, those of one entry as numbers; anything else as it is."""
    if hasattr(value, "asnumpy"):
        value = value.asnumpy()
    single = isinstance(value, (np.ndarray, np.generic)) and value.size == 1
    return value.item() if single else value


def _here(tasks: list[Task], n_jobs: int) -> Iterator[Outcome]:
    """The outcomes as they come in from this machine's processes or threads."""
    left = {task[0]: task for task in tasks}
    while left:
        try:
            for place, results in _parallel(list(left.values()), n_jobs):
                del left[place]
                yield place, results
        except BrokenProcessPool:
            # A point took its process down, and the pool with it: one of those that were running,
            # which are the first that are left.
            for place in list(left)[:n_jobs]:
                yield _alone(left.pop(place), n_jobs)


def _parallel(tasks: list[Task], n_jobs: int) -> Iterator[Outcome]:
    # A new one each time: after a failure its queue still holds points of the last call.
    parallel = Parallel(n_jobs, return_as="generator_unordered", batch_size=1)
    return parallel(delayed(_outcome)(*task) for task in tasks)  # type: ignore[no-any-return]


def _alone(task: Task, n_jobs: int) -> Outcome:
    try:
        [outcome] = _parallel([task], n_jobs)
        return outcome
    except BrokenProcessPool as error:
        return task[0], {_ERROR: _words(error)}


def _on_dask(backend: Any, tasks: list[Task]) -> Iterator[Outcome]:
    """The outcomes as they come in from a cluster.

    joblib's own way there waits for ever for a point whose workers have died.
    """
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
        yield (task[0], {_ERROR: _words(error)}) if error else future.result()


def _frame(points: list[Point], outcomes: list[dict[Any, Any]]) -> pd.DataFrame:
    names = dict.fromkeys(name for row in [*points, *outcomes] for name in row)
    failed = [_ERROR] if names.pop(_ERROR, _ERROR) is None else []
    rows = [{**point, **results} for point, results in zip(points, outcomes, strict=True)]
    return pd.DataFrame(rows, columns=[*names, *failed])


def progress(things: Iterable[T], total: int) -> Iterable[T]:
    """The same things, with a bar of how many have come where somebody is there to see it.

    >>> list(progress(range(3), 3))
    [0, 1, 2]
    """
    return tqdm(things, total=total, file=_front_end(), leave=False, disable=None, ncols=80)  # type: ignore[no-any-return]


class _Display:
    """A file for tqdm: what is written replaces one output of the running cell."""

    handle: Any = None
    encoding = "utf-8"  # so that tqdm draws with blocks

    def write(self, text: str) -> None:
        from IPython.display import display

        shown = {"text/plain": text.strip()} if text.strip() else {}  # {} takes no room on the page
        if self.handle is None:
            self.handle = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.handle.update(shown, raw=True)

    def flush(self) -> None:
        pass


def _front_end() -> _Display | None:
    """The notebook whose cell is running, if it has a reader; without one tqdm takes stderr.

    A reader is who could answer input(): JupyterLab says yes, nbclient and nbval say no.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    asked = kernel.get_parent() if kernel else {}
    return _Display() if asked.get("content", {}).get("allow_stdin") else None
