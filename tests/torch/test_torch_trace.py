"""The record of a PyTorch net: the numbers, what is refused, and what is left of the net."""

from functools import partial

import numpy as np
import pytest
import torch
from nets import Block, batch, gradients, mlp, same, state
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

import d2l_init
from d2l_init import trace
from d2l_init.lab import signals, torch_trace

LOSS = nn.CrossEntropyLoss()


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def frame(net, X, y=None, loss=None, **options):
    return trace(net, X, y, loss, **options).to_frame()


def test_numbers_are_those_of_plain_pytorch():
    net, (X, y) = mlp(), batch()
    kept, out = [], X
    for one in net:
        out = one(out)
        out.retain_grad()
        kept.append(out)
    LOSS(out, y).backward()
    found = frame(net, X, y, LOSS)
    assert list(found.index) == ["0", "1", "2", "3", "4", "5", "6"]
    np.testing.assert_allclose(
        found["std"], [float(one.detach().std(correction=0)) for one in kept], 1e-5
    )
    np.testing.assert_allclose(
        found["grad_std"], [float(k.grad.std(correction=0)) for k in kept], 1e-5
    )
    weight = net[2].weight
    assert found.loc["2", "weight_std"] == pytest.approx(
        float(weight.detach().std(correction=0)), 1e-5
    )
    assert found.loc["2", "weight_grad_std"] == pytest.approx(
        float(weight.grad.std(correction=0)), 1e-5
    )


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_statistics_where_the_tensor_lies_are_numpys(kind, size):
    values = (torch.randn(7, 5, 11, dtype=torch.float64) * size).to(kind)
    values[values.abs() < size / 2] = 0
    values[:, 2] = 0
    mine = torch_trace.statistics(values, 1, "tanh")
    theirs = signals.statistics(values.double().numpy(), 1, "tanh")
    assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6 * float(values.double().abs().max()),
                                 nan_ok=True)  # fmt: skip


def test_a_spread_that_is_small_beside_the_mean_is_right():
    values = 1000 + torch.randn(100_000) * 0.01
    exact = float(values.double().std(correction=0))
    assert torch_trace.spread(values)[1] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("net", [
    mlp(), mlp(act=partial(nn.ReLU, inplace=True)), mlp(act=partial(nn.Dropout, 0.5)),
    nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)),
], ids=["plain", "in place", "dropout", "batch norm"])  # fmt: skip
@pytest.mark.parametrize("training", [False, True])
def test_the_net_is_left_as_it_was(net, training):
    X, y = batch()
    LOSS(net(X), y).backward()  # gradients of the reader's own
    net[0].weight.requires_grad_(False)
    net[0].eval()
    before, given = state(net), X.clone()
    trace(net, X, y, LOSS, training=training, bins=5)
    assert same(state(net), before)
    assert torch.equal(X, given)
    assert not X.requires_grad


class Fails(nn.Module):
    def forward(self, x):
        raise RuntimeError("no")


@pytest.mark.parametrize("place", ["net", "loss", "backward"])
def test_the_net_is_left_as_it_was_when_the_pass_fails(place):
    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x.clone()

        @staticmethod
        def backward(context, gradient):
            raise RuntimeError("no")

    net = mlp()
    if place == "net":
        net.append(Fails())
    X, y = batch()
    before = state(net)

    def loss(out, y):
        if place == "loss":
            raise RuntimeError("no")
        return LOSS(Backward.apply(out), y)

    with pytest.raises(RuntimeError, match="no"):
        trace(net, X, y, loss)
    assert same(state(net), before)


def test_hooks_of_the_readers_own_stay_and_are_called():
    net, (X, y) = mlp(), batch()
    seen = []
    net[0].register_forward_hook(lambda *_: seen.append(0))
    trace(net, X, y, LOSS)
    assert seen == [0]
    assert len(net[0]._forward_hooks) == 1


def test_in_place_activations_change_nothing():
    X, y = batch()
    plain, in_place = mlp(), mlp(act=partial(nn.ReLU, inplace=True))
    in_place.load_state_dict(plain.state_dict())
    first, second = (frame(one, X, y, LOSS) for one in (plain, in_place))
    assert first.equals(second)


def test_an_in_place_activation_as_first_module_leaves_the_batch():
    X, y = batch()
    net = nn.Sequential(nn.Identity(), nn.Linear(16, 3))
    given = X.clone()
    assert frame(net, X, y, LOSS)["grad_std"].iloc[0] > 0
    assert torch.equal(X, given)


