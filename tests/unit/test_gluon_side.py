"""What PyTorch's record is held against is what Gluon's is today."""

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "torch"


def test_the_file_is_what_its_script_makes(monkeypatch, numpy_semantics):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    import gluon_side

    kept, made = json.loads(gluon_side.FILE.read_text()), gluon_side.measured()
    assert kept.keys() == made.keys()
    for name, columns in kept.items():
        for column, values in columns.items():
            if column in ("shape", "activation"):
                assert made[name][column] == values, (name, column)
            else:
                known = [(a, b) for a, b in zip(made[name][column], values, strict=True) if a != b]
                assert all(a == pytest.approx(b, rel=1e-5, abs=1e-8) for a, b in known), (
                    name, column)  # fmt: skip
