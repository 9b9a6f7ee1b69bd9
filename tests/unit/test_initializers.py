"""Each initializer, used in every way that MXNet offers."""

import copy
import json
import pickle

import mxnet as mx
import numpy as np
import pytest
import scipy
from mxnet import init
from mxnet.gluon import nn, rnn
from scipy import stats
from unit.draws import OURS, STRANGE, draw

import d2l_init as di

SEEDED = {
    "VarianceScaling": di.VarianceScaling(2, "fan_avg", "uniform", seed=1),
    "TruncatedNormal": di.TruncatedNormal(0.1, seed=1),
    "HaarOrthogonal": di.HaarOrthogonal(seed=1),
    "DeltaOrthogonal": di.DeltaOrthogonal(seed=1),
    "Identity": di.Identity(3, seed=1),
    "Sparse": di.Sparse(2, seed=1),
    "Mixture": di.Mixture([*STRANGE[:2], (1 / 4, stats.t(5, scale=2))], seed=1),
}
LAYERS = {
    "Dense": lambda **o: nn.Dense(8, in_units=4, **o),
    "Conv1D": lambda **o: nn.Conv1D(8, 3, in_channels=4, **o),
    "Conv2D": lambda **o: nn.Conv2D(8, 3, in_channels=4, **o),
    "Conv3D": lambda **o: nn.Conv3D(8, 3, in_channels=4, **o),
    "Conv2DTranspose": lambda **o: nn.Conv2DTranspose(8, 3, in_channels=8, **o),
    "channels-last": lambda **o: nn.Conv2D(3, 3, in_channels=3, layout="NHWC", **o),
    "Embedding": lambda **o: nn.Embedding(8, 4, **o),
}
every = pytest.mark.parametrize("name", SEEDED)


@pytest.mark.parametrize("initializer", [*OURS.values(), *SEEDED.values()], ids=str)
def test_it_comes_back_from_its_text_its_repr_a_copy_and_a_pickle(initializer):
    texts = json.loads(initializer.dumps())
    assert texts[0] == type(initializer).__name__.lower()
    back = [
        init.create(initializer.dumps()),
        eval(repr(initializer), {**vars(di.initializers), "scipy": scipy}),
        copy.copy(initializer),
        copy.deepcopy(initializer),
        pickle.loads(pickle.dumps(initializer)),
    ]
    assert back == [initializer] * 5
    assert len({initializer, *back}) == 1


def test_different_arguments_are_different_initializers():
    assert len({*OURS.values(), *SEEDED.values()}) == len(OURS) + len(SEEDED)
    assert di.Sparse(2) != di.Sparse(3)
    assert di.TruncatedNormal(1) == di.TruncatedNormal(1.0)
    assert di.he_normal() != init.Normal()


@every
@pytest.mark.parametrize("layer", LAYERS)
def test_it_fills_every_kind_of_layer(name, layer):
    block = LAYERS[layer](weight_initializer=SEEDED[name])
    block.initialize()
    weight = block.weight.data().asnumpy()
    assert weight.dtype == np.float32
    assert np.isfinite(weight).all()
    assert np.abs(weight).max() > 0


@pytest.mark.parametrize("name", ["VarianceScaling", "HaarOrthogonal", "Sparse", "Mixture"])
def test_it_fills_the_stacked_gates_of_an_lstm(name):
    cell = rnn.LSTMCell(6, input_size=5, h2h_weight_initializer=SEEDED[name])
    cell.initialize()
    assert cell.h2h_weight.shape == (24, 6)
    assert np.abs(cell.h2h_weight.data().asnumpy()).max() > 0


@every
def test_by_object_by_name_by_text_and_hybridized_it_is_the_same(name):
    shape = (8, 4)
    expected = SEEDED[name].sample(shape)

    def weight(**options):
        block = nn.Dense(8, in_units=4, prefix="", **options)
        return block

    by_object = weight()
    by_object.initialize(SEEDED[name])
    in_constructor = weight(weight_initializer=SEEDED[name])
    in_constructor.initialize()
    in_constructor.hybridize()
    in_constructor(mx.nd.ones((2, 4)))
    by_text = weight()
    by_text.initialize(SEEDED[name].dumps())
    deferred = nn.Dense(8, prefix="")
    deferred.initialize(SEEDED[name])
    deferred(mx.nd.ones((2, 4)))
    again = weight()
    again.initialize(init.One())
    again.initialize(SEEDED[name], force_reinit=True)
    for block in (by_object, in_constructor, by_text, deferred, again):
        assert np.array_equal(block.weight.data().asnumpy(), expected)


