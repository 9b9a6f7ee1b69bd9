"""The same weights and batch in Gluon and in PyTorch: the same record.

``gluon_side.json`` is Gluon's, made by ``gluon_side.py`` in the course's environment, where
``tests/unit/test_gluon_side.py`` makes it again.
"""

import json
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import softmax
from weights import BATCHES, NUMBERS, drawn, weight

import d2l_init

GLUON = json.loads((Path(__file__).parent / "gluon_side.json").read_text())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(inplace=True),
                          nn.Conv2d(8, 8, 3, padding=1, bias=False)) for _ in range(2)
        )  # fmt: skip
        self.head = nn.Linear(512, 5)

    def forward(self, x):
        x = self.stem(x)
        for branch in self.branches:
            x = x + branch(x)
        return self.head(x.flatten(1))


class LSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.LSTM(10, 12), nn.Linear(12, 5)

    def forward(self, x):
        return self.head(self.layer(x)[0][-1])


class Transformer(nn.Module):
    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.act, self.down = nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width)

    def forward(self, x):
        def split(z):
            return z.reshape(*z.shape[:2], self.heads, -1).transpose(1, 2)

        z = self.first(x)
        q, k, v = split(self.q(z)), split(self.k(z)), split(self.v(z))
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        x = x + self.o((softmax(scores, -1) @ v).transpose(1, 2).reshape(x.shape))
        return x + self.down(self.act(self.up(self.second(x))))


def vgg():
    layers, before = [], 3
    for channels in (8, 16):
        layers += [
            nn.Conv2d(before, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        ]
        before = channels
    head = [nn.Flatten(), nn.Linear(256, 32), nn.ReLU(inplace=True), nn.Linear(32, 5)]
    return nn.Sequential(*layers, *head)


NETS = {
    "mlp": lambda: nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 30), nn.ReLU(),
                                 nn.Linear(30, 5)),
    "vgg": vgg,
    "residual": Residual,
    "lstm": LSTM,
    "transformer": Transformer,
    "built in": lambda: nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 30), nn.Tanh(),
                                      nn.Linear(30, 5), nn.Sigmoid()),
}  # fmt: skip


def of_pytorch(name):
    X, y = (torch.from_numpy(drawn(f"{name} {part}", *shape))
            for part, shape in zip("Xy", BATCHES[name], strict=True))  # fmt: skip
    net, number = NETS[name](), count()
    with torch.no_grad():
        for parameter in net.parameters():
            new = weight(name, next(number), tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(new))
    frame = d2l_init.trace(net, X, y, lambda out, y: ((out - y) ** 2).mean()).to_frame()
    frame = frame[frame["block"] != "Flatten"].reset_index(drop=True)
    if name == "built in":  # Gluon's activations are part of their layers
        after = frame[1::2].reset_index(drop=True)
        weights = [one for one in frame if one.startswith(("weight", "update"))]
        after[weights] = frame[::2].reset_index(drop=True)[weights]
        frame = after
    return frame


@pytest.mark.parametrize("name", NETS)
def test_all_shared_columns_agree(name):
    mine, gluons = of_pytorch(name), pd.DataFrame(GLUON[name])
    assert mine["shape"].map(list).to_list() == gluons["shape"].to_list()
    assert mine["activation"].to_list() == gluons["activation"].to_list()
    assert mine["weights"].to_list() == gluons["weights"].to_list()
    sizes = {"mean": np.sqrt(gluons["mean_square"].astype(float))}
    for column in NUMBERS:
        one, other = mine[column].astype(float), gluons[column].astype(float)
        assert one.isna().equals(other.isna()), column
        scale = sizes.get(column, other.abs())
        assert ((one - other).abs().fillna(0) <= 1e-5 * scale.fillna(0) + 1e-12).all(), (
            column, (one - other).to_list(), other.to_list())  # fmt: skip
