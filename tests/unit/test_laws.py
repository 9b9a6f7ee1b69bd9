"""Laws against draws, fans against layers, gains against integrals."""

import itertools

import mxnet as mx
import numpy as np
import pytest
from mxnet import init
from mxnet.gluon import nn
from scipy import integrate, stats
from unit import draws
from unit.draws import BUILT_IN, DEPENDENT, INDEPENDENT, SHAPES, draw, follows, suited

import d2l_init as di
from d2l_init import Law, fans, gain, law


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", [*BUILT_IN, *INDEPENDENT])
def test_draws_follow_the_law(name, kind):
    initializer = suited({**BUILT_IN, **INDEPENDENT}[name], kind)
    values = draw(initializer, SHAPES[kind], seed=7)
    assert values.size >= 1e5
    assert follows(values, law(initializer, SHAPES[kind]))


@pytest.mark.parametrize("name", DEPENDENT)
@pytest.mark.parametrize(("kind", "shape"), [("Dense", (5, 4)), ("Conv2D", (5, 4, 3, 3))])
def test_one_entry_of_many_draws_follows_the_law_where_entries_depend(name, kind, shape):
    mx.random.seed(3)
    rng = np.random.default_rng(3)
    entries = [
        w.ravel()[rng.integers(w.size)]
        for w in (DEPENDENT[name].sample(shape) for _ in range(4000))
    ]
    assert follows(np.array(entries), law(DEPENDENT[name], shape))


@pytest.mark.parametrize("kind", ["channels-last Conv2D", "Conv2DTranspose", "grouped Conv2D"])
@pytest.mark.parametrize("name", ["DeltaOrthogonal", "Identity"])
def test_atoms_of_centred_kernels_are_counted_for_each_layout(name, kind):
    initializer = suited(DEPENDENT[name], kind)
    shape = {"channels-last Conv2D": (8, 3, 3, 6), "Conv2DTranspose": (6, 8, 3, 3),
             "grouped Conv2D": (8, 2, 3, 3)}[kind]  # fmt: skip
    values, predicted = initializer.sample(shape), law(initializer, shape)
    for atom, chance in predicted.atoms.items():
        assert (values == atom).mean() == pytest.approx(chance)


def test_arrays_that_are_always_the_same_have_exact_laws():
    for initializer, shape in [
        (init.Bilinear(), (2, 3, 4, 4)), (init.Bilinear(), (1, 1, 3, 3)),
        (init.LSTMBias(2.0), (32,)), (init.Constant(mx.nd.array([[1, 2, 2, 5]])), (1, 4)),
    ]:  # fmt: skip
        values, atoms = draw(initializer, shape), law(initializer, shape).atoms
        found, counts = np.unique(values, return_counts=True)
        assert list(atoms) == pytest.approx(found.tolist())
        assert list(atoms.values()) == pytest.approx((counts / counts.sum()).tolist())


def test_a_law_2_percent_too_wide_is_refused_by_the_variance_more_often_than_by_places():
    wide, caught, by_places = Law([(1, stats.norm(0, 0.0204))]), 0, 0
    right = di.VarianceScaling(0.02**2 * 400, distribution="normal")
    for seed in range(10):
        values = draw(right, (250, 400), seed=seed).ravel()
        caught += not draws.moments_fit(values, wide)
        by_places += not draws.places_fit(values, wide)
    print(f"variance {caught} of 10, Kolmogorov-Smirnov {by_places} of 10")
    assert caught == 10
    assert by_places < 10


def haar_statistics(initializer, count=1500, size=6):
    mx.random.seed(1)
    return np.array([
        [w.trace(), np.linalg.det(w), w[0, 0]]
        for w in (draw(initializer, (size, size)).astype(float) for _ in range(count))
    ])  # fmt: skip


