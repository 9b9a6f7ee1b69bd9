"""From random words to values: the normal quantile, mixtures of few parts, memory."""

import gc
from statistics import NormalDist

import mxnet as mx
import numpy as np
import pytest
from mxnet import init
from scipy import special, stats
from unit.draws import follows

import d2l_init as di
from d2l_init import filling

KINDS = {"float32": ("int32", 2e-6), "float64": ("int64", 1e-11)}


def filled(sampler, words, kind):
    out = np.empty(len(words), kind)
    sampler(words, out, np.empty((3, len(words)), kind))
    return out


def exact_normal(word, bits):
    """The quantile at the middle of the word's share of probability, from the nearer end."""
    size = word if word >= 0 else -word - 1
    z = -NormalDist().inv_cdf((2 ** (bits - 1) - size - 0.5) / 2**bits)
    return z if word >= 0 else -z


@pytest.mark.parametrize("kind", KINDS)
def test_the_normal_quantile_is_right_from_the_middle_to_the_last_word(kind):
    integer, tolerance = KINDS[kind]
    ends = np.iinfo(integer)
    words = np.random.default_rng(0).integers(ends.min, ends.max, 3000, integer, endpoint=True)
    words = np.append(words, np.array([ends.min, ends.min + 9, ends.max, ends.max // 2], integer))
    expected = [exact_normal(int(word), ends.bits) for word in words]
    found = filled(filling.normal(0, 1), words, kind)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bound", [0.01, 0.5, 2.0, 5.0, 9.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_normal_is_the_quantile_of_its_law(kind, bound):
    integer, tolerance = KINDS[kind]
    words = np.linspace(-0.999, 0.999, 2001)
    words = (words * np.iinfo(integer).max).astype(integer)
    share = (words.astype(float) / 2.0 ** (np.iinfo(integer).bits - 1) + 1) / 2
    expected = stats.truncnorm(-bound, bound).ppf(share)
    found = filled(filling.normal(0, 1, bound), words, kind)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=tolerance * max(bound, 1))
    assert abs(found).max() <= bound * (1 + 1e-6)


def test_the_logarithm_is_the_library_s():
    x = np.geomspace(1e-20, 1, 500)[:-1]
    np.testing.assert_allclose(filling._log(x), np.log(x), rtol=1e-14)


PARTS = {
    "rare": [(1e-6, (5, 10)), (1 - 1e-6, 0.0)],
    "many": [(0.2, (k, k + 1)) for k in range(5)],
    "one": [(1.0, (2, 3))],
    "number": [(1.0, 7.0)],
    "quantile": [(0.5, special.ndtri), (0.5, (5, 6))],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PARTS)
def test_a_mixture_is_the_quantile_of_its_parts(name, kind):
    """Words in order walk through the parts in order, each from its one end to the other."""
    bits = np.iinfo(KINDS[kind][0]).bits
    share = np.linspace(0.0001, 0.9999, 1999)
    words = ((2 * share - 1) * (2.0 ** (bits - 1) - 2**20)).astype(KINDS[kind][0])
    share = (words / 2.0 ** (bits - 1) + 1) / 2
    ends = np.cumsum([0, *[chance for chance, _ in PARTS[name]]])
    expected = []
    for u in share:
        part = min(int(np.searchsorted(ends, u, "right")) - 1, len(PARTS[name]) - 1)
        chance, draw = PARTS[name][part]
        inside = (u - ends[part]) / chance
        expected.append(
            draw(inside) if callable(draw)
            else draw[0] + (draw[1] - draw[0]) * inside if isinstance(draw, tuple) else draw
        )  # fmt: skip
    found = filled(filling.mixture(PARTS[name]), words, kind)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_rare_part_is_not_grainy():
    """Of a part of probability 1e-4 there are thousands of places, not a few."""
    rare = di.Mixture([(1 - 1e-4, 0), (1e-4, (1, 2))], seed=0).sample((4000, 4000))
    values = rare[rare != 0]
    assert abs(len(values) - 1600) < 200
    assert len(np.unique(values)) > 0.95 * len(values)
    assert stats.kstest(values, stats.uniform(1, 1).cdf).pvalue > 1e-4


@pytest.mark.parametrize("size", [1, 7, 8, 1024, 1025, 2**17 + 1, 2**20 + 3])
@pytest.mark.parametrize("seed", [None, 3])
def test_every_entry_is_filled_whatever_the_size(size, seed):
    mx.random.seed(0)
    values = di.VarianceScaling(seed=seed).sample((size, 1))
    assert (values != 0).all()
    assert np.isfinite(values).all()


def test_operations_that_still_read_the_array_see_the_old_values():
    initializer = di.he_normal(seed=1)
    for shape in [(8, 4), (1500, 1500)]:
        array = mx.nd.ones(shape)
        sums = [(array * (k + 1)).sum() for k in range(30)]
        initializer(init.InitDesc("w_weight"), array)
        assert [float(one.asscalar()) for one in sums] == pytest.approx(
            [array.size * (k + 1) for k in range(30)]
        )


def test_the_array_keeps_its_memory_alive_and_slices_are_filled_in_place():
    array = mx.nd.zeros((6, 8, 4))
    di.he_normal(seed=1)(init.InitDesc("w_weight"), array[2])
    gc.collect()
    filled_rows = (array.asnumpy() != 0).all(axis=(1, 2))
    assert filled_rows.tolist() == [k == 2 for k in range(6)]


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2)])
def test_an_orthogonal_matrix_is_one_even_from_zeros(shape, monkeypatch):
    """Zero is a value that a normal draw can take, if rarely."""
    monkeypatch.setattr(filling, "normal", lambda mean, std: filling.mixture([(1.0, 0.0)]))
    q = filling.haar(shape, [1], "float32")
    gram = q @ q.T if shape[0] <= shape[1] else q.T @ q
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-6)


def test_sparse_rows_keep_their_number_and_differ():
    values = di.Sparse(5, seed=0).sample((3000, 700))
    assert ((values != 0).sum(axis=1) == 5).all()
    places = [tuple(np.flatnonzero(row)) for row in values[:500]]
    assert len(set(places)) == 500
    hits = (values != 0).sum(axis=0)
    assert stats.chisquare(hits).pvalue > 1e-4


@pytest.mark.parametrize("name", ["he_normal", "he_uniform", "normal", "mixture"])
def test_small_parameters_without_a_seed_follow_their_law(name):
    """They take their words from MXNet's own draw, which has 24 bits."""
    initializer = {
        "he_normal": di.he_normal(),
        "he_uniform": di.he_uniform(),
        "normal": di.VarianceScaling(distribution="normal"),
        "mixture": di.Mixture([(0.3, 0), (0.7, (1, 2))]),
    }[name]
    mx.random.seed(3)
    values = np.stack([initializer.sample((8, 4)) for _ in range(5000)])
    law = initializer.law((8, 4))
    assert follows(values, law)
    assert follows(values[:, 7, 3], law)
    assert abs(np.corrcoef(values.reshape(5000, 32).T) - np.eye(32)).max() < 4 / 5000**0.5 + 0.01