def test_a_module_called_twice_has_two_rows_and_the_gradient_of_both():
    layer = nn.Linear(16, 16)
    net = nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(16, 3))
    X, y = batch()
    found = frame(net, X, y, LOSS)
    assert list(found.index) == ["0", "1", "0", "3"]
    exact = gradients(net, X, y, LOSS)["0.weight"]
    assert found["weight_grad_std"].iloc[0] == pytest.approx(float(exact.std(correction=0)), 1e-5)


def test_tied_weights_have_the_gradient_of_both_uses():
    net = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20, bias=False))
    net[1].weight = net[0].weight
    X = torch.randint(0, 20, (16,))
    found = frame(net, X, X, LOSS)
    exact = float(gradients(net, X, X, LOSS)["0.weight"].std(correction=0))
    assert found["weight_grad_std"].to_list() == pytest.approx([exact, exact], rel=1e-5)
    assert net[1].weight is net[0].weight


def test_of_tuples_and_dicts_the_first_tensor_counts():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LSTM(16, 8, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            out, _ = self.layer(x[:, None])
            return {"logits": self.head(out[:, 0]), "hidden": out}

    X, y = batch()
    found = frame(Two(), X, y, lambda out, y: LOSS(out["logits"], y))
    assert found["shape"].to_list() == [(32, 1, 8), (32, 3)]
    assert (found["grad_std"] > 0).all()


def test_of_functional_activations_there_is_nothing_to_see():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 3)

        def forward(self, x):
            return self.two(self.one(x).relu())

    X, y = batch()
    found = frame(Functional(), X, y, LOSS)
    assert list(found.index) == ["one", "two"]
    assert found.loc["one", "zero"] == 0


def test_outputs_have_gradients_where_the_weights_are_frozen():
    net, (X, y) = mlp(), batch()
    whole = frame(net, X, y, LOSS)
    net[:4].requires_grad_(False)
    found = frame(net, X, y, LOSS)
    assert found["grad_std"].to_list() == pytest.approx(whole["grad_std"].to_list())
    assert found["weight_grad_std"].isna().to_list() == [True] * 4 + [False, True, False]
    net.requires_grad_(False)
    assert frame(net, X, y, LOSS)["grad_std"].to_list() == found["grad_std"].to_list()


def test_lazy_modules_get_their_shapes():
    net = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(3))
    X, y = batch()
    assert frame(net, X, y, LOSS)["weights"].to_list() == [128, 0, 24]
    assert net.training
    assert torch.equal(net[1].running_mean, torch.zeros(8))


def test_what_is_compiled_is_seen_module_by_module():
    net, (X, y) = mlp(), batch()
    whole = frame(net, X, y, LOSS)
    assert frame(torch.compile(net), X, y, LOSS).equals(whole)
    net[0] = torch.compile(net[0])
    assert frame(net, X, y, LOSS).equals(whole)


def test_a_scripted_net_is_refused():
    X, y = batch()
    with pytest.raises(ValueError, match="net must be as written"):
        trace(torch.jit.script(mlp()), X, y, LOSS)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(kind):
    net, (X, y) = mlp(), batch()
    whole, cast = frame(net, X, y, LOSS), frame(net.to(kind), X.to(kind), y, LOSS)
    columns = ["mean_square", "grad_mean_square", "weight_std"]
    np.testing.assert_allclose(cast[columns], whole[columns], rtol=0.05)


def test_of_a_parametrized_layer_the_weight_counts_that_it_uses():
    plain, normed = mlp(1), mlp(1)
    normed.load_state_dict(plain.state_dict())
    weight_norm(normed[0])
    X, y = batch()
    before = state(normed)
    first, second = (frame(one, X, y, LOSS) for one in (plain, normed))
    assert list(second.index) == ["0", "1", "2"]
    columns = ["std", "weights", "weight_std", "weight_grad_std", "grad_std"]
    np.testing.assert_allclose(second[columns].astype(float), first[columns].astype(float), 1e-5)
    assert same(state(normed), before)


def test_a_spectral_norm_is_left_as_it_was():
    net, (X, y) = mlp(1), batch()
    spectral_norm(net[0])
    before = state(net)
    trace(net, X, y, LOSS, training=True)
    d2l_init.diagnose(net, X, y, LOSS)
    assert same(state(net), before)


class Checkpointed(nn.Module):
    def __init__(self, inside, reentrant):
        super().__init__()
        self.inside, self.reentrant, self.head = inside, reentrant, nn.Linear(3, 3)

    def forward(self, x):
        return self.head(checkpoint(self.inside, x, use_reentrant=self.reentrant))


