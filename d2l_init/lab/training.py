"""Training many nets: Gluon's loop, and for plain nets the same in NumPy, which is faster."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, pairwise
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn
from numpy.typing import NDArray

from ..arguments import number, one_of, whole
from ..threads import one_blas_thread, side_by_side

Array = NDArray[Any]

# As many parameters in an update and examples in a pass as caches and memories hold.
_PIECE, _EXAMPLES = 2**14, 256
# MXNet's operators take their settings in single precision, and so do ours.
_BETA1, _BETA2, _EPSILON, _ONE = map(np.float32, (0.9, 0.999, 1e-8, 1))
# The blocks that NumPy knows; an activation in place, and its slope from its own value.
_PLAIN = (nn.Sequential, nn.HybridSequential, nn.Dense, nn.Activation)
_ACTIVATIONS: dict[str | None, Any] = {
    "relu": (lambda z: np.maximum(z, 0, out=z), lambda h: h > 0),
    "tanh": (lambda z: np.tanh(z, out=z), lambda h: 1 - h * h),
}


def train(
    nets: Sequence[Any],
    X: Any,
    y: Any,
    *,
    lr: float,
    steps: int,
    batch_size: int = 64,
    optimizer: str = "sgd",
    momentum: float = 0.0,
    seed: int = 0,
) -> Array:
    """Softmax cross-entropy of each net at each step, shape (nets, steps); the nets are trained.

    ``X`` holds examples along its first axis, ``y`` their classes; nets are any initialized Gluon
    blocks. Each does what ``gluon.Trainer`` (``"sgd"`` or ``"adam"``) does with it alone on the
    mean loss of a batch; all see the same batches, cut from the examples as ``seed`` shuffles them
    in each epoch. A loss is that of the batch before the step, nan or inf once a net has diverged.

    >>> from mxnet import init, np, npx
    >>> npx.set_np()
    >>> nets = [nn.Dense(2, in_units=1), nn.Dense(2, in_units=1)]
    >>> for net, weight in zip(nets, (0, 9)):
    ...     net.initialize(init.Constant(weight))
    >>> train(nets, np.array([[-1], [1]]), np.array([0, 1]), lr=1, steps=3, batch_size=2).round(2)
    array([[0.69, 0.31, 0.19],
           [0.69, 0.31, 0.19]], dtype=float32)

    Raises ValueError for arguments out of range, and nets that don't fit X or are on two contexts.
    Source: the update rules of MXNet's ``optimizer.SGD`` and ``optimizer.Adam``.
    """
    settings = {"learning_rate": number("lr", lr, positive=True)}
    known = {"sgd": {"momentum": number("momentum", momentum)}, "adam": {}}
    settings |= known[one_of("optimizer", optimizer, known)]
    X, y = _examples(nets, X, y)
    batches = _batches(len(X), whole("steps", steps, 1), whole("batch_size", batch_size, 1), seed)
    users = Counter(chain(*(net.collect_params().values() for net in nets)))
    plain = [k for k, net in enumerate(nets) if X.ndim == 2 and _is_plain(net, users)]
    arguments = X, y, batches, optimizer, settings
    with one_blas_thread():  # these products are too small to share
        found = side_by_side(lambda k: _by_numpy(nets[k], *arguments), plain)
    losses = dict(zip(plain, found, strict=True))
    losses |= {k: _by_gluon(net, *arguments) for k, net in enumerate(nets) if k not in losses}
    return np.stack([losses[k] for k in range(len(nets))])


def accuracy(nets: Sequence[Any], X: Any, y: Any) -> Array:
    """Share of the examples that each net gives their class; nets, X and y as in :func:`train`.

    >>> from mxnet import init, np, npx
    >>> npx.set_np()
    >>> net = nn.Dense(2, in_units=1)
    >>> net.initialize(init.Constant(np.array([[-1.0], [1.0]])))
    >>> accuracy([net], np.array([[-2], [3], [4], [5]]), np.array([0, 1, 1, 0]))
    array([0.75])
    """
    X, y = _examples(nets, X, y)
    return np.array([(_scores(net, X).argmax(-1) == y).mean() for net in nets])


def _examples(nets: Sequence[Any], X: Any, y: Any) -> tuple[Array, Array]:
    """Both as NumPy's; a pass of one example shows that they fit, and settles deferred shapes."""
    X, y = (a.asnumpy() if hasattr(a, "asnumpy") else np.asarray(a) for a in (X, y))
    if not len(nets):
        raise ValueError("nets must have at least one net, got none")
    for net in nets:
        *shape, classes = len(X), *_scores(net, X[:1]).shape[1:]
        if y.shape != tuple(shape) or not np.isin(y, range(classes)).all():
            raise ValueError(f"y must be {len(X)} classes from 0 to {classes - 1}, got {y!r}")
    return X, y.astype("int32")


