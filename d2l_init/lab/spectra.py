"""Singular values through depth: how a product of many layers stretches a signal."""

from collections.abc import Iterable
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lapack

from ..quadrature import Floats
from .passes import block_by_block, recorded, stand_ins


def log_singular_values(matrices: Iterable[ArrayLike]) -> Floats:
    """Natural logarithms of the singular values of a product, from the largest down, shape (n,).

    ``matrices`` are n × n and applied first to last: the product is the last times ... times the
    first. A direction that a factor loses (a row of zeros, say) comes out as −inf.

    >>> shrink = np.diag([1.0, 1e-3])
    >>> (log_singular_values([shrink] * 50) / np.log(10)).round(6).tolist()
    [0.0, -150.0]

    Multiplied out in float64, what is below 1e-16 of the largest would drown; a QR step a factor
    (Benettin et al. 1980) and a Jacobi SVD (Drmač & Veselić 2008) follow it over 300 decades.

    Raises ValueError for no matrix, one that is not square, finite and of the first one's size, and
    for a product that spans more than 300 decades.
    """
    squares = [np.asarray(matrix, dtype=float) for matrix in matrices]
    shapes = sorted({matrix.shape for matrix in squares})
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0] != shapes[0][:1] * 2 or 0 in shapes[0]:
        raise ValueError(f"matrices must be square and of one size, got shapes {shapes}")
    if not np.isfinite(squares).all():
        raise ValueError("matrices must be finite, got inf or nan")
    # the product so far is q · diag(exp(scale)) · rows, where no entry of rows is over 1
    q = rows = np.eye(len(squares[0]))
    scale = np.zeros(len(q))
    for matrix in squares:
        q, r = np.linalg.qr(matrix @ q)
        r[np.abs(r) <= len(r) * np.finfo(float).eps * np.linalg.norm(r, axis=0)] = 0  # is rounding
        scale, left = _split(r, scale)
        shift, rows = _split(left @ rows, np.zeros(len(q)))
        scale = scale + shift
    return _log_jacobi(rows, scale)


def _split(matrix: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """The matrix times diag(exp(scale)) as logarithms of its rows' scales and rows of at most 1."""
    with np.errstate(divide="ignore"):
        logs = np.log(np.abs(matrix)) + scale
    top = logs.max(axis=1)
    safe = np.where(np.isfinite(top), top, 0.0)
    return top, np.sign(matrix) * np.exp(logs - safe[:, None])


def _log_jacobi(rows: Floats, scale: Floats) -> Floats:
    """Log singular values of diag(exp(scale)) · rows, the small ones as right as the large."""
    logs, kept = np.full(len(scale), -np.inf), np.isfinite(scale)
    if not kept.any():
        return logs
    top, decades = scale[kept].max(), np.ptp(scale[kept]) / np.log(10)
    if decades > 300:
        raise ValueError(f"the product must span at most 300 decades, got {decades:.0f}")
    graded = np.exp(scale[kept] - top)[:, None] * rows[kept]
    # joba=2 is LAPACK's high relative accuracy for graded matrices; 3, 3: values only
    sva, _, _, work, _, _ = lapack.dgejsv(graded.T, joba=2, jobu=3, jobv=3, jobr=0, jobt=0, jobp=0)
    with np.errstate(divide="ignore"):
        logs[: kept.sum()] = np.log(sva) + np.log(work[0] / work[1]) + top
    return -np.sort(-logs)


def jacobian(net: Any, x: Any) -> NDArray[Any]:
    """The derivative of a net's outputs by its inputs at one example, shape (outputs, inputs).

    ``x`` is a batch of one example, shape (1, ...); outputs and inputs are flattened, and the
    dtype is that of the net's parameters. One backward pass through as many copies as there are
    outputs, in predict mode; no gradient of the net or of ``x`` is touched.

    >>> layer = mx.gluon.nn.Dense(2, in_units=3)
    >>> layer.initialize()
    >>> bool((jacobian(layer, mx.nd.ones((1, 3))) == layer.weight.data().asnumpy()).all())
    True

    Raises ValueError for anything but one example and for a net that takes more than one array, or
    whose output is not one array with one row an example.
    """
    got = x.shape if isinstance(x, mx.nd.NDArray) else type(x).__name__
    if isinstance(got, str) or len(got) < 2 or got[0] != 1:
        raise ValueError(f"x must be an MXNet batch of one example, shape (1, ...), got {got}")
    with mx.autograd.pause(), block_by_block(net):
        dtype = next((p.dtype for p in net.collect_params().values()), x.dtype)
        x = _native(x).astype(dtype)
        try:
            size = _one_row(net(x), 1).size  # also settles deferred shapes
        except TypeError as error:
            raise ValueError(f"net must take one array, x, and fails: {error}") from error
        copies = x.repeat(size, axis=0)
        copies.attach_grad()
        with stand_ins(net, gradients=False):
            with recorded(net, training=False):
                out = _one_row(net(copies), size).reshape((size, -1))
            out.backward(_native(mx.nd.eye(size, dtype=out.dtype, ctx=out.ctx)), train_mode=False)
    return np.asarray(copies.grad.asnumpy().reshape(size, -1))


def _native(x: Any) -> Any:
    # blocks want mx.np's arrays after npx.set_np(), mx.nd's before
    return x.as_np_ndarray() if mx.util.is_np_array() else x.as_nd_ndarray()


def _one_row(out: Any, examples: int) -> Any:
    got = out.shape if isinstance(out, mx.nd.NDArray) else type(out).__name__
    if isinstance(got, str) or got[:1] != (examples,):
        raise ValueError(f"net must return an array with a row for each example, got {got}")
    return out
