"""The one call of an exercise: a student's answer becomes plain arrays, and those are judged."""

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np

from ..arguments import one_of
from .judges import AGAIN, DRAWS, Draws, Numbers, Task
from .tasks import TASKS
from .verdicts import SAID, Refused, Verdict

_PUBLIC_SEEDS = "11,12,13"
_MOST = 10_000  # numbers in a measurement


def check(task: str, answer: Any) -> Verdict:
    """The verdict on an answer to the exercise ``task``, such as ``"01-default"``.

    The answer to a question for numbers is a mapping or a table with them by name (a single one may
    stand alone), to a measurement a sequence with a number for each seed. An initializer, or a
    function that returns one or that initializes a net, is made to draw with several seeds.
    ``...`` and None are not answered yet.

    A right initializer is refused by chance at most once in ten thousand times. Whatever the
    answer does wrong becomes a line of the verdict, not an error. Afterwards NumPy's and Python's
    random numbers go on as if nothing had been drawn; MXNet's cannot be put back and go on from a
    seed that they drew themselves before.

    >>> check("01-default", ...)
    01-default: 0 of 2 points
      not answered yet

    Raises ValueError for a task that doesn't exist.
    """
    judge = TASKS[one_of("task", task, TASKS)]
    seeds = [int(word) for word in os.environ.get("D2L_INIT_SEEDS", _PUBLIC_SEEDS).split(",")]
    try:
        arrays = _arrays(judge, answer, seeds)
    except Refused as error:
        arrays = {SAID: np.array(str(error))}
    except (Exception, SystemExit) as error:
        arrays = {SAID: np.array(f"your code raised {_quoted(error)}")}
    if folder := os.environ.get("D2L_INIT_ANSWERS"):  # the grader's
        np.savez_compressed(Path(folder) / f"{task}.npz", **arrays)
    return judge.judge(arrays)


def _quoted(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines() or [""]
    except Exception:  # of a student's own class
        lines = ["(an error without words)"]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _arrays(task: Task, answer: Any, seeds: Sequence[int]) -> dict[str, Any]:
    if _empty(answer):
        return {}
    if isinstance(task, Numbers):
        return _numbers(task, answer)
    if isinstance(task, Draws):
        with _streams_kept():
            return _draws(task, answer, seeds)
    return _measured(answer)


def _empty(answer: Any) -> bool:
    return answer is None or answer is ...


def _numbers(task: Numbers, answer: Any) -> dict[str, Any]:
    asked = ", ".join(map(repr, task.right))
    if hasattr(answer, "columns"):
        answer = answer.squeeze("columns")  # a table of one column
    if not hasattr(answer, "keys"):
        if len(task.right) > 1:
            kind = type(answer).__name__
            raise Refused(f"numbers by name are needed, for {asked}; got {kind}")
        answer = {next(iter(task.right)): answer}
    given = {name: answer[name] for name in task.right if name in answer.keys()}  # noqa: SIM118
    if not given:
        raise Refused(f"numbers by name are needed, for {asked}")
    return {name: _number(name, value) for name, value in given.items() if not _empty(value)}


def _measured(answer: Any) -> dict[str, Any]:
    for method in ("asnumpy", "to_numpy"):  # MXNet's arrays and pandas's tables
        answer = getattr(answer, method, lambda kept=answer: kept)()
    if isinstance(answer, np.ndarray):
        answer = answer.ravel()
    found = list(islice(answer, _MOST + 1))
    if len(found) > _MOST:
        raise Refused(f"at most {_MOST} numbers are looked at, one for each seed")
    if any(map(_empty, found)) or not found:
        return {}
    return {"values": np.array([_number("a measurement", value) for value in found])}


def _number(name: str, value: Any) -> Any:
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        return np.array(float(value.asnumpy() if hasattr(value, "asnumpy") else value))
    except (TypeError, ValueError):
        raise Refused(f"{name} must be a number, got {type(value).__name__}") from None


@contextmanager
def _streams_kept() -> Iterator[None]:
    """Whatever is drawn inside, random numbers outside go on."""
    import mxnet as mx

    numpys, pythons = np.random.get_state(), random.getstate()
    go_on = int(mx.nd.random.randint(0, 2**31 - 1, shape=(1,), ctx=mx.cpu()).asscalar())
    try:
        yield
    finally:
        mx.random.seed(go_on)
        np.random.set_state(numpys)
        random.setstate(pythons)


def _draws(task: Draws, answer: Any, seeds: Sequence[int]) -> dict[str, Any]:
    """Three draws with a seed each, and one more with the first seed."""
    draw = _net if task.net else _layers
    found: dict[str, Any] = {}
    for name, seed in zip([*DRAWS, AGAIN], [*seeds, seeds[0]], strict=True):
        values = draw(task, answer, seed)
        if values is None:
            return {}
        found |= {f"{parameter} {name}": array for parameter, array in values.items()}
    return found


def _layers(task: Draws, answer: Any, seed: int) -> dict[str, Any] | None:
    """What the answer draws into parameters of their own, each as a layer would hold it."""
    import mxnet as mx

    ready = isinstance(answer, (str, mx.init.Initializer))
    if not ready and not callable(answer):
        raise Refused(f"an initializer or a function is needed, got {type(answer).__name__}")
    mx.random.seed(seed)
    made = {}
    for shape in task.shapes.values():
        made[shape] = answer if ready else answer(*task.arguments(shape))
        if _empty(made[shape]):
            return None
        if not isinstance(made[shape], (str, mx.init.Initializer)):
            kind = type(made[shape]).__name__
            raise Refused(f"the function must return an initializer, got {kind}")
    found = {}
    for layer, shape in task.shapes.items():
        for name in (f"{layer}_weight", f"{layer}_twin_weight", f"{layer}_bias"):
            bias = name.endswith("_bias")
            parameter = mx.gluon.Parameter(
                name, shape=shape[:1] if bias else shape, init="zeros" if bias else None
            )
            parameter.initialize(ctx=mx.cpu(), default_init=made[shape])
            found[name] = parameter.data().asnumpy()
    return found


def _net(task: Draws, answer: Any, seed: int) -> dict[str, Any] | None:
    """What the answer makes of a net: values, or changes where nothing was to change."""
    import mxnet as mx

    mx.random.seed(seed)
    net = task.net()  # type: ignore[misc]
    parameters = net.collect_params()
    before = {name: _held(one) for name, one in parameters.items()}
    mx.random.seed(seed)
    with catch_warnings(record=True) as told:  # as Gluon does where it ignores what is asked for
        simplefilter("always")
        answer(net)
    after = {name: _held(one) for name, one in parameters.items()}
    if not told and all(np.array_equal(before[name], after[name]) for name in after):
        return None
    for name, law in task.laws(task.right).items():
        if after[name] is None:
            raise Refused(f"{name} was not initialized")
        if law is None and before[name] is not None:
            after[name] = after[name] - before[name]
    return after


def _held(parameter: Any) -> Any:
    """The values of a parameter; None before it was initialized."""
    if parameter._data is None:
        return None
    return parameter.data(parameter.list_ctx()[0]).asnumpy()