def haar_fits(statistics):
    """E tr = 0, E tr² = 1 (Diaconis & Shahshahani 1994), both signs of det, the corner's law."""
    trace, determinant, corner = statistics.T
    count = len(trace)
    signs = stats.binomtest(int((determinant > 0).sum()), count, 0.5).pvalue > draws.P
    corners = stats.kstest(corner**2, stats.beta(0.5, 2.5).cdf).pvalue > draws.P
    side = stats.binomtest(int((corner > 0).sum()), count, 0.5).pvalue > draws.P
    traces = abs(trace.mean()) < 4 / np.sqrt(count) and abs((trace**2).mean() - 1) < 4 * np.sqrt(
        2 / count
    )
    return signs and corners and side and traces


def test_haar_orthogonal_is_haar():
    assert haar_fits(haar_statistics(di.HaarOrthogonal()))


def test_mxnets_orthogonal_is_not():
    assert not haar_fits(haar_statistics(init.Orthogonal(scale=1), 1000))


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3, 3)])
def test_haar_orthogonal_keeps_the_shorter_side_orthonormal(shape):
    w = di.HaarOrthogonal(2, seed=0).sample(shape, "float64").reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    assert np.allclose(gram, 4 * np.eye(len(gram)))


@pytest.mark.parametrize("parts", [draws.STRANGE, [(1, stats.laplace(1, 2))], [(0.2, 3), (0.8, 4)]])
def test_density_integrates_to_one_less_the_atoms_and_moments_agree(parts):
    one = di.Mixture(parts).law((2, 2))
    mass = 1 - sum(one.atoms.values())
    pieces = [(-60, -10), (-10, -5), (-5, 0), (0, 1), (1, 5), (5, 10), (10, 60)]

    def integral(f):
        return sum(integrate.quad(lambda x: f(x) * one.pdf(x), *piece)[0] for piece in pieces)

    def atoms(f):
        return sum(p * f(a) for a, p in one.atoms.items())

    assert integral(lambda x: 1) == pytest.approx(mass, abs=1e-7)
    assert integral(lambda x: x) + atoms(lambda x: x) == pytest.approx(one.mean, abs=1e-6)
    square = integral(lambda x: x * x) + atoms(lambda x: x * x)
    assert square - one.mean**2 == pytest.approx(one.std**2, rel=1e-6)
    assert one.cdf(one.support[1]) == pytest.approx(1)


def test_a_subclass_does_not_inherit_a_law():
    class Mine(init.Normal):
        pass

    class Ours(di.TruncatedNormal):
        pass

    for initializer in (Mine(), Ours(), init.Orthogonal(), "orthogonal", "nosuchname", object()):
        with pytest.raises(LookupError):
            law(initializer, (8, 4))


def test_ones_own_class_gets_a_law_by_a_method():
    class Mine(init.Initializer):
        def law(self, shape):
            return Law([(1, 0.25)])

    assert law(Mine(), (8, 4)).atoms == {0.25: 1}


def test_a_class_written_in_a_notebook_is_not_taken_for_one_of_pytorchs():
    class Mine(init.Initializer):
        __module__ = "__main__"

        def law(self, shape):
            return Law([(1, 0.25)])

    assert law(Mine(), (8, 4)).atoms == {0.25: 1}


def test_names_and_dumped_texts_work():
    assert law("xavier", (8, 4)).std == law(init.Xavier(), (8, 4)).std
    assert law(di.Sparse(2).dumps(), (8, 4)).atoms == {0.0: 0.5}


@pytest.mark.parametrize("parts", [[(0.5, 1)], [(1.5, 1), (-0.5, 2)], [(float("nan"), 0)], []])
def test_probabilities_must_sum_to_one(parts):
    with pytest.raises(ValueError, match="probabilities"):
        Law(parts)


LAYERS = [
    (nn.Dense(8, in_units=4), None, 1),
    (nn.Conv1D(8, 3, in_channels=4), "OIW", 1),
    (nn.Conv2D(8, 3, in_channels=4), "OIHW", 1),
    (nn.Conv3D(8, 3, in_channels=4), "OIDHW", 1),
    (nn.Conv2D(8, 3, in_channels=4, groups=2), "OIHW", 2),
    (nn.Conv2D(4, 3, in_channels=4, groups=4), "OIHW", 4),
    (nn.Conv1DTranspose(8, 3, in_channels=4), "IOW", 1),
    (nn.Conv2DTranspose(8, 3, in_channels=4), "IOHW", 1),
    (nn.Conv2DTranspose(8, 3, in_channels=4, groups=2), "IOHW", 2),
    (nn.Conv3DTranspose(8, 3, in_channels=4), "IODHW", 1),
]


