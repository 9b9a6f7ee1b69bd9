"""Training many small nets side by side, for figures that compare starts over several seeds.

Nets of Dense and activation blocks are copied into NumPy, a few of them stacked into one array a
parameter, and trained there by the formulas of ``gluon.Trainer``'s optimizers: several times faster
than MXNet calls of this size, and with the same result on one core and on many.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, count
from typing import Any, cast

import mxnet as mx
import numpy as np
from mxnet.gluon import nn
from numpy.typing import NDArray

from ..arguments import number, one_of, whole
from ..threads import one_blas_thread, side_by_side
from .theory import SELU_ALPHA, SELU_SCALE

Array = NDArray[Any]
Rule = Callable[[Array], Array]  # from a parameter's gradient to what is added to the parameter

# Nets in one product: enough of them to keep Python out of the way, few enough for the cache.
_TOGETHER = 4
_SCALE, _ALPHA = np.float32(SELU_SCALE), np.float32(SELU_ALPHA)  # as MXNet rounds them
# MXNet's operators take their settings in single precision, and so do ours.
_BETA1, _BETA2, _EPSILON, _ONE = map(np.float32, (0.9, 0.999, 1e-8, 1))


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

    ``X`` has shape (examples, features), ``y`` holds their classes. Each net does what it would do
    alone with ``gluon.Trainer`` (``"sgd"`` or ``"adam"``) on the mean loss of a batch; all see the
    same batches, cut from the examples as ``seed`` shuffles them in each epoch. A loss is that of
    the batch before the step; it is nan or inf once a net has diverged.

    >>> from mxnet import init, np, npx
    >>> npx.set_np()
    >>> nets = [nn.Dense(2, in_units=1), nn.Dense(2, in_units=1)]
    >>> for net, weight in zip(nets, (0, 9)):
    ...     net.initialize(init.Constant(weight))
    >>> train(nets, np.array([[-1], [1]]), np.array([0, 1]), lr=1, steps=3, batch_size=2).round(2)
    array([[0.69, 0.31, 0.19],
           [0.69, 0.31, 0.19]], dtype=float32)

    Nets are initialized (Hybrid)Sequentials, nested or not, of Dense, Activation, LeakyReLU and
    SELU blocks, all of one shape; they are computed in their own dtype.
    Raises ValueError for other blocks, for nets that differ and for arguments out of range.
    Source: the update rules of MXNet's ``optimizer.SGD`` and ``optimizer.Adam``.
    """
    lr, momentum = number("lr", lr, positive=True), number("momentum", momentum)
    rules = {"sgd": partial(_sgd, lr, momentum), "adam": partial(_adam, lr)}
    rule = rules[one_of("optimizer", optimizer, rules)]
    stacks, X, targets = _stacks(nets, X, y, rule)
    batches = _batches(len(X), whole("steps", steps, 1), whole("batch_size", batch_size, 1), seed)
    losses = _of_each(stacks, lambda stack: _run(stack, X, targets, batches))
    for layer in chain(*stacks):
        layer.write_back()
    return losses


def accuracy(nets: Sequence[Any], X: Any, y: Any) -> Array:
    """Share of the examples that each net gives their class, shape (nets,).

    The same as ``(net(X).argmax(1) == y).mean()`` for each; nets, X and y as in :func:`train`.

    >>> from mxnet import init, np, npx
    >>> npx.set_np()
    >>> net = nn.Dense(2, in_units=1)
    >>> net.initialize(init.Constant(np.array([[-1.0], [1.0]])))
    >>> accuracy([net], np.array([[-2], [3], [4], [5]]), np.array([0, 1, 1, 0]))
    array([0.75])
    """
    stacks, X, targets = _stacks(nets, X, y, lambda: np.negative)
    classes = targets.argmax(1)

    def right(stack: list[Any]) -> Array:
        with np.errstate(all="ignore"):  # nets that have diverged
            return np.asarray((_forward(stack, X).argmax(2) == classes).mean(1))

    return _of_each(stacks, right)


def _stacks(
    nets: Sequence[Any], X: Any, y: Any, rule: Callable[[], Rule]
) -> tuple[list[list[Any]], Array, Array]:
    X, y = (a.asnumpy() if hasattr(a, "asnumpy") else np.asarray(a) for a in (X, y))
    leaves = _alike([_leaves_of(net, X) for net in nets])
    groups = [leaves[k : k + _TOGETHER] for k in range(0, len(leaves), _TOGETHER)]
    stacks = [[_stacked(blocks, rule) for blocks in zip(*group, strict=True)] for group in groups]
    return stacks, *_examples(X, y, leaves[0])


