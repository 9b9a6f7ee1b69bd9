"""What signals and gradients do on their way through the blocks of a net, measured.

Nothing here knows a framework: the net decides which one takes the record.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..arguments import whole
from ..frameworks import made_for
from .signals import Trace as Trace


def trace(
    net: Any,
    X: Any,
    y: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    *,
    training: bool = False,
    bins: int | ArrayLike | None = None,
    containers: bool = False,
) -> Trace:
    """Statistics of what each block puts out for the batch X and, with a loss, of its gradients.

    There is a row for each call of a block that has parameters of its own or no children, with
    ``containers`` for one of every block: the residual stream, say. An activation built into a
    block is part of that block; of several outputs the first counts. ``X`` is an array, or a tuple
    or list of them for a net with several inputs. The columns:

    - ``block, shape``: the block's class, its output's shape; ``weights``: entries of the block's
      own parameters with at least 2 axes; ``activation``: the name of what made the output, if that
      is Gluon's activation or works entry by entry, else ``""``;
    - ``mean, std, mean_square`` of the output's entries;
    - ``zero``: share of entries that are 0; ``dead``: share of units that are 0 for every input and
      at every place. Units lie along the channel axis of the block (or, for one that keeps the
      shape, of the one before it), else along axis 1 of an output with 4 or 5 axes, else the last;
    - ``saturated``: share of entries within 0.01 of a bound of tanh, sigmoid or softsign, NaN
      after anything else; ``nonfinite``: share of entries that are infinite or NaN;
    - with ``loss``, of the mean over the batch of ``loss(net(X), y)``: ``grad_std,
      grad_mean_square`` of the gradient by the output; ``weight_std, weight_grad_std`` of the
      ``weights`` (over all calls of a block), ``update_ratio``, the second over the first. NaN
      where there are none, gradients also where they are frozen. They are MXNet's, whose slope of
      SELU is a little off.

    A ``torch.nn.Module`` is traced alike, by its modules' names. An attention and a parametrized
    layer are one row each; an activation called as a function is no module and has none; what
    ``torch.compile`` made is looked at as it was written. All of the net stays as it was, its mode,
    buffers and gradients and the random stream too.

    ``training`` puts dropout and batch norm into training mode. ``bins``, a number or the edges for
    the outputs, keeps histograms: gradients get as many bins over their own range. Except for
    shapes that this pass settles (which draws their weights), the net is left as it was.

    >>> from mxnet import init, np, npx
    >>> from mxnet.gluon import nn
    >>> npx.set_np()
    >>> net = nn.Sequential()
    >>> net.add(nn.Dense(4, prefix="hidden_"), nn.Activation("relu", prefix="relu_"))
    >>> net.initialize(init.One())
    >>> trace(net, np.array([[1, 2], [-1, -2]])).to_frame()["mean"].to_dict()
    {'hidden': 0.0, 'relu': 1.5}

    Raises ValueError when net is no initialized block with parameters, X no array, one of y and
    loss is missing, the loss is neither a number nor one for each example, or no block was called;
    and for a PyTorch net that is scripted or checkpoints with ``use_reentrant=True``.
    """
    check_given(y, loss)
    recorder = made_for(net, ".lab.{}_trace")
    made: Trace = recorder.measured(
        net, X, y, loss, training=training, bins=checked_bins(bins), containers=containers
    )
    return made


def check_given(y: Any, loss: Any) -> None:
    if (y is None) != (loss is None):
        given = "loss without y" if y is None else "y without loss"
        raise ValueError(f"y and loss must be given together, got {given}")
    if loss is not None and not callable(loss):
        raise ValueError(f"loss must be callable as loss(net(X), y), got {loss!r}")


def check_loss(shape: Any, examples: list[int]) -> None:
    """Refuses the shape of a loss that is neither one number nor one for each example."""
    known = isinstance(shape, tuple)
    if not known or not (np.prod(shape) == 1 or (len(shape) == 1 and shape[0] in examples)):
        raise ValueError(
            f"loss must return one number or one for each of the {examples} examples, got {shape}"
        )


def checked_bins(bins: Any) -> Any:
    if bins is None or np.ndim(bins) == 0:
        return None if bins is None else whole("bins", bins, 1)
    if np.ndim(bins) == 1 and len(bins) > 1 and (np.diff(bins) > 0).all():
        return np.asarray(bins, dtype=float)
    raise ValueError(f"bins must be a whole number of at least 1 or rising edges, got {bins!r}")
