"""Judges of exercises: right draws pass, each mistake gets its hint, wicked arrays get nothing."""

import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats
from unit.classroom.answers import drawn, many

from d2l_init.classroom.judges import DRAWS, Draws, Measurement, Mistake, Numbers, Wrong
from d2l_init.classroom.mistakes import constant, normal, uniform, variance_scaling
from d2l_init.classroom.verdicts import Verdict
from d2l_init.laws import Law

SPIKE = Law([(0.9, 0.0), (0.1, stats.norm(0, 0.3))])
STRANGE = Law([(0.25, stats.uniform(5, 5)), (0.5, 0.0), (0.25, stats.uniform(-10, 5))])
SIGNS = Law([(0.5, -0.1), (0.5, 0.1)])
SMALL = {"dense": (30, 20)}
THREE = {"wide": (90, 40), "narrow": (30, 120), "conv": (16, 8, 3, 3)}


def always(law):
    return lambda shape: law


def task(right, mistakes=(), shapes=None):
    return Draws(
        "x", right=cache(right), mistakes=mistakes, **({"shapes": shapes} if shapes else {})
    )


def of_net(**laws):
    """A task whose net has one parameter for each law."""
    shapes = dict.fromkeys(laws, (30, 20))
    return Draws("x", right=lambda name, shape: laws[name], shapes=shapes, net=lambda: None)


