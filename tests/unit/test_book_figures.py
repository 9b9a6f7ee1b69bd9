"""The figures that the MXNet edition of Dive into Deep Learning recorded, to the last digit.

They come from one stream of random numbers with no seed set, so the calls stand in their order.
"""

import os
import subprocess
import sys

import pytest

CALLS = """
from mxnet import init, np, npx
from mxnet.gluon import nn
npx.set_np()
net = nn.Sequential()
net.add(nn.Dense(8, activation="relu"), nn.Dense(1))
net.initialize()
batch = np.random.uniform(size=(2, 4))
print(net(batch).shape)
net.initialize(init=init.Normal(sigma=0.01), force_reinit=True)
print(net[0].weight.data()[0])
net.initialize(init=init.Constant(1), force_reinit=True)
print(net[0].weight.data()[0])
net[0].weight.initialize(init=init.Xavier(), force_reinit=True)
net[1].initialize(init=init.Constant(42), force_reinit=True)
print(net[0].weight.data()[0])
print(net[1].weight.data())

class TwoSided(init.Initializer):
    def _init_weight(self, name, data):
        print("Init", name, data.shape)
        data[:] = np.random.uniform(-10, 10, data.shape)
        data *= np.abs(data) >= 5

net.initialize(TwoSided(), force_reinit=True)
print(net[0].weight.data()[:2])
net[0].weight.data()[:] += 1
net[0].weight.data()[0, 0] = 42
print(net[0].weight.data()[0])
"""
FIGURES = """\
(2, 1)
[ 0.00354961 -0.00614133  0.0107317   0.01830765]
[1. 1. 1. 1.]
[-0.26102373  0.15249556 -0.19274211 -0.24742058]
[[42. 42. 42. 42. 42. 42. 42. 42.]]
Init dense0_weight (8, 4)
Init dense1_weight (1, 8)
[[-6.0683527  8.991421  -0.         0.       ]
 [ 6.4198647 -9.728567  -8.057975   0.       ]]
[42.        9.991421  1.        1.      ]
"""


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("load", [False, True], ids=["idle", "under load"])
def test_the_recorded_figures_come_out_again(threads, load):
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * load)]
    try:
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-c", CALLS]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    finally:
        for process in busy:
            process.kill()
    assert ran.stdout == FIGURES
