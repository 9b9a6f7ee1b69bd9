"""How long a trace takes against bare forward and backward, in turn, on a quiet machine.

``.venv-torch/bin/python tests/torch/bench.py``
"""

from statistics import quantiles
from time import perf_counter

import torch
import torchvision
from torch import nn

from d2l_init import trace


def compare(what, net, X, y, loss, rounds):
    net.eval()
    ratios = []
    for _ in range(rounds + 1):
        net.zero_grad(set_to_none=True)
        start = perf_counter()
        loss(net(X), y).backward()
        middle = perf_counter()
        trace(net, X, y, loss)
        ratios.append((perf_counter() - middle) / (middle - start))
    low, median, high = quantiles(ratios[1:], n=4)
    print(f"{what}: {median:.2f} times as long, quartiles {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = nn.Sequential(*[nn.Linear(256, 256) for _ in range(50)])
    compare("50 × Linear(256)", layers, *torch.randn(2, 256, 256), nn.MSELoss(), 30)
    resnet, X = torchvision.models.resnet50(weights=None), torch.randn(4, 3, 224, 224)
    compare("ResNet-50", resnet, X, torch.zeros(4, dtype=torch.long), nn.CrossEntropyLoss(), 7)