KINDS = {
    "normal": task(variance_scaling("normal", 2, "in")["right"], shapes=SMALL),
    "uniform": task(variance_scaling("uniform", 1, "avg")["right"], shapes=SMALL),
    "truncated": task(variance_scaling("truncated_normal", 2, "in")["right"], shapes=SMALL),
    "spike": task(always(SPIKE), shapes=SMALL),
    "strange": task(always(STRANGE), shapes=SMALL),
    "signs": task(always(SIGNS), shapes=SMALL),
    "net": of_net(weight=normal(0.1), other=uniform(0.2), bias=constant(0.1), kept=None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_right_draw_of_a_thousand_is_refused(kind):
    rng = np.random.default_rng(sum(map(ord, kind)))
    verdicts = map(KINDS[kind].judge, many(KINDS[kind], rng, 1000))
    assert [verdict for verdict in verdicts if not verdict.ok] == []


def test_right_draws_that_were_rounded_to_float16_pass():
    one, rng = task(KINDS["normal"].right), np.random.default_rng(9)
    rounded = ({name: np.float16(x) for name, x in a.items()} for a in many(one, rng, 20))
    assert all(one.judge(arrays).ok for arrays in rounded)


def test_at_most_three_right_draws_of_ten_thousand_are_refused():
    rng, one = np.random.default_rng(0), of_net(weight=normal(0.1))
    assert sum(not one.judge(arrays).ok for arrays in many(one, rng, 10_000)) <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_tenth_off_in_scale_is_refused(kind):
    rng, one = np.random.default_rng(1), KINDS[kind]
    if not one.net:
        one = replace(one, shapes={"larger": (200, 80) if kind == "spike" else (60, 50)})
    draws = [*many(one, rng, 50, scale=0.9), *many(one, rng, 50, scale=1.1)]
    assert sum(not one.judge(arrays).ok for arrays in draws) >= 99


RULES = [
    ("normal", 2, "in"),
    ("normal", 2, "avg"),
    ("normal", 1, "out"),
    ("uniform", 1, "in"),
    ("uniform", 3, "avg"),
    ("truncated_normal", 2, "in"),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_each_mistake_in_a_rule_of_fans_gets_its_own_hint(rule):
    rng, rules = np.random.default_rng(2), variance_scaling(*rule)
    one = Draws("x", **rules, shapes=THREE)
    assert one.judge(drawn(one, rng)).ok
    for mistake in rules["mistakes"]:
        verdict = one.judge(drawn(one, rng, mistake.law))
        assert not verdict.ok
        assert verdict.mistakes[0] == mistake.keyword
        assert any(mistake.hint in line for line in verdict.lines)


def answer(rule=KINDS["normal"], seed=3):
    return drawn(rule, np.random.default_rng(seed))


def all_draws(arrays, change, where="weight"):
    return {name: change(x) if where in name else x for name, x in arrays.items()}


def test_a_factor_is_told_with_both_numbers():
    one = task(always(normal(0.05)), [Mistake("root", always(normal(0.1)), "a root?")])
    verdict = one.judge(drawn(one, np.random.default_rng(4), always(normal(0.1))))
    assert verdict.points == 2
    assert "a weight of 200×80 has standard deviation 0.0998, 2 times what is right" in str(verdict)
    assert "this looks like “root”: a root?" in str(verdict)


def test_a_shape_is_told_apart_from_a_size():
    one = KINDS["normal"]
    verdict = one.judge(all_draws(answer(one), lambda x: 3 * x))
    assert (verdict.points, verdict.lines[1]) == (2, "right: shape of the law")
    right_size = drawn(one, np.random.default_rng(5), lambda shape: uniform(one.right(shape).std))
    verdict = one.judge(right_size)
    assert (verdict.points, verdict.lines[0]) == (2, "right: size")


def test_a_seed_without_size_and_shape_earns_nothing():
    one = KINDS["normal"]
    assert one.judge(drawn(one, np.random.default_rng(6), always(SPIKE))).points == 0


@pytest.mark.parametrize(
    ("keyword", "points", "change"),
    [
        ("bias touched", 2, lambda a: all_draws(a, lambda x: x + 0.1, "bias")),
        ("constant", 0, lambda a: all_draws(a, lambda x: 0 * x + 0.1)),
        ("seed ignored", 2, lambda a: a | {"dense_weight again": a["dense_weight 2"]}),
        ("seed ignored", 0, lambda a: {n: a[n[: n.rindex(" ")] + " again"] for n in a}),
        ("twins between layers", 2, lambda a: {n: a[n.replace("_twin", "")] for n in a}),
        (
            "twins between layers",
            2,
            lambda a: {n: -a[n.replace("_twin", "")] if "_twin" in n else a[n] for n in a},
        ),
    ],
)
def test_what_no_law_shows_has_its_own_hint(keyword, points, change):
    verdict = KINDS["normal"].judge(change(answer()))
    assert (verdict.points, verdict.mistakes[0]) == (points, keyword)


def test_units_that_are_copies_are_no_draw_of_the_law():
    verdict = KINDS["normal"].judge(all_draws(answer(), lambda x: np.resize(x[:1], x.shape)))
    assert "values differ" in str(verdict)
    assert not verdict.ok


def quantiles(one, seed):
    """The right law's own quantiles in an order that the seed decides."""
    rng, found = np.random.default_rng(seed), answer(one)
    for name, law in one.laws(one.right).items():
        for draw in DRAWS if law else ():
            size = found[f"{name} {draw}"].size
            even = law.parts[0][1].ppf((np.arange(size) + rng.uniform(0.3, 0.7)) / size)
            found[f"{name} {draw}"] = rng.permutation(even).reshape(found[f"{name} {draw}"].shape)
        found[f"{name} again"] = found[f"{name} 1"]
    return found


def broken(**changed):
    return lambda: answer() | {name.replace("__", " "): x for name, x in changed.items()}


UNFIT = {
    "objects": broken(dense_weight__1=np.array([[object()]])),
    "strings": broken(dense_weight__1=np.full((30, 20), "0.1")),
    "complex": broken(dense_weight__1=np.full((30, 20), 0.1j)),
    "dates": broken(dense_weight__1=np.full((30, 20), "2026-11-27", "datetime64[D]")),
    "no array": broken(dense_weight__1=[[0.1]]),
    "nan": broken(dense_weight__1=np.full((30, 20), np.nan)),
    "one infinity": broken(dense_weight__1=np.append(np.zeros(599), np.inf).reshape(30, 20)),
    "transposed": broken(dense_weight__1=np.zeros((20, 30))),
    "no entries": broken(dense_weight__1=np.zeros((0, 20))),
    "a million of one value": broken(dense_weight__1=np.full(1_000_000, 0.2)),
    "missing": lambda: {name: x for name, x in answer().items() if "again" not in name},
    "other names only": lambda: {"weight": np.zeros(3)},
    "huge": lambda: {name: np.full(x.shape, 1e300) for name, x in answer().items()},
    "quantiles": lambda: quantiles(KINDS["normal"], 1),
    "an error": lambda: answer() | {"said": np.array("ValueError: no")},
    "an error of objects": lambda: answer() | {"said": np.array([{}], object)},
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unfit", UNFIT)
def test_arrays_that_are_no_draws_earn_nothing_and_are_told_why(unfit):
    verdict = KINDS["normal"].judge(UNFIT[unfit]())
    assert verdict.points == 0
    assert "not yet: " in str(verdict)


def test_a_file_of_objects_is_told_as_unreadable(tmp_path):
    np.savez(tmp_path / "forged.npz", **answer() | {"dense_weight 1": np.array([{}], object)})
    with np.load(tmp_path / "forged.npz", allow_pickle=False) as forged:
        assert KINDS["normal"].judge(forged).lines == ["not yet: dense_weight 1 cannot be read"]


def test_names_that_nobody_asked_for_change_nothing():
    assert KINDS["normal"].judge(answer() | {"../grades": np.ones(3)}).ok


def test_dependent_entries_may_follow_their_law_closely():
    free = replace(KINDS["normal"], independent=False)
    assert free.judge(quantiles(KINDS["normal"], 1)).ok


NUMBERS = Numbers(
    "x",
    right={"std": 0.0404145, "depth": 20, "share": 0.0, "sign": -1.5},
    mistakes={"std": [Wrong("std for bound", 0.07, "a?"), Wrong("variance", 0.00163, "root?")]},
)


def numbers(**given):
    return NUMBERS.judge({name: np.array(value) for name, value in given.items()})


@pytest.mark.parametrize("std", [0.0404145, 0.0404, 0.0405, 0.0403146])
def test_numbers_are_right_to_three_digits(std):
    assert numbers(std=std, depth=20, share=0, sign=-1.5).ok


@pytest.mark.parametrize("std", [0.0406, 0.0402, -0.0404, 0, 404, 1e308])
def test_other_numbers_are_not(std):
    verdict = numbers(std=std, depth=20, share=0, sign=-1.5)
    assert verdict.points == 1.5


def test_the_nearest_known_mistake_in_a_number_is_told():
    assert numbers(std=0.07).mistakes == ("std for bound",)
    assert numbers(std=0.00163).mistakes == ("variance",)
    assert "0.07, 1.73 times what is right: a?" in numbers(std=0.07).lines[0]


def test_numbers_left_out_are_not_answered_yet():
    verdict = numbers(depth=20)
    assert verdict.points == 0.5
    assert verdict.lines[0] == "not answered yet: std"


@pytest.mark.parametrize("value", ["0.0404", 1j, np.nan, np.inf, [0.0404], [], None])
def test_what_is_no_number_earns_nothing(value):
    assert numbers(std=value).points == 0


MEASURED = Measurement("x", right=0.5, mistakes=[Wrong("no ReLU", 1.0, "Was the ReLU applied?")])


def measured(found, one=MEASURED):
    return one.judge({"values": np.asarray(found)})


def test_no_right_measurement_of_ten_thousand_is_refused_more_than_three_times():
    """Its spread is the largest that ``within`` allows: 4.1 standard errors of the mean."""
    rng, spread = np.random.default_rng(7), 0.05 * 0.5 * np.sqrt(5) / 4.1
    draws = 0.5 + spread * rng.standard_normal((10_000, 5))
    assert sum(not measured(found).ok for found in draws) <= 3


def test_a_measurement_a_tenth_off_is_refused():
    rng, spread = np.random.default_rng(8), 0.05 * 0.5 * np.sqrt(5) / 4.1
    for right in (0.45, 0.55):
        draws = right + spread * rng.standard_normal((100, 5))
        assert sum(not measured(found).ok for found in draws) >= 99


def test_a_known_mistake_in_a_measurement_is_told():
    verdict = measured([1.0, 0.99, 1.02, 1.01, 0.98])
    assert verdict.mistakes == ("no ReLU",)
    assert "2 times what is right: Was the ReLU applied?" in str(verdict)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([0.5] * 4, "of at least 5 seeds"),
        ([0.5] * 1_000_000, "all numbers are 0.5"),
        ([0.1, 0.9, 0.2, 0.8, 0.5], "too uncertain"),
        ([0.5, 0.5, 0.5, 0.5, np.nan], "not finite"),
        ([], "not finite"),
        (["0.5"] * 5, "plain numbers"),
        ([1e308, 1e308, -1e308, 1e308, 1.7e308], "the mean"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_measurement_earns_nothing_and_is_told_why(found, why):
    verdict = measured(found)
    assert verdict.points == 0
    assert why in str(verdict)


def test_a_verdict_escapes_what_a_student_wrote():
    error = np.array("<script>alert(1)</script>\x1b[31m & more")
    shown = NUMBERS.judge({"said": error})
    assert "<script>" not in shown._repr_html_()
    assert "&lt;script&gt;" in shown._repr_html_()
    assert "\x1b" not in str(shown)


def test_a_verdict_tells_right_from_wrong_in_words_and_not_in_colours():
    shown = numbers(std=0.07, depth=20)._repr_html_()
    assert "not yet: std" in shown
    assert "right: depth" in shown
    assert "color" not in shown


def test_points_come_in_halves():
    assert [numbers(depth=20).points, numbers(depth=20, share=0).points] == [0.5, 1]
    assert Verdict("x", 1.5, 2, []).ok is False


def test_judges_and_tasks_do_without_mxnet():
    code = (
        "import sys; sys.modules['mxnet'] = None\n"
        "from d2l_init.classroom.tasks import TASKS, judge\n"
        "print({judge(id, {}).lines[0] for id in TASKS})"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "{'not answered yet'}"