def _of_each(stacks: list[list[Any]], function: Callable[[list[Any]], Array]) -> Array:
    with one_blas_thread():  # these products are too small to share
        return np.concatenate(side_by_side(function, stacks))


def _alike(nets: list[list[Any]]) -> list[list[Any]]:
    if not nets:
        raise ValueError("nets must have at least one net, got none")
    for net in nets:
        if list(map(_described, net)) != list(map(_described, nets[0])):
            raise ValueError(f"nets must all have one shape, got {nets[0]} and {net}")
    return nets


def _described(block: Any) -> tuple[Any, ...]:
    if type(block) is nn.Dense:
        return block.weight.shape, np.dtype(block.weight.dtype), block.bias is None
    return _kind(block), getattr(block, "_alpha", None)


def _examples(X: Array, y: Array, net: list[Any]) -> tuple[Array, Array]:
    """X and the classes as ones among zeros, both in the net's dtype."""
    dense = [block for block in net if type(block) is nn.Dense]
    classes, dtype = dense[-1].weight.shape[0], dense[0].weight.dtype
    if X.ndim != 2 or X.shape[1] != dense[0].weight.shape[1]:
        raise ValueError(f"X must be (examples, {dense[0].weight.shape[1]}), got shape {X.shape}")
    if y.shape != X.shape[:1] or not np.isin(y, range(classes)).all():
        raise ValueError(f"y must be {len(X)} classes from 0 to {classes - 1}, got {y!r}")
    return X.astype(dtype), np.eye(classes, dtype=dtype)[y.astype(int)]


