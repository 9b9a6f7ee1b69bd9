"""Faults planted in PyTorch nets are named first and cured by pasting; healthy nets have none."""

import re

import pytest
import torch
from nets import Block, same, state
from torch import nn

import d2l_init
from d2l_init import diagnose

LOSS = nn.CrossEntropyLoss()
init = nn.init


def redraw(net, draw):
    for p in net.parameters():
        draw(p) if p.ndim > 1 else p.data.zero_()
    return net


def he(p):
    return init.kaiming_normal_(p, nonlinearity="relu")


def lecun(p):
    return init.kaiming_normal_(p, nonlinearity="linear")


def data(*shape, classes=10):
    return torch.randn(*shape), torch.randint(0, classes, (shape[0],))


def mlp(act=nn.ReLU, depth=8, draw=None):
    layers = [one for _ in range(depth - 1) for one in (nn.Linear(64, 64), act())]
    net = nn.Sequential(*layers, nn.Linear(64, 10))
    return redraw(net, draw or (he if act is nn.ReLU else lecun)), *data(64, 64)


def cnn(norm=False, draw=he):
    layers, before = [], 3
    for _ in range(5):
        layers += [nn.Conv2d(before, 16, 3, padding=1), *[nn.BatchNorm2d(16)] * norm]
        layers.append(nn.ReLU(inplace=True))
        before = 16
    net = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10))
    for one in net.modules():
        if isinstance(one, nn.Conv2d | nn.Linear):
            redraw(one, draw)
    return net, *data(64, 3, 8, 8)


def residual(scale, depth=16):
    blocks = [Block(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)) for _ in range(depth)]
    net = redraw(nn.Sequential(nn.Linear(64, 64), *blocks, nn.Linear(64, 10)), lecun)
    for block in blocks:
        block.inside[2].weight.data *= 2**0.5 * scale
    return net, *data(64, 64)


class Last(nn.Module):
    def __init__(self, encoder, head):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, x):
        out = self.encoder(x)
        return self.head((out[0] if isinstance(out, tuple) else out)[:, -1])


def lstm(layers=2):
    net = Last(nn.LSTM(16, 32, layers, batch_first=True), nn.Linear(32, 4))
    return net, *data(24, 6, 16, classes=4)


def transformer():
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    encoder = nn.Sequential(nn.Embedding(50, 32), nn.TransformerEncoder(layer, 2))
    return Last(encoder, nn.Linear(32, 4)), torch.randint(0, 50, (24, 6)), torch.arange(24) % 4


def changed(case, name, change):
    p = case[0].get_parameter(name)
    p.data = change(p.data)
    return case


def given(case, X=None, y=None):
    net, old, classes = case
    return net, old if X is None else X(old), classes if y is None else y(classes)