def test_a_checkpoint_gives_what_the_net_without_it_gives():
    net, (X, y) = Checkpointed(mlp(), False), batch()
    found = frame(net, X, y, LOSS)
    plain = frame(nn.Sequential(net.inside, net.head), X, y, LOSS)
    assert found["grad_std"].to_list() == plain["grad_std"].to_list()
    assert len(found) == 8


def test_a_reentrant_checkpoint_is_refused():
    net, (X, y) = Checkpointed(mlp(), True), batch()
    before = state(net)
    with pytest.raises(ValueError, match="checkpoint with use_reentrant=False"):
        trace(net, X.requires_grad_(), y, LOSS)
    assert same(state(net), before)


def test_an_attention_is_one_row_with_all_its_weights():
    net = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    found = frame(net, torch.randn(4, 5, 16), torch.randn(4, 5, 16), nn.MSELoss())
    assert found.loc["self_attn", "weights"] == 4 * 16 * 16
    assert not trace(net, torch.randn(4, 5, 16)).never_called
    assert "linear1" in found.index


def test_units_lie_along_channels_also_where_they_come_last():
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with torch.no_grad():
        conv[0].bias[0] = -100.0
    assert frame(conv, torch.randn(2, 3, 8, 8))["dead"].iloc[1] == 0.25
    last = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with torch.no_grad():
        last[0].bias[0] = -100.0
    assert frame(last, torch.randn(2, 8, 8, 3))["dead"].iloc[1] == 0.25


def test_containers_are_rows_when_asked_for():
    net = nn.Sequential(Block(nn.Linear(16, 16)), nn.Linear(16, 3))
    X, _ = batch()
    assert list(frame(net, X, containers=True).index) == ["0.inside.0", "0.inside", "0", "1", "net"]


def test_histograms_count_every_entry():
    net, (X, y) = mlp(), batch()
    found = trace(net, X, y, LOSS, bins=8)
    for row, kept in zip(found.rows, found.histograms, strict=True):
        assert kept.outputs[0].sum() == kept.gradients[0].sum() == np.prod(row["shape"])


def test_activations_have_the_names_that_the_theory_knows():
    acts = [nn.ReLU(), nn.LeakyReLU(), nn.Tanh(), nn.Sigmoid(), nn.SiLU(), nn.GELU(), nn.Softplus(),
            nn.Softmax(-1), nn.Dropout()]  # fmt: skip
    net = nn.Sequential(nn.Linear(16, 16), *acts)
    names = frame(net, batch()[0])["activation"].to_list()
    assert names == ["", "relu", "leaky_relu", "tanh", "sigmoid", "swish", "gelu", "softrelu",
                     "", ""]  # fmt: skip


def test_an_activation_of_ones_own_is_recognized():
    class Mine(nn.Module):
        def forward(self, x):
            return x.clamp(min=0)

    net = nn.Sequential(nn.Linear(16, 16), Mine())
    assert frame(net, batch()[0])["activation"].iloc[1] == "relu"


@pytest.mark.parametrize(("call", "message"), [
    (lambda: trace(nn.ReLU(), torch.ones(2)), "net must have parameters, got none in ReLU"),
    (lambda: trace(nn.Linear(2, 2, device="meta"), torch.ones(1, 2)), "got parameters on 'meta'"),
    (lambda: trace(mlp(), [1, 2]), "X must be a tensor or a tuple of them, got list"),
    (lambda: trace(mlp(), batch()[0], batch()[1]), "y and loss must be given together"),
    (lambda: trace(mlp(), *batch(), "loss"), "loss must be callable"),
    (lambda: trace(mlp(), *batch(), lambda out, y: out), r"loss must return one number or one"),
    (lambda: trace(mlp(), *batch(), lambda out, y: LOSS(out.detach(), y)), "through autograd"),
    (lambda: trace(mlp(), batch()[0], bins=0), "bins must be a whole number of at least 1"),
])  # fmt: skip
def test_bad_input_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["he_normal", "lsuv", "train", "explore", "jacobian"])
def test_what_needs_mxnet_says_which_extra_brings_it(name):
    with pytest.raises(ImportError, match=rf"d2l_init.{name} needs MXNet, which the extra d2l-i"):
        getattr(d2l_init, name)


def test_the_gallery_is_mxnets():
    with pytest.raises(ImportError, match="gallery needs MXNet"):
        d2l_init.gallery(["ones"], (2, 2))


def test_a_net_of_another_kind_gets_a_sentence():
    with pytest.raises(ImportError, match=r"A net of type list, which is no torch.nn.Module, need"):
        trace([], torch.ones(1))