@pytest.mark.parametrize(("layer", "layout", "groups"), LAYERS, ids=lambda x: str(x)[:40])
def test_fan_in_is_what_an_inner_output_sums(layer, layout, groups):
    """All weights and inputs one: an output that sees no border is its fan-in."""
    layer.initialize(init.One(), force_reinit=True)
    shape = layer.weight.shape
    x = mx.nd.ones((1, 4) + (9,) * (len(shape) - 2))
    middle = (0, 0) + (layer(x).shape[-1] // 2,) * (len(shape) - 2)
    measured = float(layer(x).asnumpy()[middle])
    assert fans(shape, layout=layout, groups=groups)[0] == measured


@pytest.mark.parametrize(("layer", "layout", "groups"), LAYERS, ids=lambda x: str(x)[:40])
def test_fan_out_is_what_an_inner_input_reaches(layer, layout, groups):
    layer.initialize(init.One(), force_reinit=True)
    shape = layer.weight.shape
    x = mx.nd.ones((1, 4) + (9,) * (len(shape) - 2))
    x.attach_grad()
    with mx.autograd.record():
        total = layer(x).sum()
    total.backward()
    middle = (0, 0) + (4,) * (len(shape) - 2)
    assert fans(shape, layout=layout, groups=groups)[1] == float(x.grad.asnumpy()[middle])


@pytest.mark.parametrize(
    ("layer", "layout"),
    [
        (nn.Conv2D(8, 3, in_channels=4, layout="NHWC"), "OHWI"),
        (nn.Conv3D(8, 3, in_channels=4, layout="NDHWC"), "ODHWI"),
        (nn.Conv2DTranspose(8, 3, in_channels=4, layout="NHWC"), "IHWO"),
    ],
    ids=lambda x: str(x)[:40],
)
def test_channels_last_weights_are_stored_as_their_layout_says(layer, layout):
    sizes = dict(zip(layout, layer.weight.shape, strict=True))
    assert (sizes["O"], sizes["I"], sizes["W"]) == (8, 4, 3)
    taps = 3 ** (len(layout) - 2)
    assert fans(layer.weight.shape, layout=layout) == (4 * taps, 8 * taps)


def test_for_plain_layers_our_variance_is_mxnets():
    for shape in [(8, 4), (16, 8, 3, 3), (16, 8, 5)]:
        assert law(di.glorot_uniform(), shape).std == pytest.approx(law(init.Xavier(), shape).std)


@pytest.mark.parametrize(
    ("function", "kinks"),
    [
        (lambda z: np.maximum(z, 0), [0]),
        (lambda z: np.where(z > 0, z, 0.2 * z), [0]),
        (np.tanh, []),
        (lambda z: 1 / (1 + np.exp(-z)), []),
        (lambda z: np.tanh(50 * z), [-0.1, 0, 0.1]),
        (np.sign, [0]),
        (lambda z: np.clip(z, -1, 2), [-1, 2]),
    ],
)
def test_the_computed_gain_is_the_integral(function, kinks):
    edges = [-12, *kinks, 12]
    square = sum(
        integrate.quad(lambda z: function(np.array(z)) ** 2 * stats.norm.pdf(z), a, b, limit=200)[0]
        for a, b in itertools.pairwise(edges)
    )
    assert gain(function) == pytest.approx(1 / np.sqrt(square), rel=1e-5)


def test_named_gains_are_the_table_in_use():
    assert [gain(name) for name in ("linear", "sigmoid", "tanh", "relu", "selu")] == pytest.approx(
        [1, 1, 5 / 3, 2**0.5, 0.75]
    )
    assert gain("leaky_relu", 0.2) == pytest.approx((2 / 1.04) ** 0.5)


def test_selu_needs_gain_one():
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    computed = gain(lambda z: scale * np.where(z > 0, z, alpha * np.expm1(z)))
    assert computed == pytest.approx(1, abs=1e-6)
