"""How much faster than what a user would pick instead, both in turn in one process.

    python tests/benchmarks/bench.py [--short] [--readme] [PART OF A NAME]

Each round times both sides once, on fresh arrays, in alternating order; the ratio of a round is the
other's time over ours. What both give is checked. ``--short`` takes small sizes and one round, to
see that results are right; ``--readme`` puts the table into README.md.
"""

import gc
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import matplotlib.pyplot as plt
import mxnet as mx
import numpy as np
from mxnet import autograd, gluon, init
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision

import d2l_init as di

STRANGE = [(1 / 4, (5, 10)), (1 / 2, 0), (1 / 4, (-10, -5))]
README = Path(__file__).parents[2] / "README.md"


class Row(NamedTuple):
    """One comparison; a side is called with what ``fresh`` makes and gives what ``check`` sees."""

    what: str
    against: str
    ours: Callable
    other: Callable
    check: Callable
    fresh: Callable = lambda: None
    rounds: int = 15


class ThreePasses(init.Initializer):
    """The mixture as the book writes it."""

    def _init_weight(self, name, arr):
        arr[:] = mx.nd.random.uniform(-10, 10, arr.shape)
        arr *= mx.nd.abs(arr) >= 5

    def law(self, shape):
        return di.Mixture(STRANGE).law(shape)


def rows(short: bool) -> Iterator[Row]:
    side = 256 if short else 4096
    yield from drawing(side)
    yield small_parameter()
    yield whole_net(side)
    yield haar(64 if short else 1024)
    yield large_haar(*((96, 128) if short else (4096, 9216)))
    yield histogram(side)
    yield from tracing(short)


def drawn(what, against, ours, other, shape, spread=0.02, **options) -> Row:
    """Both fill an array as Gluon hands it over: zeros in MXNet's memory."""

    def fresh():
        array = mx.nd.zeros(shape)
        array.wait_to_read()
        return array

    def fill(initializer):
        def run(array):
            initializer(init.InitDesc("w_weight"), array)
            array.wait_to_read()
            return array

        return run

    def check(mine, others):
        for initializer, array in ((ours, mine), (other, others)):
            by_mxnet = type(initializer) is init.Orthogonal  # it has no law, but a scale
            std = 1.414 / shape[0] ** 0.5 if by_mxnet else di.law(initializer, shape).std
            assert abs(array.asnumpy().std() / std - 1) < spread, what

    return Row(what, against, fill(ours), fill(other), check, fresh, **options)


def drawing(side) -> Iterator[Row]:
    size, shape = f"{side}²", (side, side)
    scaled = {kind: di.VarianceScaling(1, distribution=kind) for kind in ("uniform", "normal")}
    yield drawn(f"uniform, {size}", "`init.Uniform`", scaled["uniform"], init.Uniform(), shape)
    yield drawn(f"normal, {size}", "`init.Normal`", scaled["normal"], init.Normal(), shape)
    cut = di.TruncatedNormal()
    yield drawn(f"truncated normal, {size}", "`init.Normal`", cut, init.Normal(), shape)
    mixture = di.Mixture(STRANGE)
    yield drawn(
        f"mixture ¼ ½ ¼, {size}", "three passes, as in the book", mixture, ThreePasses(), shape
    )


def small_parameter() -> Row:
    ours = di.VarianceScaling(1, distribution="uniform")
    return drawn("one parameter, 8 × 4", "`init.Uniform`", ours, init.Uniform(), (8, 4), 0.6,
                 rounds=400)  # fmt: skip


def whole_net(side) -> Row:
    def fresh():
        gc.collect()  # nets are cyclic: without it memory grows
        net = nn.Sequential()
        net.add(*[nn.Dense(side, in_units=side, use_bias=False) for _ in range(3)])
        return net

    def initialize(initializer):
        def run(net):
            net.initialize(initializer)
            mx.nd.waitall()
            return net

        return run

    def check(mine, others):
        for net, std in ((mine, side**-0.5), (others, 0.01)):
            assert abs(net[2].weight.data().asnumpy().std() / std - 1) < 0.02

    ours = di.VarianceScaling(1, distribution="normal")
    return Row(f"a net of {3 * side**2 / 1e6:.0f} M weights, normal", "`init.Normal`",
               initialize(ours), initialize(init.Normal()), check, fresh)  # fmt: skip


def haar(side) -> Row:
    return drawn(f"`HaarOrthogonal`, {side}²", "`init.Orthogonal`", di.HaarOrthogonal(),
                 init.Orthogonal(), (side, side), 1e-3, rounds=5)  # fmt: skip


