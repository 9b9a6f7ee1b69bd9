"""Small nets of PyTorch, and what must be left of a net after a look at it."""

import torch
from torch import nn


def mlp(depth=3, width=16, act=nn.ReLU, classes=3):
    layers = [one for _ in range(depth) for one in (nn.Linear(width, width), act())]
    return nn.Sequential(*layers, nn.Linear(width, classes))


class Block(nn.Module):
    """x + f(x)"""

    def __init__(self, *inside):
        super().__init__()
        self.inside = nn.Sequential(*inside)

    def forward(self, x):
        return x + self.inside(x)


def batch(examples=32, width=16, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(examples, width, generator=generator)
    return X, torch.randint(0, classes, (examples,), generator=generator)


def state(net):
    """All that a look must leave alone."""
    return {
        "values": {name: one.detach().clone() for name, one in net.state_dict().items()},
        "objects": {name: id(one) for name, one in net.named_parameters()},
        "buffers": {name: id(one) for name, one in net.named_buffers()},
        "trained": {name: one.requires_grad for name, one in net.named_parameters()},
        "gradients": {name: one.grad is not None and one.grad.detach().clone()
                      for name, one in net.named_parameters()},
        "modes": {name: one.training for name, one in net.named_modules()},
        "attributes": {name: sorted(vars(one)) for name, one in net.named_modules()},
        "hooks": {name: len(one._forward_hooks) + len(one._backward_hooks)
                  for name, one in net.named_modules()},
        "stream": torch.get_rng_state(),
    }  # fmt: skip


def same(one, other):
    """Equal states, tensors entry by entry."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))
    return one == other


def gradients(net, X, y, loss):
    """Plain PyTorch's, in predict mode, of the weights by name."""
    modes = {module: module.training for module in net.modules()}
    names, parameters = zip(*net.named_parameters(), strict=True)
    found = torch.autograd.grad(loss(net.eval()(X), y), parameters, allow_unused=True)
    for module, mode in modes.items():
        module.training = mode
    return dict(zip(names, found, strict=True))
