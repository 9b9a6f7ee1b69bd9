"""What holds on a machine whose GPU MXNet sees, and nowhere else."""

import shutil
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from mxnet import init
from mxnet.gluon import nn

import d2l_init as di

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.gpu


def weight(ctx, initializer):
    mx.random.seed(5)
    layer = nn.Dense(64, in_units=32, prefix="one_")
    layer.initialize(initializer, ctx=ctx)
    return layer.weight.data()


def test_the_doctor_finds_the_driver_and_the_gpu():
    report = di.doctor()
    assert report.ok, str(report)
    found = {one.name: one.found for one in report.findings}
    assert found["NVIDIA driver"][0].isdigit()
    assert "CUDA build" in found["chapters"]
    assert mx.context.num_gpus() >= 1


@pytest.mark.parametrize(
    "initializer", [init.Uniform(), init.Xavier(), di.he_normal(), di.HaarOrthogonal(seed=1)]
)
def test_weights_for_the_gpu_are_the_cpus_to_the_digit(initializer):
    on_gpu, on_cpu = weight(mx.gpu(0), initializer), weight(mx.cpu(), initializer)
    assert on_gpu.ctx == mx.gpu(0)
    assert np.array_equal(on_gpu.asnumpy(), on_cpu.asnumpy())


def test_histograms_of_weights_on_the_gpu_are_the_cpus():
    law = di.law(init.Xavier(), (64, 32))
    captions = {
        di.caption(di.plot_histogram(weight(ctx, init.Xavier()), law))
        for ctx in (mx.gpu(0), mx.cpu())
    }
    assert len(captions) == 1


def test_chapters_give_their_recorded_outputs_on_the_gpu(tmp_path):
    for chapter in sorted((ROOT / "notebooks").glob("0[1-4]*.ipynb")):
        shutil.copy(chapter, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += ["-c", "/dev/null", f"--rootdir={tmp_path}", "--nbval", "--nbval-cell-timeout=600"]
    command += [f"--nbval-sanitize-with={ROOT}/tests/notebooks/sanitize.cfg", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:]
