"""`d2l_init.check`: whatever a student's code does becomes a verdict, and leaves no trace."""

import itertools
import os
import random

import mxnet as mx
import numpy as np
import pandas as pd
import pytest
from mxnet import init
from mxnet.gluon import nn
from scipy import stats

import d2l_init
from d2l_init import check
from d2l_init.classroom import tasks
from d2l_init.classroom.judges import Draws, Measurement, Mistake, Numbers, Wrong
from d2l_init.classroom.mistakes import constant, normal, uniform, variance_scaling
from d2l_init.laws import Law


def net():
    block = nn.HybridSequential(prefix="")
    block.add(nn.Dense(50, in_units=60, prefix="hidden_"), nn.Dense(10, in_units=50, prefix="out_"))
    block.initialize(init.Constant(0.5))
    return block


NET_SHAPES = {
    "hidden_weight": (50, 60),
    "hidden_bias": (50,),
    "out_weight": (10, 50),
    "out_bias": (10,),
}
NET_LAWS = {"out_weight": normal(0.1), "out_bias": constant(-2.2)}
KNOWN = [
    Numbers("x-numbers", {"std": 0.0404, "depth": 3}),
    Numbers("x-number", {"std": 0.0404}, {"std": [Wrong("std for bound", 0.07, "a?")]}),
    Measurement("x-measured", 0.5),
    Draws("x-he", **variance_scaling("normal", 2, "in")),
    Draws(
        "x-normal",
        right=lambda shape: normal(1 / shape[0]),
        arguments=lambda shape: (1 / shape[0],),
        mistakes=[Mistake("root", lambda shape: normal(shape[0] ** -0.5), "a root?")],
    ),
    Draws("x-default", lambda shape: uniform(0.07 / 3**0.5)),
    Draws("x-net", lambda name, shape: NET_LAWS.get(name), shapes=NET_SHAPES, net=net),
]


@pytest.fixture(autouse=True)
def known(monkeypatch):
    for one in KNOWN:
        monkeypatch.setitem(tasks.TASKS, one.id, one)


def he():
    return init.MSRAPrelu("in", 0)


def head(block):
    block[1].initialize(init.Normal(0.1), force_reinit=True)
    block[1].bias.initialize(init.Constant(-2.2), force_reinit=True)


