"""Training many nets: Gluon's loop, and for stacks of plain nets the same in NumPy, faster."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn
from numpy.typing import NDArray

from ..arguments import number, one_of, whole
from ..threads import cores, one_blas_thread, side_by_side

Array = NDArray[Any]
_Layer = tuple[Any, str | None]  # a Dense block and its activation

_TOGETHER = 4  # nets in a product: enough to keep Python out of the way, few enough for the cache
_EXAMPLES = 512  # examples in a pass that needs no gradient


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
    lr, momentum = number("lr", lr, positive=True), number("momentum", momentum)
    rates = {"sgd": {"learning_rate": lr, "momentum": momentum}, "adam": {"learning_rate": lr}}
    rule = one_of("optimizer", optimizer, rates), rates[optimizer]
    X, y = _examples(nets, X, y)
    batches = _batches(len(X), whole("steps", steps, 1), whole("batch_size", batch_size, 1), seed)
    losses: dict[int, Array] = {}
    with one_blas_thread():  # these products are too small to share
        stacks = _stacks(nets, X)
        found = side_by_side(lambda stack: stack.train(X, y, batches, *rule), stacks)
    for stack, rows in zip(stacks, found, strict=True):
        losses |= dict(zip(stack.places, rows, strict=True))
    rest = (k for k in range(len(nets)) if k not in losses)
    losses |= {k: _by_gluon(nets[k], X, y, batches, *rule) for k in rest}
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
    right: dict[int, float] = {}
    with one_blas_thread(), np.errstate(all="ignore"):  # nets that have diverged
        stacks = _stacks(nets, X)
        found = side_by_side(lambda stack: stack.classes(X) == y, stacks)
    for stack, hits in zip(stacks, found, strict=True):
        right |= dict(zip(stack.places, hits.mean(1), strict=True))
    rest = (k for k in range(len(nets)) if k not in right)
    right |= {k: (_scores(nets[k], X).argmax(-1) == y).mean() for k in rest}
    return np.array([right[k] for k in range(len(nets))])


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
    parts = (X[k : k + _EXAMPLES] for k in range(0, max(1, len(X)), _EXAMPLES))
    try:
        with autograd.pause():
            return np.concatenate([net(_array(net, part)).asnumpy() for part in parts])
    except mx.MXNetError as error:
        shape = X.shape[1:]
        raise ValueError(
            f"X must be examples that {net} takes, got some of shape {shape}"
        ) from error


def _array(net: Any, values: Array, **dtype: Any) -> Any:
    """An array on the net's context and of its dtype."""
    first = next(iter(net.collect_params().values()), None)
    if first is None or len(first.list_ctx()) > 1:
        raise ValueError(f"nets must have parameters, each on one context, got {net}")
    array = mx.np.array if mx.util.is_np_array() else mx.nd.array
    return array(values, ctx=first.list_ctx()[0], **{"dtype": first.dtype, **dtype})


