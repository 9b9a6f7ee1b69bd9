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

ALL = """
import hashlib, os
if os.environ.get("ONE_CORE"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import d2l_init as di
from scipy import stats
for initializer, shape in [
    (di.he_normal(seed=3), (1100, 1000)),
    (di.VarianceScaling(distribution="normal", seed=3), (1100, 1000)),
    (di.glorot_uniform(seed=3), (1100, 1000)),
    (di.TruncatedNormal(1, 0, 9, seed=3), (1100, 1000)),
    (di.Mixture([(0.25, (5, 10)), (0.5, 0), (0.25, (-10, -5))], seed=3), (1100, 1000)),
    (di.Mixture([(0.3, stats.laplace(0, 1)), (0.7, stats.norm(0, 1))], seed=3), (300, 300)),
    (di.HaarOrthogonal(seed=3), (600, 400)), (di.HaarOrthogonal(seed=3), (300, 700)),
    (di.Sparse(seed=3), (1100, 1000)), (di.DeltaOrthogonal(seed=3), (64, 64, 3, 3)),
    (di.Identity(seed=3), (64, 64, 3, 3)),
]:
    for dtype in ("float32", "float16", "float64"):
        digest = hashlib.sha256(initializer.sample(shape, dtype).tobytes()).hexdigest()
        print(initializer, shape, dtype, digest)
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


def without_simd():
    """Every instruction set that NumPy would choose at run time, switched off."""
    from numpy.core import _multiarray_umath as umath

    present = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(present)}


def lines(**environment):
    """What each initializer draws, one digest a line; float64 apart where it is a library's."""
    return printed(ALL, **environment).splitlines()


def test_draws_are_the_same_for_1_2_and_4_threads_and_on_one_core():
    settings = [{"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n} for n in "124"]
    first, *others = (lines(**setting) for setting in [*settings, {"ONE_CORE": "1"}])
    assert len(first) == 33
    assert all(other == first for other in others)


def test_draws_are_the_same_without_numpys_simd():
    """But for the last bits of float64 draws from scipy's distributions, which use logarithms."""
    assert without_simd()["NPY_DISABLE_CPU_FEATURES"]
    plain, scalar = lines(), lines(**without_simd())
    differ = [one for one, other in zip(plain, scalar, strict=True) if one != other]
    assert all("laplace" in one and "float64" in one for one in differ)


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
        "he_normal": "a3d051e5850d",
        "uniform": "f377c8826f19",
        "mixture": "88811a084f02",
    }
