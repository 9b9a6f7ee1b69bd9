"""What `trace` measures of six Gluon nets, for PyTorch's to be held against.

``python tests/torch/gluon_side.py`` in the course's environment writes ``gluon_side.json``.
"""

import json
from pathlib import Path

from mxnet import np, npx
from mxnet.gluon import nn, rnn
from weights import BATCHES, NUMBERS, drawn, weight

import d2l_init

FILE = Path(__file__).with_suffix(".json")


class Residual(nn.Block):
    def __init__(self):
        super().__init__()
        self.stem, self.norms, self.convs = nn.Conv2D(8, 3, padding=1), [], []
        for k in range(2):
            self.norms.append(nn.BatchNorm())
            self.convs.append(nn.Conv2D(8, 3, padding=1, use_bias=False))
            self.register_child(self.norms[k], f"norm{k}")
            self.register_child(self.convs[k], f"conv{k}")
        self.act, self.head = nn.Activation("relu"), nn.Dense(5)

    def forward(self, x):
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = x + conv(self.act(norm(x)))
        return self.head(x)


class LSTM(nn.Block):
    def __init__(self):
        super().__init__()
        self.layer, self.head = rnn.LSTM(12), nn.Dense(5)

    def forward(self, x):
        return self.head(self.layer(x)[-1])


class Transformer(nn.Block):
    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(epsilon=1e-5), nn.LayerNorm(epsilon=1e-5)
        self.q, self.k, self.v, self.o = (nn.Dense(width, flatten=False) for _ in range(4))
        self.up, self.act = nn.Dense(32, flatten=False), nn.GELU()
        self.down = nn.Dense(width, flatten=False)

    def forward(self, x):
        def split(z):
            return z.reshape(*z.shape[:2], self.heads, -1).transpose(0, 2, 1, 3)

        z = self.first(x)
        q, k, v = split(self.q(z)), split(self.k(z)), split(self.v(z))
        scores = np.matmul(q, k.swapaxes(2, 3)) / q.shape[-1] ** 0.5
        mixed = np.matmul(npx.softmax(scores), v).transpose(0, 2, 1, 3)
        x = x + self.o(mixed.reshape(*x.shape))
        return x + self.down(self.act(self.up(self.second(x))))


def vgg():
    net = nn.Sequential()
    for channels in (8, 16):
        net.add(nn.Conv2D(channels, 3, padding=1), nn.Activation("relu"), nn.MaxPool2D(2, 2))
    net.add(nn.Dense(32), nn.Activation("relu"), nn.Dense(5))
    return net


def sequential(*layers):
    net = nn.Sequential()
    net.add(*layers)
    return net


NETS = {
    "mlp": lambda: sequential(nn.Dense(30), nn.Activation("tanh"), nn.Dense(30),
                              nn.Activation("relu"), nn.Dense(5)),
    "vgg": vgg,
    "residual": Residual,
    "lstm": LSTM,
    "transformer": Transformer,
    "built in": lambda: sequential(nn.Dense(30, activation="relu"), nn.Dense(30, activation="tanh"),
                                   nn.Dense(5, activation="sigmoid")),
}  # fmt: skip


def loss(out, y):
    return ((out - y) ** 2).mean()


def measured():
    npx.set_np()
    found = {}
    for name, made in NETS.items():
        X, y = (np.array(drawn(f"{name} {part}", *shape))
                for part, shape in zip("Xy", BATCHES[name], strict=True))  # fmt: skip
        net = made()
        net.initialize()
        net(X)
        parameters = [p for p in net.collect_params().values() if p.grad_req != "null"]
        for number, parameter in enumerate(parameters):
            parameter.set_data(np.array(weight(name, number, parameter.shape)))
        frame = d2l_init.trace(net, X, y, loss).to_frame()
        columns = {one: frame[one].astype(float).to_list() for one in NUMBERS}
        told = {one: frame[one].to_list() for one in ("shape", "weights", "activation")}
        found[name] = json.loads(json.dumps({**told, **columns}).replace("NaN", "null"))
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(measured(), indent=1) + "\n")
