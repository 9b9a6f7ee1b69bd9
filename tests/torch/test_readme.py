"""What the README promises a user of PyTorch, who has no MXNet."""

import re
import sys
from pathlib import Path

import torch
from nets import batch, mlp

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_its_five_lines_run_where_mxnet_is_not_installed(capsys):
    (section,) = re.findall(r"^### With PyTorch$(.*?)^`make", README, re.M | re.S)
    (code,) = re.findall(r"```python\n(.*?)```", section, re.S)
    X, y = batch()
    exec(code, {"net": mlp(), "X": X, "y": y, "torch": torch})
    assert "Looked at: 4 layers" in capsys.readouterr().out
    assert "mxnet" not in sys.modules
