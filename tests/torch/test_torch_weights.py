"""Laws of PyTorch's own draws, held to draws; and the figures."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from nets import mlp
from scipy import stats
from torch import nn

import d2l_init
from d2l_init import caption, law, plot_weights, torch_weights
from d2l_init.laws import Law

init = nn.init
RULES = [
    "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "uniform_",
    "normal_", "trunc_normal_", "ones_", "zeros_", "orthogonal_",
    partial(init.xavier_uniform_, gain=5 / 3), partial(init.normal_, mean=1.0, std=0.1),
    partial(init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
    partial(init.kaiming_uniform_, a=5**0.5), partial(init.kaiming_normal_, nonlinearity="tanh"),
    partial(init.trunc_normal_, std=0.02), partial(init.trunc_normal_, std=1.0, a=-0.5, b=0.1),
    partial(init.constant_, val=0.3), partial(init.orthogonal_, gain=2.0),
    partial(init.sparse_, sparsity=0.9), partial(init.sparse_, sparsity=0.31, std=2.0),
    init.eye_, init.dirac_, partial(init.dirac_, groups=3),
]  # fmt: skip


def fits(values, one):
    """Atoms by their share, the rest by Kolmogorov's and Smirnov's test."""
    atoms = np.isin(values, np.float32([*one.atoms]))
    for atom, share in one.atoms.items():
        assert np.mean(values == np.float32(atom)) == pytest.approx(share, abs=2e-3)
    rest, chance = values[~atoms], 1 - sum(one.atoms.values())
    if chance < 1e-9:
        return rest.size == 0
    dense = [part for _, part in one.parts if hasattr(part, "cdf")]
    return stats.kstest(rest[:20_000], dense[0].cdf).pvalue > 1e-4


@pytest.mark.parametrize("rule", RULES, ids=lambda one: repr(torch_weights.rule(one)))
def test_each_function_draws_by_its_law(rule):
    torch.manual_seed(0)
    name = rule if isinstance(rule, str) else getattr(rule, "func", rule).__name__
    flat = name in ("eye_", "sparse_")
    shape = (300, 100) if flat else (120, 6, 3, 3) if name == "dirac_" else (200, 30, 3, 3)
    tensor = torch.empty(shape)
    (getattr(init, rule) if isinstance(rule, str) else rule)(tensor)
    assert fits(tensor.numpy().ravel(), law(rule, shape))


MODULES = [
    lambda: nn.Linear(30, 20), lambda: nn.Bilinear(5, 6, 7), lambda: nn.Conv1d(4, 6, 3),
    lambda: nn.Conv2d(4, 6, 3, groups=2), lambda: nn.Conv2d(8, 8, 3, groups=8),
    lambda: nn.Conv3d(2, 3, 3), lambda: nn.ConvTranspose2d(4, 10, 3),
    lambda: nn.ConvTranspose1d(6, 4, 5, groups=2), lambda: nn.Embedding(30, 10),
    lambda: nn.Embedding(30, 10, padding_idx=3), lambda: nn.EmbeddingBag(30, 10),
    lambda: nn.RNN(5, 7, 2), lambda: nn.LSTM(5, 7), lambda: nn.GRU(5, 7), lambda: nn.LSTMCell(5, 7),
    lambda: nn.MultiheadAttention(8, 2), lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=5),
    lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True), lambda: nn.PReLU(4),
    lambda: nn.BatchNorm2d(5), lambda: nn.LayerNorm(5), lambda: nn.GroupNorm(2, 4),
    lambda: nn.RMSNorm(5), lambda: nn.InstanceNorm2d(3, affine=True),
    lambda: nn.Transformer(8, 2, 1, 1, 16), lambda: nn.TransformerEncoderLayer(8, 2, 16),
]  # fmt: skip


@pytest.mark.parametrize("made", MODULES, ids=lambda made: repr(made()).split("(")[0])
def test_what_modules_draw_by_themselves(made):
    warnings.simplefilter("ignore", UserWarning)  # of a transformer without batch_first
    torch.manual_seed(0)
    drawn = [made() for _ in range(60)]
    samples, _ = torch_weights.samples(drawn[0], None, None)
    assert len(samples) == len(list(drawn[0].parameters()))
    for one in samples:
        values = [net.get_parameter(one.name).detach().numpy().ravel() for net in drawn]
        assert one.law is not None, one.name
        assert fits(np.concatenate(values), one.law), one.name


def test_kaimings_fan_out_of_a_depthwise_convolution_is_its_channels():
    depthwise = nn.Conv2d(32, 32, 3, groups=32)
    rule = partial(init.kaiming_normal_, mode="fan_out", nonlinearity="relu")
    assert law(rule, depthwise.weight.shape).std == pytest.approx((2 / (32 * 9)) ** 0.5)
    assert d2l_init.fans(depthwise.weight.shape, groups=32) == (9, 9)


def test_the_figure_has_the_modules_own_laws():
    torch.manual_seed(0)
    words = caption(plot_weights(mlp(1)))
    assert "std" in words
    assert "Linear's own" in words
    assert "does not fit" not in words


def test_the_figure_has_the_law_of_a_rule():
    torch.manual_seed(0)
    net = mlp(1)
    rule = partial(init.kaiming_normal_, nonlinearity="relu")
    net.apply(lambda one: rule(one.weight) if isinstance(one, nn.Linear) else None)
    words = caption(plot_weights(net, rule, which=".*weight"))
    assert "Law: kaiming_normal_(nonlinearity='relu')." in words
    assert "does not fit" not in words
    assert "does not fit" in caption(plot_weights(net, "xavier_uniform_", which="0.weight"))


def test_a_law_and_a_mapping_are_rules_too():
    torch.manual_seed(0)
    net = mlp(1)
    init.normal_(net[0].weight, std=3.0)
    words = caption(plot_weights(net, {"0.weight": Law([(1, stats.norm(0, 3))])}))
    assert "the one given of 0.weight" in words
    assert "does not fit" not in words


def test_deep_nets_have_a_row_for_each_parameter():
    torch.manual_seed(0)
    assert "of 18 parameters" in caption(plot_weights(mlp(8)))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: plot_weights(nn.ReLU()), "net must have parameters to plot, got ReLU with none"),
    (lambda: plot_weights(mlp(), which="nothing"), "which='nothing'"),
    (lambda: plot_weights(mlp(), "kaiming_norml_"), "did you mean 'kaiming_normal_'"),
    (lambda: plot_weights(mlp(), {"conv": "ones_"}), "patterns that match a parameter.*conv"),
    (lambda: law(partial(init.normal_, sigma=1), (3, 3)), "normal_'s arguments by name"),
    (lambda: law(init.xavier_uniform_, (3,)), "at least 2 axes"),
])  # fmt: skip
def test_bad_rules_get_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
