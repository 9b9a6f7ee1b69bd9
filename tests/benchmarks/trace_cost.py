"""What ``d2l_init.trace`` costs against the bare forward and backward pass, in one run.

    python tests/benchmarks/trace_cost.py [rounds]

50 Dense layers of 256 units, a batch of 256. The kinds of pass take turns, so that a busy machine
slows all of them; each round gives a ratio, and the median over the rounds counts.
"""

import sys
from statistics import median
from time import perf_counter

from mxnet import autograd, gluon, np, npx
from mxnet.gluon import nn

import d2l_init as di
from d2l_init.lab.trace import trace

LAYERS, WIDTH, BATCH = 50, 256, 256
GOALS = {"trace(net, X)": 1.5, "trace(net, X, y, loss)": 2.0}


def seconds(run):
    npx.waitall()
    start = perf_counter()
    run()
    npx.waitall()
    return perf_counter() - start


def experiments():
    net = nn.Sequential()
    net.add(*[nn.Dense(WIDTH, in_units=WIDTH) for _ in range(LAYERS)])
    net.initialize(di.lecun_normal(seed=0))
    X, y = np.random.normal(size=(BATCH, WIDTH)), np.random.normal(size=(BATCH, WIDTH))
    loss = gluon.loss.L2Loss()

    def bare():
        with autograd.record(train_mode=False):
            value = loss(net(X), y).mean()
        value.backward(train_mode=False)

    with_gradients = lambda: trace(net, X, y, loss)  # noqa: E731
    runs = [bare, lambda: trace(net, X), with_gradients]
    return dict(zip(["bare", *GOALS], runs, strict=True))


def main(rounds=30):
    npx.set_np()
    runs = experiments()
    for run in runs.values():
        run()  # the first call compiles and allocates
    taken = [{name: seconds(run) for name, run in runs.items()} for _ in range(rounds)]
    print(f"{LAYERS} x Dense({WIDTH}), batch {BATCH}, {rounds} rounds, medians")
    print(f"{'forward and backward':<24}{median(one['bare'] for one in taken) * 1e3:8.1f} ms")
    for name, goal in GOALS.items():
        ratio = median(one[name] / one["bare"] for one in taken)
        least = median(one[name] for one in taken) * 1e3
        print(f"{name:<24}{least:8.1f} ms {ratio:6.2f} times (goal: at most {goal})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