def large_haar(rows, columns) -> Row:
    def by_qr(array):
        random = np.random.default_rng()
        q, r = np.linalg.qr(random.standard_normal((columns, rows)))
        return (q * np.sign(np.diagonal(r))).T

    def check(mine, others):
        for q in (mine, others):
            assert np.allclose(q[:64] @ q[:64].T, np.eye(64), atol=1e-5)

    what, other = f"`HaarOrthogonal`, {rows} × {columns}", "QR by NumPy"
    mine = di.HaarOrthogonal()
    return Row(what, other, lambda _: mine.sample((rows, columns)), by_qr, check, rounds=2)


def histogram(side) -> Row:
    layer = nn.Dense(side, in_units=side)
    layer.initialize(init.Normal(1))

    def by_hist(_):
        for parameter in layer.collect_params().values():
            figure, ax = plt.subplots()
            counts, *_ = ax.hist(parameter.data().asnumpy().ravel(), bins=100)
            plt.close(figure)
        return counts

    def check(figure, counts):
        assert f"{side**2} entries, std" in di.caption(figure)
        assert counts.sum() == side  # of the last parameter, the bias

    return Row(f"`plot_weights` of {side**2 / 1e6:.1f} M weights", "`plt.hist(bins=100)`",
               lambda _: di.plot_weights(layer, init.Normal(1)), by_hist, check)  # fmt: skip


def tracing(short) -> Iterator[Row]:
    mlp = nn.Sequential()
    width, depth = (32, 5) if short else (256, 50)
    mlp.add(*[nn.Dense(width, in_units=width) for _ in range(depth)])
    mlp.initialize(di.lecun_normal(seed=0))
    X, y = (mx.nd.random.normal(shape=(width, width)) for _ in range(2))
    passes = "forward and backward"
    yield traced(f"`trace` with loss, {depth} × Dense({width})", passes, mlp, X, y,
                 gluon.loss.L2Loss(), 30)  # fmt: skip
    resnet = vision.resnet18_v1() if short else vision.resnet50_v1()
    resnet.initialize(di.he_normal(seed=0))
    X = mx.nd.random.normal(shape=(4, 3, *[64 if short else 224] * 2))
    resnet(X)
    loss, name = (
        gluon.loss.SoftmaxCrossEntropyLoss(),
        f"`trace` with loss, ResNet-{18 if short else 50}",
    )
    yield traced(name, passes, resnet, X, mx.nd.zeros(4), loss, 7)
    yield traced(f"{name}, `bins=50`", passes, resnet, X, mx.nd.zeros(4), loss, 7, bins=50)


def traced(what, against, net, X, y, loss, rounds, **options) -> Row:
    def bare(_):
        with autograd.record(train_mode=False):
            value = loss(net(X), y).mean()
        value.backward(train_mode=False)
        mx.nd.waitall()
        return value.asscalar()

    def check(mine, value):
        assert abs(mine.loss / value - 1) < 1e-4

    def ours(_):
        return di.trace(net, X, y, loss, **options)

    return Row(what, against, ours, bare, check, rounds=rounds)


def seconds(side, row) -> tuple[float, object]:
    given = row.fresh()
    mx.nd.waitall()
    start = perf_counter()
    found = side(given)
    return perf_counter() - start, found


def ratios(row: Row, rounds: int) -> list[float]:
    found = []
    for number in range(rounds + 1):
        sides = (row.ours, row.other) if number % 2 else (row.other, row.ours)
        taken = {side: seconds(side, row) for side in sides}
        (mine, result), (others, expected) = taken[row.ours], taken[row.other]
        if number == 0:  # it compiles, allocates and is checked
            row.check(result, expected)
        else:
            found.append(others / mine)
    return found


def line(row: Row, short: bool) -> str:
    found = ratios(row, 1 if short else row.rounds)
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75])
    return f"| {row.what} | {row.against} | {middle:.2g} | {low:.2g} to {high:.2g} |"


def main(*arguments: str) -> None:
    short, words = "--short" in arguments, [one for one in arguments if not one.startswith("--")]
    table = ["| what | against | times faster | quartiles |", "|---|---|---|---|"]
    print("\n".join(table), flush=True)
    for row in rows(short):
        if all(word in row.what for word in words):
            table.append(line(row, short))
            print(table[-1], flush=True)
    if "--readme" in arguments:
        text = "\n".join(["<!-- bench -->", *table, "<!-- end bench -->"])
        whole = re.sub(r"<!-- bench -->.*<!-- end bench -->", text, README.read_text(), flags=re.S)
        README.write_text(whole)


if __name__ == "__main__":
    main(*sys.argv[1:])