def _batches(examples: int, steps: int, batch_size: int, seed: int) -> Array:
    if batch_size > examples:
        raise ValueError(f"batch_size must be at most {examples}, the examples, got {batch_size}")
    stream, size = np.random.default_rng(whole("seed", seed, 0)), steps * batch_size
    epochs = [stream.permutation(examples) for _ in range(-(-size // examples))]
    return np.asarray(np.concatenate(epochs)[:size].reshape(steps, batch_size))


def _by_gluon(net: Any, X: Array, y: Array, batches: Array, optimizer: str, rates: Any) -> Array:
    """The losses of a net trained as anybody would: the rule."""
    trainer = gluon.Trainer(net.collect_params(), optimizer, rates, kvstore=None)
    loss, losses = gluon.loss.SoftmaxCrossEntropyLoss(), []
    for rows in batches:
        with autograd.record():
            value = loss(net(_array(net, X[rows])), _array(net, y[rows], dtype="int32")).mean()
        value.backward()
        trainer.step(1, ignore_stale_grad=True)  # of layers that the net doesn't use
        losses.append(value.asnumpy().ravel())
    return np.concatenate(losses)


def _stacks(nets: Sequence[Any], X: Array) -> list["_Stack"]:
    """The plain nets, those of one shape together, shared evenly between the threads."""
    users = Counter(chain(*(net.collect_params().values() for net in nets)))
    alike: dict[Any, dict[int, list[_Layer]]] = {}
    for k, net in enumerate(nets):
        if X.ndim == 2 and (layers := _layers(net, users)):
            shape = tuple((d.weight.shape, d.bias is None, act) for d, act in layers)
            alike.setdefault((shape, np.dtype(layers[0][0].weight.dtype)), {})[k] = layers
    return [
        _Stack({int(k): same[k] for k in some})
        for same in alike.values()
        for some in np.array_split(
            list(same), max(min(cores(), len(same)), -(-len(same) // _TOGETHER))
        )
    ]


def _layers(net: Any, users: Counter[Any]) -> list[_Layer]:
    """The Dense blocks of a plain net, each with its activation; none of another net."""
    layers: list[_Layer] = []
    for block in _leaves(net):
        if type(block) is nn.Dense:
            layers.append((block, block.act and block.act._act_type))
        elif type(block) is nn.Activation and layers and not layers[-1][1]:
            layers[-1] = layers[-1][0], block._act_type
        else:
            return []
    owned = [p for dense, _ in layers for p in dense.params.values()]
    about = {(users[p], owned.count(p), type(p), p.grad_req, p.lr_mult) for p in owned}
    as_born = about == {(1, 1, gluon.Parameter, "write", 1.0)}
    one_kind = {np.dtype(p.dtype).char for p in owned} in ({"f"}, {"d"})
    known = {act for _, act in layers} <= {None, "relu", "tanh"}
    return layers if as_born and one_kind and known else []


def _leaves(block: Any) -> Iterator[Any]:
    """Blocks inside containers that only chain them; a subclass or a hook may do anything."""
    touched = any(
        one._forward_hooks or one._forward_pre_hooks or "forward" in vars(one)
        for one in (block, *block._children.values())
    )
    if type(block) in (nn.Sequential, nn.HybridSequential) and not touched:
        yield from chain(*map(_leaves, block._children.values()))
    else:
        yield None if touched else block


class _Stack:
    """Plain nets of one shape in NumPy: parameters are views into one array, slopes too."""

    def __init__(self, nets: dict[int, list[_Layer]]) -> None:
        self.places, stack = list(nets), list(nets.values())
        self.acts = [act for _, act in stack[0]]
        self.owners = {
            (k, name): [getattr(dense, name) for dense, _ in same]
            for k, same in enumerate(zip(*stack, strict=True))
            for name in same[0][0]._reg_params
        }
        like = {key: np.stack([p.data().asnumpy() for p in o]) for key, o in self.owners.items()}
        self.flat = np.concatenate([one.ravel() for one in like.values()])
        self.slope = np.zeros_like(self.flat)
        self.w, self.g = _views(self.flat, like), _views(self.slope, like)

    def train(self, X: Array, y: Array, batches: Array, optimizer: str, rates: Any) -> Array:
        """What Gluon's loop gives for each net, shape (nets, steps)."""
        X, losses = X.astype(self.flat.dtype), []
        state = np.zeros((2, self.flat.size), self.flat.dtype)
        with np.errstate(all="ignore"):  # a net that diverges says so by its losses
            for step, rows in enumerate(batches, 1):
                signals = self.forward(X[rows])
                loss, back = _cross_entropy(signals[-1], y[rows])
                self.backward(signals, back)
                _UPDATES[optimizer](step, self.flat, self.slope, *state, **rates)
                losses.append(loss)
        for key, same in self.owners.items():
            for parameter, value in zip(same, self.w[key], strict=True):
                parameter.set_data(value)
        return np.stack(losses, axis=1)

    def forward(self, x: Array) -> list[Array]:
        """The inputs and what each layer makes of them, shape (nets, examples, units)."""
        signals = [x.astype(self.flat.dtype, copy=False)]
        for k, act in enumerate(self.acts):
            z = np.matmul(signals[-1], self.w[k, "weight"].swapaxes(1, 2))
            if (k, "bias") in self.w:
                z += self.w[k, "bias"][:, None]
            signals.append(np.tanh(z, z) if act == "tanh" else np.maximum(z, 0, z) if act else z)
        return signals

    def classes(self, X: Array) -> Array:
        """The class that each net gives each example, a part of them at a time."""
        parts = (X[k : k + _EXAMPLES] for k in range(0, len(X), _EXAMPLES))
        return np.concatenate([self.forward(part)[-1].argmax(2) for part in parts], axis=1)

    def backward(self, signals: list[Array], back: Array) -> None:
        """The slopes of the parameters, from that of the last signal."""
        for k, act in reversed(list(enumerate(self.acts))):
            if act:
                h = signals[k + 1]
                back *= 1 - h * h if act == "tanh" else h > 0
            np.matmul(back.swapaxes(1, 2), signals[k], out=self.g[k, "weight"])
            if (k, "bias") in self.g:
                np.sum(back, 1, out=self.g[k, "bias"])
            if k:
                back = np.matmul(back, self.w[k, "weight"])


def _views(flat: Array, like: dict[Any, Array]) -> dict[Any, Array]:
    parts = np.split(flat, np.cumsum([one.size for one in like.values()])[:-1])
    return {key: part.reshape(like[key].shape) for key, part in zip(like, parts, strict=True)}


def _cross_entropy(logits: Array, y: Array) -> tuple[Array, Array]:
    """Mean over the batch for each net, and its slope."""
    targets = np.eye(logits.shape[2], dtype=logits.dtype)[y]
    z = logits - logits.max(2, keepdims=True)
    p = np.exp(z)
    total = p.sum(2, keepdims=True)
    losses = np.log(total[..., 0]) - (z * targets).sum(2)
    return losses.mean(1), (p / total - targets) / len(y)


# MXNet's operators take their settings in single precision, and so do these.


def _sgd(_: int, w: Array, g: Array, v: Array, __: Array, **rates: float) -> None:
    v *= np.float32(rates["momentum"])
    v -= np.multiply(g, np.float32(rates["learning_rate"]), g)
    w += v


def _adam(step: int, w: Array, g: Array, m: Array, v: Array, *, learning_rate: float) -> None:
    beta1, beta2, one = map(np.float32, (0.9, 0.999, 1))
    m *= beta1
    m += (one - beta1) * g
    v *= beta2
    v += (one - beta2) * g * g
    rate = np.float32(learning_rate * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step))
    w -= rate * m / (np.sqrt(v) + np.float32(1e-8))


_UPDATES: dict[str, Any] = {"sgd": _sgd, "adam": _adam}
