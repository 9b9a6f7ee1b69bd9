"""Models of torchvision, without downloaded weights: traced, and left as they were.

``python tests/torch/test_torchvision.py`` looks at all of them but the largest.
"""

import sys

import pytest
import torch
import torchvision
from nets import gradients, same, state
from torch import nn

from d2l_init import diagnose, trace
from d2l_init.lab.torch_trace import own_parameters

LOSS = nn.CrossEntropyLoss()
SIZES = {"alexnet": 64, "squeezenet1_1": 64, "inception_v3": 80, "maxvit_t": 224}
LARGEST = ("regnet_y_128gf", "regnet_y_32gf", "vit_h_14", "vit_l_16", "vit_l_32", "convnext_large",
           "efficientnet_v2_l", "wide_resnet101_2", "regnet_x_32gf")  # fmt: skip
FAMILIES = ["resnet18", "densenet121", "googlenet", "squeezenet1_1",
            "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5",
            "efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "vit_b_16", "swin_t"]  # fmt: skip


def made(name):
    options = {"image_size": 32} if name.startswith("vit") else {}
    options |= {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **options)


def check(name):
    torch.manual_seed(0)
    net, size = made(name), 32 if name.startswith("vit") else SIZES.get(name, 64)
    X, y = torch.randn(2, 3, size, size), torch.tensor([1, 7])
    before = state(net)
    record = trace(net, X, y, LOSS)
    assert same(state(net), before)
    exact, rows = gradients(net, X, y, LOSS), {row["name"]: row for row in record.rows}
    with torch.no_grad():
        assert record.loss == pytest.approx(float(LOSS(net.eval()(X), y)), rel=1e-5)
    checked = 0
    for row, module in ((rows[n], m) for n, m in net.named_modules() if n in rows):
        prefix = f"{row['name']}."
        own = [exact[prefix + n].ravel() for n, p in own_parameters(module).items() if p.ndim > 1]
        if own:
            std = float(torch.cat(own).std(correction=0))
            assert row["weight_grad_std"] == pytest.approx(std, rel=1e-4, abs=1e-12), row["name"]
            checked += 1
    assert checked > 5
    return len(record.rows), checked


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_plain_pytorchs_and_the_model_is_as_it_was(name):
    check(name)


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "convnext_tiny", "vit_b_16"])
def test_as_torchvision_draws_it_a_model_is_healthy(name):
    torch.manual_seed(0)
    X, y = torch.randn(8, 3, *[32 if name.startswith("vit") else 64] * 2), torch.arange(8)
    found = diagnose(made(name), X, y, LOSS)
    assert found.ok, found


if __name__ == "__main__":
    every = torchvision.models.list_models(module=torchvision.models)
    for one in sys.argv[1:] or every:
        print(one, "left out" if one in LARGEST else check(one), flush=True)
