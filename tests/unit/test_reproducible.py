"""The same bits: for a seed, a name, any number of threads and cores, in another process."""

import hashlib
import os
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import d2l_init as di

BIG = """
import hashlib, os
if os.environ.get("ONE_CORE"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import d2l_init as di
digest = hashlib.sha256()
for initializer, shape in [
    (di.he_normal(seed=3), (1100, 2000)),
    (di.VarianceScaling(distribution="normal", seed=3), (1100, 2000)),
    (di.Mixture([(0.5, (5, 10)), (0.5, 0)], seed=3), (1100, 2000)),
    (di.HaarOrthogonal(seed=3), (300, 300)),
    (di.Sparse(seed=3), (300, 300)), (di.DeltaOrthogonal(seed=3), (64, 64, 3, 3)),
]:
    digest.update(initializer.sample(shape).tobytes())
print(digest.hexdigest())
"""
NETS = """
import hashlib, d2l_init as di, mxnet as mx
from mxnet.gluon import nn
net = nn.Dense(8, in_units=4, prefix="a_")
net.initialize(di.he_normal(seed=5))
print(hashlib.sha256(net.weight.data().asnumpy().tobytes()).hexdigest())
"""


def printed(code, **environment):
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         env={**os.environ, **environment})  # fmt: skip
    return ran.stdout


def test_weights_are_the_same_for_1_2_and_4_threads_and_on_one_core():
    settings = [{"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n} for n in "124"] + [
        {"ONE_CORE": "1"}
    ]
    assert len({printed(BIG, **setting) for setting in settings}) == 1


def test_weights_of_a_seed_do_not_depend_on_the_hash_seed():
    assert len({printed(NETS, PYTHONHASHSEED=seed) for seed in ("0", "1", "random")}) == 1


def weights(initializer, *prefixes):
    net = nn.Sequential()
    net.add(*(nn.Dense(4, in_units=4, prefix=prefix) for prefix in prefixes))
    net.initialize(initializer)
    return [layer.weight.data().asnumpy() for layer in net]


@pytest.mark.parametrize(
    "make", [di.he_normal, di.HaarOrthogonal, di.Sparse], ids=lambda make: make.__name__
)
def test_with_a_seed_no_layers_are_twins_and_a_layer_in_front_changes_nothing(make):
    first, second = weights(make(seed=1), "a_", "b_")
    assert not np.array_equal(first, second)
    assert np.array_equal(weights(make(seed=1), "front_", "a_", "b_")[2], second)
    assert not np.array_equal(weights(make(seed=2), "a_")[0], first)


def test_with_a_seed_mxnets_stream_is_left_alone():
    mx.random.seed(0)
    expected = mx.nd.random.uniform(shape=3).asnumpy()
    mx.random.seed(0)
    di.he_normal(seed=1).sample((8, 4))
    assert np.array_equal(mx.nd.random.uniform(shape=3).asnumpy(), expected)


@pytest.mark.parametrize(
    "make", [di.he_normal, di.HaarOrthogonal, di.Sparse], ids=lambda make: make.__name__
)
def test_without_a_seed_mx_random_seed_repeats_and_draws_go_on(make):
    mx.random.seed(4)
    first, second = make().sample((6, 6)), make().sample((6, 6))
    mx.random.seed(4)
    again = make().sample((6, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_the_streams_are_the_ones_of_the_first_release():
    """A change of these digests changes every reader's weights: say so in the changelog."""
    drawn = {
        "he_normal": di.he_normal(seed=0).sample((8, 4)),
        "uniform": di.glorot_uniform(seed=0).sample((8, 4)),
        "mixture": di.Mixture([(0.5, 0), (0.5, (1, 2))], seed=0).sample((8, 4)),
    }
    digests = {k: hashlib.sha256(v.tobytes()).hexdigest()[:12] for k, v in drawn.items()}
    assert digests == {
        "he_normal": "f0b3eea4957f",
        "uniform": "71efc46dd96b",
        "mixture": "867042e6a1a8",
    }