@pytest.mark.parametrize("name", [n for n in SEEDED if n != "Mixture"])
def test_its_registered_name_is_its_class_name_in_lower_case(name):
    layer = nn.Dense(8, in_units=4)
    layer.initialize(name.lower())
    assert isinstance(init.create(name.lower()), type(SEEDED[name]))
    assert np.abs(layer.weight.data().asnumpy()).max() > 0


def test_mxnets_names_still_mean_mxnets_own():
    registry = mx.registry.get_registry(init.Initializer)
    own = {n: k for n, k in registry.items() if k.__module__ == "mxnet.initializer"}
    assert set(own) >= {"zeros", "ones", "constant", "uniform", "normal", "orthogonal", "xavier",
                        "msraprelu", "bilinear", "lstmbias", "fusedrnn"}  # fmt: skip
    ours = {n for n, k in registry.items() if k.__module__ == "d2l_init.initializers"}
    assert ours == {name.lower() for name in SEEDED}


@every
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_it_honours_the_dtype_and_float16_is_float32_rounded(name, dtype):
    drawn = draw(SEEDED[name], (8, 4), dtype=dtype)
    assert drawn.dtype == dtype
    assert np.array_equal(drawn, SEEDED[name].sample((8, 4), dtype))
    single = SEEDED[name].sample((8, 4), "float32")
    if dtype == "float16":
        assert np.array_equal(drawn, single.astype("float16"))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_a_cast_net_can_be_initialized(dtype):
    net = nn.Sequential()
    net.add(nn.Dense(8, in_units=4), nn.Conv2D(4, 3, in_channels=2))
    net.cast(dtype)
    net.initialize(di.he_normal())
    assert {p.data().dtype for p in net.collect_params().values()} == {np.dtype(dtype).type}


def test_values_beyond_float16_become_infinite_not_clamped():
    assert np.isinf(di.Mixture([(1, 1e6)]).sample(3, "float16")).all()