def _batches(examples: int, steps: int, batch_size: int, seed: int) -> Array:
    if batch_size > examples:
        raise ValueError(f"batch_size must be at most {examples}, the examples, got {batch_size}")
    stream, size = np.random.default_rng(whole("seed", seed, 0)), steps * batch_size
    epochs = [stream.permutation(examples) for _ in range(-(-size // examples))]
    return np.asarray(np.concatenate(epochs)[:size].reshape(steps, batch_size))


def _leaves_of(net: Any, X: Array) -> list[Any]:
    leaves = list(_leaves(net))
    dense = [block for block in leaves if type(block) is nn.Dense]
    if not dense:
        raise ValueError(f"nets must have a Dense block, got {net!r}")
    if any(min(block.weight.shape) < 1 for block in dense):  # deferred until a first pass
        array = mx.np.array if mx.util.is_np_array() else mx.nd.array
        net(array(X[:1], dtype=dense[0].weight.dtype, ctx=dense[0].weight.list_ctx()[0]))
    return leaves


def _leaves(block: Any) -> Iterator[Any]:
    # By exact class: a user's subclass may compute anything.
    if type(block) in (nn.Sequential, nn.HybridSequential):
        for child in block:
            yield from _leaves(child)
    elif type(block) is nn.Dense:
        yield block
        if block.act is not None:
            yield from _leaves(block.act)
    elif _kind(block) in _ACTIVATIONS:
        yield block
    else:
        raise ValueError(
            "nets must be Sequentials of Dense, LeakyReLU, SELU and Activation "
            f"({', '.join(filter(str.islower, _ACTIVATIONS))}), got {block!r}"
        )


def _kind(block: Any) -> str:
    return str(block._act_type if type(block) is nn.Activation else type(block).__name__)


class _Dense:
    """One layer of several nets: weights (nets, outputs, inputs), biases (nets, 1, outputs)."""

    def __init__(self, blocks: Sequence[Any], rule: Callable[[], Rule]) -> None:
        self.weights, self.biases = [b.weight for b in blocks], [b.bias for b in blocks]
        self.weight, self.rule = _values(self.weights), rule()
        self.biased = self.biases[0] is not None
        if self.biased:
            self.bias, self.bias_rule = _values(self.biases)[:, None], rule()

    def forward(self, x: Array) -> Array:
        self.x = x
        out: Array = x @ self.weight.swapaxes(1, 2)
        if self.biased:
            out += self.bias
        return out

    def backward(self, gradient: Array) -> Array:
        behind: Array = gradient @ self.weight
        self.weight += self.rule(gradient.swapaxes(1, 2) @ self.x)
        if self.biased:
            self.bias += self.bias_rule(gradient.sum(1, keepdims=True))
        return behind

    def write_back(self) -> None:
        _set_values(self.weights, self.weight)
        if self.biased:
            _set_values(self.biases, self.bias[:, 0])


def _values(parameters: list[Any]) -> Array:
    return np.stack([parameter.data().asnumpy() for parameter in parameters])


def _set_values(parameters: list[Any], values: Array) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.set_data(value)


class _Activation:
    """An activation whose slope is known from its output; both work in place."""

    def __init__(self, value: Rule, slope: Rule) -> None:
        self.value, self.slope = value, slope

    def forward(self, x: Array) -> Array:
        self.y = self.value(x)
        return self.y

    def backward(self, gradient: Array) -> Array:
        gradient *= self.slope(self.y)
        return gradient

    def write_back(self) -> None:
        """Nothing was learned."""


def _selu() -> _Activation:
    return _Activation(
        lambda x: _SCALE * np.where(x > 0, x, _ALPHA * np.expm1(np.minimum(x, 0))),
        # MXNet 1.9.1's slope, not SELU's (that is y + scale alpha): nets learn as they do there.
        lambda y: _SCALE * np.where(y > 0, 1, y + _ALPHA),
    )


def _leaky(alpha: Any) -> _Activation:
    return _Activation(lambda x: np.where(x > 0, x, alpha * x), lambda y: np.where(y > 0, 1, alpha))


_ACTIVATIONS: dict[str, Callable[[Any], _Activation]] = {
    "relu": lambda _: _Activation(lambda x: np.maximum(x, 0, out=x), lambda y: y > 0),
    "tanh": lambda _: _Activation(lambda x: np.tanh(x, out=x), lambda y: 1 - y * y),
    "sigmoid": lambda _: _Activation(lambda x: 1 / (1 + np.exp(-x)), lambda y: y * (1 - y)),
    "softrelu": lambda _: _Activation(lambda x: np.logaddexp(x, 0), lambda y: -np.expm1(-y)),
    "softsign": lambda _: _Activation(lambda x: x / (1 + abs(x)), lambda y: (1 - abs(y)) ** 2),
    "LeakyReLU": lambda block: _leaky(np.float32(block._alpha)),
    "SELU": lambda _: _selu(),
}


def _stacked(blocks: Sequence[Any], rule: Callable[[], Rule]) -> _Dense | _Activation:
    if type(blocks[0]) is nn.Dense:
        return _Dense(blocks, rule)
    return _ACTIVATIONS[_kind(blocks[0])](blocks[0])


def _run(stack: list[Any], X: Array, targets: Array, batches: Array) -> Array:
    losses = []
    with np.errstate(all="ignore"):  # a net that diverges says so by its losses
        for rows in batches:
            loss, gradient = _cross_entropy(_forward(stack, X[rows]), targets[rows])
            for layer in reversed(stack):
                gradient = layer.backward(gradient)
            losses.append(loss)
    return np.stack(losses, axis=1)


def _forward(stack: list[Any], h: Array) -> Array:
    for layer in stack:
        h = layer.forward(h)
    return h


def _cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Mean over the batch for each net, and the gradient of that."""
    z = logits - logits.max(2, keepdims=True)
    p = np.exp(z)
    total = p.sum(2, keepdims=True)
    losses = np.log(total[..., 0]) - (z * targets).sum(2)
    return losses.mean(1), (p / total - targets) / len(targets)


def _sgd(lr: float, momentum: float) -> Rule:
    rate, kept, velocity = np.float32(-lr), np.float32(momentum), cast(Any, 0.0)

    def rule(gradient: Array) -> Array:
        nonlocal velocity
        gradient *= rate
        gradient += kept * velocity
        velocity = gradient
        return gradient

    return rule


def _adam(lr: float) -> Rule:
    steps, mean, square = count(1), cast(Any, 0.0), cast(Any, 0.0)

    def rule(gradient: Array) -> Array:
        nonlocal mean, square
        step = next(steps)
        mean = _BETA1 * mean + (_ONE - _BETA1) * gradient
        square = _BETA2 * square + (_ONE - _BETA2) * gradient * gradient
        rate = np.float32(-lr * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step))
        return np.asarray(rate * mean / (np.sqrt(square) + _EPSILON))

    return rule