def _scores(net: Any, X: Array) -> Array:
    to_mxnet = _converter(net)
    parts = (X[k : k + _EXAMPLES] for k in range(0, max(1, len(X)), _EXAMPLES))
    try:
        with autograd.pause():
            return np.concatenate([net(to_mxnet(part)).asnumpy() for part in parts])
    except mx.MXNetError as error:
        shape = X.shape[1:]
        raise ValueError(
            f"X must be examples that {net} takes, got some of shape {shape}"
        ) from error


def _converter(net: Any) -> Callable[..., Any]:
    """From NumPy's arrays to those of the net's context and dtype."""
    first = next(iter(net.collect_params().values()), None)
    if first is None or len(first.list_ctx()) > 1:
        raise ValueError(f"nets must have parameters, each on one context, got {net}")
    array = mx.np.array if mx.util.is_np_array() else mx.nd.array
    return partial(array, ctx=first.list_ctx()[0], dtype=first.dtype)


def _batches(examples: int, steps: int, batch_size: int, seed: int) -> Array:
    if batch_size > examples:
        raise ValueError(f"batch_size must be at most {examples}, the examples, got {batch_size}")
    stream, size = np.random.default_rng(whole("seed", seed, 0)), steps * batch_size
    epochs = [stream.permutation(examples) for _ in range(-(-size // examples))]
    return np.asarray(np.concatenate(epochs)[:size].reshape(steps, batch_size))


def _by_gluon(net: Any, X: Array, y: Array, batches: Array, optimizer: str, settings: Any) -> Array:
    """The losses of a net trained as anybody would: the rule."""
    trainer = gluon.Trainer(net.collect_params(), optimizer, settings, kvstore=None)
    loss, losses, to_mxnet = gluon.loss.SoftmaxCrossEntropyLoss(), [], _converter(net)
    for rows in batches:
        with autograd.record():
            value = loss(net(to_mxnet(X[rows])), to_mxnet(y[rows], dtype="int32")).mean()
        value.backward()
        trainer.step(1, ignore_stale_grad=True)  # of layers that the net doesn't use
        losses.append(value.asnumpy().ravel())
    return np.concatenate(losses)


def _blocks(block: Any) -> list[Any]:
    return [block, *chain(*map(_blocks, block._children.values()))]


def _is_plain(net: Any, users: Counter[Any]) -> bool:
    """Whether NumPy knows all blocks, and their parameters are as they were born and unshared."""
    blocks, parameters = _blocks(net), _parameters(net)
    acts = [getattr(block, "_act_type", "") for block in blocks if type(block) in _PLAIN[2:]]
    follows = ("", "relu"), ("", "tanh")  # an activation follows a Dense block
    return (
        not any(type(b) not in _PLAIN or b._forward_hooks or b._forward_pre_hooks for b in blocks)
        and all(not act or (last, act) in follows for last, act in pairwise(["start", *acts]))
        and all(users[p] == parameters.count(p) == 1 for p in parameters)
        and {(type(p), p.grad_req, p.lr_mult) for p in parameters}
        == {(gluon.Parameter, "write", 1)}
        and {np.dtype(p.dtype).char for p in parameters} <= {"f", "d"}
    )


def _parameters(net: Any) -> list[Any]:
    return [p for block in _blocks(net) for p in block._reg_params.values()]


def _by_numpy(net: Any, X: Array, y: Array, batches: Array, optimizer: str, settings: Any) -> Array:
    """The same of a plain net; its parameters are views into one array, and so the gradients."""
    values = np.concatenate([p.data().asnumpy().ravel() for p in _parameters(net)])
    arrays = values, *np.zeros((3, *values.shape), values.dtype)  # gradient, optimizer's state
    pieces = list(zip(*(np.array_split(a, values.size // _PIECE + 1) for a in arrays), strict=True))
    w, dw = (_views(a, _parameters(net)) for a in arrays[:2])
    steps = [block for block in _blocks(net) if type(block) in _PLAIN[2:]]
    acts = [getattr(block, "_act_type", None) for block in [*steps[1:], None]]
    layers = [
        (w[block.weight], w.get(block.bias), dw[block.weight], dw.get(block.bias), act)
        for block, act in zip(steps, acts, strict=True)
        if type(block) is nn.Dense
    ]
    X, losses = X.astype(values.dtype), np.empty(len(batches), values.dtype)
    with np.errstate(all="ignore"):  # a net that diverges says so by its losses
        for step, rows in enumerate(batches):
            losses[step] = _pass(layers, X[rows], y[rows])
            for piece in pieces:
                _UPDATES[optimizer](step + 1, *piece, **settings)
    for parameter, value in w.items():
        parameter.set_data(value)
    return losses


def _views(flat: Array, parameters: list[Any]) -> dict[Any, Array]:
    parts = np.split(flat, np.cumsum([p.data().size for p in parameters])[:-1])
    return {p: part.reshape(p.shape) for p, part in zip(parameters, parts, strict=True)}


def _pass(layers: list[Any], x: Array, y: Array) -> Any:
    """Forward and back: the loss of the batch, and each parameter's slope in its place."""
    signals = [x]
    for weight, bias, _, _, act in layers:
        signals.append(signals[-1].dot(weight.T))
        if bias is not None:
            signals[-1] += bias
        if act:
            _ACTIVATIONS[act][0](signals[-1])
    loss, gradient = _cross_entropy(signals[-1], y)
    for weight, _, slope, bias_slope, act in reversed(layers):
        out = signals.pop()
        if act:
            gradient *= _ACTIVATIONS[act][1](out)
        np.dot(gradient.T, signals[-1], out=slope)
        if bias_slope is not None:
            np.add.reduce(gradient, 0, out=bias_slope)
        if len(signals) > 1:
            gradient = gradient.dot(weight)
    return loss


def _cross_entropy(logits: Array, y: Array) -> tuple[Any, Array]:
    """Mean over the batch, and its slope."""
    targets = np.eye(logits.shape[1], dtype=logits.dtype)[y]
    z = logits - logits.max(1, keepdims=True)
    p = np.exp(z)
    total = p.sum(1, keepdims=True)
    losses = np.log(total[:, 0]) - (z * targets).sum(1)
    return losses.mean(), (p / total - targets) / len(y)


def _sgd(
    _: int, w: Array, g: Array, v: Array, __: Array, learning_rate: float, momentum: float
) -> None:
    v *= np.float32(momentum)
    g *= np.float32(learning_rate)
    v -= g
    w += v


def _adam(step: int, w: Array, g: Array, m: Array, v: Array, learning_rate: float) -> None:
    m *= _BETA1
    m += (_ONE - _BETA1) * g
    v *= _BETA2
    v += (_ONE - _BETA2) * g * g
    rate = np.float32(learning_rate * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step))
    w -= rate * m / (np.sqrt(v) + _EPSILON)


_UPDATES: dict[str, Callable[..., None]] = {"sgd": _sgd, "adam": _adam}