def test_identity_hands_its_input_on():
    x = mx.nd.random.normal(shape=(2, 4, 9))
    layer = nn.Conv1D(4, 3, padding=1, in_channels=4, weight_initializer=di.Identity())
    layer.initialize()
    assert np.array_equal(layer(x).asnumpy(), x.asnumpy())
    grouped = nn.Conv2D(4, 3, padding=1, groups=2, in_channels=4,
                        weight_initializer=di.Identity(groups=2))  # fmt: skip
    grouped.initialize()
    image = mx.nd.random.normal(shape=(2, 4, 5, 5))
    assert np.array_equal(grouped(image).asnumpy(), image.asnumpy())
    own = di.Identity(layout="IOHW", groups=2)
    transposed = nn.Conv2DTranspose(
        4, 3, padding=1, groups=2, in_channels=4, weight_initializer=own
    )
    transposed.initialize()
    assert np.array_equal(transposed(image).asnumpy(), image.asnumpy())


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("initializer", [di.Identity, di.DeltaOrthogonal])
def test_only_the_centre_of_a_kernel_is_filled(initializer, size):
    weight = initializer(2).sample((4, 4, size, size, 1))
    centre = weight[:, :, size // 2, size // 2, 0]
    assert np.allclose(centre @ centre.T, 4 * np.eye(4), atol=1e-5)
    weight[:, :, size // 2, size // 2, 0] = 0
    assert not weight.any()


@pytest.mark.parametrize(("nonzero", "inputs"), [(1, 6), (5, 6), (6, 6), (7, 6), (1, 1)])
def test_sparse_at_its_edges(nonzero, inputs):
    """One input, all but one, all, and more than there are."""
    weight = di.Sparse(nonzero, seed=1).sample((500, inputs))
    chosen = min(nonzero, inputs)
    assert ((weight != 0).sum(axis=1) == chosen).all()
    share = (weight != 0).mean(axis=0)
    expected = chosen / inputs
    assert abs(share - expected).max() < 4.5 * (expected * (1 - expected) / 500) ** 0.5 + 1e-12
    assert di.Sparse(nonzero).law((500, inputs)).atoms.get(0.0, 0) == pytest.approx(1 - expected)
    assert abs(weight[weight != 0].std() - 1) < 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mixture_at_its_edges(dtype):
    """Neighbouring parts share an end, and no entry lies beyond one."""
    steps = di.Mixture([(0.25, (0, 1)), (0.5, (1, 2)), (0.25, (2, 3))], seed=4)
    values = np.sort(steps.sample((400, 500), dtype).ravel())
    assert 0 <= values[0] < 1e-3
    assert 3 - 1e-3 < values[-1] <= 3
    for end, chance in ((1, 0.25), (2, 0.75)):
        assert abs((values < end).mean() - chance) < 4.5 * (chance * (1 - chance) / 2e5) ** 0.5
        assert abs(values - end).min() < 1e-4
    rare = di.Mixture([(1e-3, -1.0), (1 - 1e-3, 1.0)], seed=2).sample((400, 500), dtype)
    assert abs((rare == -1).mean() - 1e-3) < 4.5 * (1e-3 / 2e5) ** 0.5
    assert set(np.unique(rare)) == {-1, 1}


def test_delta_orthogonal_keeps_the_norm_of_every_image():
    image = mx.nd.random.normal(shape=(2, 4, 5, 5))
    layer = nn.Conv2D(8, 3, padding=1, in_channels=4, weight_initializer=di.DeltaOrthogonal())
    layer.initialize()
    before, after = (
        np.linalg.norm(a.asnumpy().reshape(2, -1), axis=1) for a in (image, layer(image))
    )
    assert np.allclose(after, before, rtol=1e-5)


def test_channels_last_weights_are_the_channels_first_ones_moved():
    first = di.DeltaOrthogonal(seed=2).sample((8, 4, 3, 3), "float64")
    last = di.DeltaOrthogonal(seed=2, layout="OHWI").sample((8, 3, 3, 4), "float64")
    assert np.allclose((first**2).sum(), (last**2).sum())
    assert np.allclose(last[:, 1, 1, :].T @ last[:, 1, 1, :], np.eye(4))
    assert np.count_nonzero(last) == np.count_nonzero(last[:, 1, 1, :])


def test_sparse_gives_each_unit_its_inputs_and_takes_all_where_there_are_fewer():
    w = di.Sparse(3).sample((50, 40))
    assert ((w != 0).sum(axis=1) == 3).all()
    assert (di.Sparse(15).sample((5, 4)) != 0).all()


def test_biases_and_batch_norm_keep_mxnets_start():
    net = nn.Sequential()
    net.add(nn.Dense(4, in_units=3), nn.BatchNorm(in_channels=4))
    net.initialize(di.TruncatedNormal(1))
    values = {n.split("_")[-1]: p.data().asnumpy() for n, p in net.collect_params().items()}
    assert values["bias"].any() == values["beta"].any() == False  # noqa: E712
    assert (values["gamma"] == 1).all()


@pytest.mark.parametrize("np_mode", [False, True])
def test_it_works_with_and_without_numpy_semantics(np_mode):
    with mx.util.np_shape(np_mode), mx.util.np_array(np_mode):
        layer = nn.Dense(8, in_units=4, prefix="")
        layer.initialize(di.he_normal(seed=1))
        assert np.array_equal(layer.weight.data().asnumpy(), di.he_normal(seed=1).sample((8, 4)))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize(
    ("name", "variance"), [("glorot", 2 / (64 + 256)), ("he", 2 / 64), ("lecun", 1 / 64)]
)
def test_rules_have_the_variance_of_their_papers(name, variance, kind):
    law = getattr(di, f"{name}_{kind}")().law((256, 64))
    assert law.std**2 == pytest.approx(variance)
    cut = {"uniform": 3**0.5, "normal": 2 / 0.87962566103423978}[kind]  # ends in deviations
    assert law.support[1] == pytest.approx(cut * law.std)


def test_defaults_are_those_of_keras_pytorch_and_the_papers():
    assert di.TruncatedNormal() == di.TruncatedNormal(0.02, 0.0, 2.0)
    assert di.VarianceScaling() == di.VarianceScaling(1.0, "fan_in", "truncated_normal")
    assert di.Sparse() == di.Sparse(15, 1.0)
    for kind in (di.HaarOrthogonal, di.DeltaOrthogonal, di.Identity):
        assert kind() == kind(1.0)
