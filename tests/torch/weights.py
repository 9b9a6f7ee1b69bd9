"""The same weights and batches for both frameworks, from NumPy's oldest generator."""

import zlib

import numpy as np


def drawn(name, *shape, scale=1.0):
    """Normal numbers that depend on the name and the shape only."""
    seed = zlib.crc32(f"{name} {shape}".encode())
    return (np.random.RandomState(seed).standard_normal(shape) * scale).astype("float32")


def weight(net, number, shape):
    """The value of the net's parameter of that number: biases small, the rest of gain √2."""
    if len(shape) == 1:
        return drawn(f"{net} {number}", *shape, scale=0.1)
    return drawn(f"{net} {number}", *shape, scale=(2 / np.prod(shape[1:])) ** 0.5)


BATCHES = {  # shapes of X and y
    "mlp": ((32, 20), (32, 5)),
    "vgg": ((4, 3, 16, 16), (4, 5)),
    "residual": ((4, 3, 8, 8), (4, 5)),
    "lstm": ((7, 6, 10), (6, 5)),
    "transformer": ((3, 6, 16), (3, 6, 16)),
    "built in": ((32, 20), (32, 5)),
}
NUMBERS = ("mean", "std", "mean_square", "zero", "dead", "saturated", "nonfinite", "grad_std",
           "grad_mean_square", "weight_std", "weight_grad_std", "update_ratio")  # fmt: skip