class Spare(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
        self.spare = nn.Sequential(nn.Linear(8, 8))

    def forward(self, x):
        return self.net(x)


def spare(case):
    return Spare(case[0]), *case[1:]


class Cut(nn.Module):
    def forward(self, x):
        return x.detach()


def cut():
    net, *rest = mlp(depth=6)
    net.insert(4, Cut())
    return net, *rest


def one_answer(case):
    changed(case, "0.bias", lambda b: torch.randn_like(b) * 2)
    return changed(case, "0.weight", lambda w: w * 0.01)


def rare(case):
    changed(case, "14.weight", lambda w: w * 0.01)
    return given(case, y=lambda y: (torch.arange(len(y)) % 16 == 0).long())


def nan(w):
    return torch.full_like(w, float("nan"))


FAULTS = {  # fault, module, lr, how to plant it
    "a NaN": ("nonfinite", "4", None, lambda: changed(mlp(), "4.weight", nan)),
    "a NaN, CNN": ("nonfinite", "6", None, lambda: changed(cnn(), "6.weight", nan)),
    "a NaN in a norm": ("nonfinite", "4", None, lambda: changed(cnn(True), "4.weight", nan)),
    "a NaN in X": ("nonfinite", "X", None, lambda: given(mlp(), lambda X: X / (X[0, 0] != X))),
    "pixels": ("inputs", "X", None, lambda: given(cnn(), lambda X: 128 + 64 * X)),
    "constant X": ("inputs", "X", None, lambda: given(mlp(), lambda X: X * 0 + 1)),
    "constant": (
        "symmetry", "0", None, lambda: mlp(draw=lambda p: init.constant_(p, 0.02))),
    "zero, CNN": ("symmetry", "0", None, lambda: cnn(draw=init.zeros_)),
    "biases": ("dead units", "6", None, lambda: changed(mlp(), "6.bias", lambda b: b - 9)),
    "biases, CNN": ("dead units", "4", None, lambda: changed(cnn(), "4.bias", lambda b: b - 9)),
    "stream": ("residual growth", "1", None, lambda: residual(1)),
    "N(0, 1), tanh": ("saturated", "0", None, lambda: mlp(nn.Tanh, 20, draw=init.normal_)),
    "one layer, tanh": (
        "saturated", "8", None, lambda: changed(mlp(nn.Tanh), "8.weight", lambda w: w * 9)),
    "small": (
        "signal vanishes", "0", None,
        lambda: mlp(depth=20, draw=lambda p: p.data.normal_(0, 0.04))),
    "one layer": (
        "signal vanishes", "10", None, lambda: changed(mlp(), "10.weight", lambda w: w * 1e-4)),
    "one layer, LSTM": (
        "inputs merged", "encoder", None,  # its biases go on
        lambda: changed(lstm(), "encoder.weight_ih_l0", lambda w: w * 1e-4)),
    "large": ("signal explodes", "0", None, lambda: mlp(draw=lambda p: init.normal_(p, 0, 0.5))),
    "one large, CNN": (
        "signal explodes", "2", None, lambda: changed(cnn(), "2.weight", lambda w: w * 300)),
    "sigmoid": ("gradient vanishes", "18", None, lambda: mlp(nn.Sigmoid, 12)),
    "a cut": ("no gradient", "2", None, cut),
    "merged": ("inputs merged", "0", None, lambda: one_answer(mlp(depth=4))),
    "head": (
        "loss at start", "4", None, lambda: changed(mlp(depth=3), "4.weight", lambda w: w * 20)),
    "rare": ("output bias", "14", None, lambda: rare(mlp())),
    "lr": ("update size", None, 100.0, lambda: mlp(depth=4)),
    "lr, Transformer": ("update size", None, 1000.0, transformer),
    "spare": ("never called", "spare", None, lambda: spare(mlp())),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_the_right_fault_at_the_right_module_and_its_cure(name):
    fault, module, lr, plant = FAULTS[name]
    for seed in range(5):
        torch.manual_seed(seed)
        net, X, y = plant()
        found = diagnose(net, X, y, LOSS, lr=lr)
        assert not found.ok
        first = found.findings[0]
        assert first.fault == fault, found
        assert module is None or first.where == module, found
        scope = {"net": net, "X": X, "y": y, "loss": LOSS, "lr": lr, "torch": torch,
                 "d2l_init": d2l_init}  # fmt: skip
        exec(first.cure, scope)
        after = diagnose(*(scope[k] for k in ("net", "X", "y", "loss")), lr=scope["lr"])
        assert after.ok, f"{found}\n\n{after}"


HEALTHY = {
    "He, ReLU": mlp,
    "LeCun, tanh": lambda: mlp(nn.Tanh, 20),
    "He, fifty layers": lambda: mlp(depth=50),
    "PyTorch's own, shallow": lambda: (nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), *data(64, 64)),
    "CNN": cnn,
    "CNN with norms": lambda: cnn(True),
    "residual": lambda: residual(16**-0.5),
    "LSTM": lambda: lstm(1),
    "Transformer": transformer,
    "zero head": lambda: changed(mlp(), "14.weight", torch.zeros_like),
    "frozen": lambda: frozen(mlp()),
    "float64": lambda: given((mlp()[0].double(), *data(64, 64)), torch.Tensor.double),
    "tied": lambda: tied(),
}  # fmt: skip


def frozen(case):
    case[0][:6].requires_grad_(False)
    return case


def tied():
    net = nn.Sequential(nn.Embedding(20, 32), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 20))
    init.normal_(net[0].weight, std=32**-0.5)
    net[3].weight = net[0].weight
    words = torch.randint(0, 20, (64,))
    return net, words, words


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_net_has_no_finding(name):
    for seed in range(5):
        torch.manual_seed(seed)
        net, X, y = HEALTHY[name]()
        found = diagnose(net, X, y, LOSS, lr=0.05)
        assert found.ok, found


def test_the_net_is_left_as_it_was():
    net, X, y = cnn(True)
    net.append(nn.Dropout(0.5))
    LOSS(net(X), y).backward()
    before = state(net)
    first = diagnose(net, X, y, LOSS)
    assert same(state(net), before)
    assert repr(first) == repr(diagnose(net, X, y, LOSS))


def test_what_pytorch_draws_by_itself_is_too_small_for_depth():
    torch.manual_seed(0)
    layers = [one for _ in range(19) for one in (nn.Linear(64, 64), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(64, 10))
    found = diagnose(net, *data(64, 64), LOSS)
    assert re.search("vanishes|merged", found.findings[0].fault)


def test_the_finding_shows_as_text_table_and_picture():
    torch.manual_seed(0)
    found = diagnose(*changed(mlp(), "10.weight", lambda w: w * 1e-4), LOSS)
    assert "signal vanishes: 10" in repr(found)
    assert "signal vanishes at 10" in found._repr_html_()
    assert found.to_frame()["cure"][0].startswith("import re; _ = [torch.nn.init.kaiming_normal_")


def test_batch_norms_that_never_saw_a_batch_are_told():
    torch.manual_seed(0)
    assert "Running statistics are still 0 and 1" in repr(diagnose(*cnn(True), LOSS))