class Own(init.Initializer):
    """Fills a weight with what a function makes of its shape."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw

    def _init_weight(self, _, data):
        data[:] = self.draw(data.shape)


RIGHT = {
    "numbers by name": ("x-numbers", {"std": 0.0404, "depth": 3}),
    "numbers of MXNet": ("x-numbers", {"std": mx.nd.array([0.0404]), "depth": np.int8(3)}),
    "a series": ("x-numbers", pd.Series({"std": 0.0404, "depth": 3})),
    "a table": ("x-numbers", pd.DataFrame({"value": {"depth": 3, "std": 0.0404}})),
    "one number alone": ("x-number", 0.0404),
    "a list": ("x-measured", [0.5, 0.51, 0.49, 0.5, 0.52]),
    "a generator": ("x-measured", (0.5 + seed / 1000 for seed in range(5))),
    "an array of MXNet": ("x-measured", mx.nd.array([0.5, 0.51, 0.49, 0.5, 0.52])),
    "a column": ("x-measured", pd.DataFrame({"factor": [0.5, 0.51, 0.49, 0.5, 0.52]})),
    "an initializer": ("x-he", he()),
    "a function without arguments": ("x-he", he),
    "ours": ("x-he", d2l_init.VarianceScaling(2, "fan_in", "normal")),
    "a class": ("x-normal", init.Normal),
    "a registered name": ("x-default", "uniform"),
    "one's own class": (
        "x-normal",
        lambda std: Own(lambda shape: mx.nd.random.normal(0, std, shape=shape)),
    ),
    "a net": ("x-net", head),
}


@pytest.mark.parametrize("answer", RIGHT)
def test_a_right_answer_of_any_form_earns_all_points(answer):
    verdict = check(*RIGHT[answer])
    assert verdict.ok, verdict


@pytest.mark.usefixtures("numpy_semantics")
@pytest.mark.parametrize("answer", ["an initializer", "a net", "ours"])
def test_it_works_in_numpy_semantics_too(answer):
    assert check(*RIGHT[answer]).ok


@pytest.mark.parametrize(
    ("task", "empty"),
    [(one.id, empty) for one in KNOWN for empty in (..., None)]
    + [("x-he", lambda: None), ("x-normal", lambda std: ...), ("x-measured", [])],
)
def test_an_empty_answer_is_not_answered_yet(task, empty):
    verdict = check(task, empty)
    assert (verdict.points, verdict.lines) == (0, ["not answered yet"])


def test_a_net_is_not_answered_yet_if_nothing_was_done_and_judged_if_mxnet_ignored_it():
    assert check("x-net", lambda block: None).lines == ["not answered yet"]
    ignored = check("x-net", lambda block: block.initialize(init.Normal(0.1)))
    assert ignored.lines[0].startswith("not yet: size: out_weight (10×50) has mean 0.5, not 0")


def test_numbers_left_out_are_not_answered_yet():
    verdict = check("x-numbers", {"std": ..., "depth": 3})
    assert verdict.lines == ["not answered yet: std", "right: depth"]


class Hostile:
    """Equal to everything, and its every method fails."""

    def __eq__(self, other):
        return True

    __hash__ = None

    def __getattr__(self, name):
        raise RuntimeError("no")

    def __float__(self):
        raise RuntimeError("no")


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError


class Equal(int):
    """A number that claims to equal every other."""

    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


def stops(*_):
    raise SystemExit(0)


def fails(*_):
    raise Wordless


def deep(*_):
    return deep()


WRONG = {
    "words": ("x-numbers", "0.0404"),
    "a list for names": ("x-numbers", [0.0404, 3]),
    "other names": ("x-numbers", {"sigma": 0.0404}),
    "words for a number": ("x-number", {"std": "0.0404"}),
    "a complex number": ("x-number", 0.0404 + 0j),
    "too large an integer": ("x-number", 10**400),
    "equal to everything": ("x-number", Equal(7)),
    "hostile": ("x-number", Hostile()),
    "hostile measurement": ("x-measured", Hostile()),
    "hostile initializer": ("x-he", Hostile()),
    "endless": ("x-measured", itertools.count()),
    "no sequence": ("x-measured", 0.5),
    "words for a measurement": ("x-measured", "0.5 0.5"),
    "NaN": ("x-measured", [np.nan] * 5),
    "a number for an initializer": ("x-he", 2),
    "a function that returns a number": ("x-he", lambda: 2),
    "wrong arguments": ("x-he", lambda fan, scale: he()),
    "division by zero": ("x-he", lambda: 1 / 0),
    "sys.exit": ("x-he", stops),
    "an error without words": ("x-he", fails),
    "endless recursion": ("x-he", deep),
    "wrong shape": ("x-he", lambda: Own(lambda shape: mx.nd.zeros(shape[::-1]))),
    "NaN in weights": ("x-he", lambda: Own(lambda shape: np.nan)),
    "an unknown name": ("x-he", "xaviour"),
    "an error in a net": ("x-net", lambda block: block[7]),
}


@pytest.mark.parametrize("answer", WRONG)
def test_whatever_is_wrong_becomes_a_line_and_no_error(answer):
    verdict = check(*WRONG[answer])
    assert verdict.points == 0
    assert verdict.lines[0].startswith("not yet: ")
    assert verdict._repr_html_()


def test_the_error_of_a_students_code_is_quoted():
    assert check("x-he", lambda: 1 / 0).lines == [
        "not yet: your code raised ZeroDivisionError: division by zero"
    ]


def test_a_key_board_interrupt_is_not_swallowed():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("x-he", interrupted)


def test_a_task_that_does_not_exist_is_told_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'x-measured'"):
        check("x-measurd", 1)


MISTAKES = {
    "seed ignored": lambda: Own(
        lambda shape: np.random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
    ),
    "factor 2 forgotten": lambda: init.Xavier("gaussian", "in", 1),
    "wrong fan": lambda: init.Xavier("gaussian", "out", 2),
    "uniform for normal": lambda: init.Xavier("uniform", "in", 6),
    "factor 3 left": lambda: init.Xavier("gaussian", "in", 6),
    "constant": lambda: init.Constant(0.1),
}


@pytest.mark.parametrize("keyword", MISTAKES)
def test_mistakes_with_mxnets_own_initializers_are_recognized(keyword):
    assert keyword in check("x-he", MISTAKES[keyword]).mistakes


def test_a_seed_within_the_initializer_is_the_same_draw_each_time():
    verdict = check("x-he", d2l_init.VarianceScaling(2, "fan_in", "normal", seed=3))
    assert (verdict.points, verdict.mistakes) == (0, ("seed ignored",))


def test_twins_are_recognized():
    def equal():
        kept = {}

        def draw(shape):
            if shape not in kept:
                kept[shape] = mx.nd.random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape=shape)
            return kept[shape]

        return Own(draw)

    assert check("x-he", equal).mistakes == ("twins between layers",)


def test_a_bias_that_is_touched_is_recognized():
    class Whole(init.Initializer):
        def __call__(self, _, data):
            data[:] = mx.nd.random.normal(0, 0.1, shape=data.shape)

    assert (
        "bias touched"
        in check("x-net", lambda block: block.initialize(Whole(), force_reinit=True)).mistakes
    )


def test_what_was_to_stay_in_a_net_is_told_by_name():
    verdict = check("x-net", lambda block: block.initialize(init.Normal(0.1), force_reinit=True))
    assert "hidden_weight was to stay as it was" in str(verdict)


def streams():
    return (
        np.random.get_state()[1].tolist(),
        random.getstate(),
        mx.nd.random.uniform(shape=4).asnumpy().tolist(),
    )


@pytest.mark.parametrize("answer", [he, lambda: Own(lambda s: np.random.normal(size=s)), stops])
def test_the_callers_random_numbers_go_on(answer):
    seen = []
    for _ in range(2):
        np.random.seed(1), random.seed(1), mx.random.seed(1)
        before = np.random.get_state()[1].tolist(), random.getstate()
        check("x-he", answer)
        after = streams()
        assert after[:2] == before
        seen.append(after)
    assert seen[0] == seen[1]


def test_the_verdict_is_the_same_each_time():
    assert str(check("x-he", init.Uniform())) == str(check("x-he", init.Uniform()))


def test_under_the_grader_arrays_are_left_that_the_judge_reads_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("D2L_INIT_ANSWERS", str(tmp_path))
    for task, answer in [*RIGHT.values(), ("x-he", ...), ("x-he", stops), ("x-he", init.Uniform())]:
        verdict = check(task, answer)
        with np.load(tmp_path / f"{task}.npz", allow_pickle=False) as arrays:
            assert tasks.judge(task, arrays) == verdict
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 4e6


def test_the_graders_seeds_decide_what_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setenv("D2L_INIT_ANSWERS", str(tmp_path))
    found = []
    for seeds in ("1,2,3", "1,2,3", "2,3,1"):
        monkeypatch.setenv("D2L_INIT_SEEDS", seeds)
        assert check("x-he", he).ok
        with np.load(tmp_path / "x-he.npz") as arrays:
            found.append({draw: arrays[f"conv_weight {draw}"] for draw in ("1", "2", "3", "again")})
    assert all(np.array_equal(found[0][draw], found[1][draw]) for draw in found[0])
    assert np.array_equal(found[0]["2"], found[2]["1"])
    assert np.array_equal(found[0]["1"], found[0]["again"])


def test_without_a_grader_no_file_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("D2L_INIT_ANSWERS", raising=False)
    monkeypatch.chdir(tmp_path)
    check("x-number", 0.0404)
    assert os.listdir(tmp_path) == []


def test_a_mixture_with_an_atom_is_checked_too(monkeypatch):
    spike = Draws("x-spike", lambda shape: Law([(0.3, 0.0), (0.7, stats.norm(0, 0.2))]))
    monkeypatch.setitem(tasks.TASKS, "x-spike", spike)
    mixture = d2l_init.Mixture([(0.3, 0), (0.7, stats.norm(0, 0.2))])
    assert check("x-spike", mixture).ok
    assert not check("x-spike", d2l_init.Mixture([(0.35, 0), (0.65, stats.norm(0, 0.2))])).ok
