"""What is wrong with a net: one pass that collects what the rules read.

Nothing here knows a framework: the net decides which one is asked.
"""

from collections.abc import Callable
from typing import Any

from ..arguments import number
from ..frameworks import made_for
from .diagnosis import Diagnosis
from .trace import check_given


def diagnose(
    net: Any,
    X: Any,
    y: Any = None,
    loss: Callable[[Any, Any], Any] | None = None,
    *,
    lr: float | None = None,
) -> Diagnosis:
    """What is wrong with a net at its start, where, why, and a line of code that cures it.

    One pass over the batch X, and back with a loss (the mean of ``loss(net(X), y)``), in training
    mode without dropout; ``lr`` is the rate at which plain gradient descent would go on. Looked at
    are values that aren't finite, inputs, signal and gradient by layer, weights that nothing can
    tell apart, saturated and dead units, inputs that become one, the loss at the start and the
    output bias (softmax cross-entropy of classes only), updates, and blocks that are never called.

    The result prints as text and shows as a table with a picture; ``ok`` says that nothing was
    found, ``to_frame()`` has a row a finding. A cure runs where ``net, X, y, loss, lr``,
    ``d2l_init`` and MXNet's ``np``, or ``torch``, are known. What chance does to a net of its
    width and depth is no finding. The net is left as it was except for shapes that the pass
    settles.

    >>> from mxnet import init, np, npx
    >>> from mxnet.gluon import nn
    >>> npx.set_np()
    >>> net = nn.Dense(2, in_units=2, prefix="layer_")
    >>> net.initialize(init.One())
    >>> diagnose(net, np.array([[300.0, -100.0], [-200.0, 0.0]]))
    1 finding. Looked at: 1 layer, a batch of 2, signals.
    1. inputs: X
       X has rms 187 and standard deviation 187; layers expect 1. See chapter 05, "Which variance
       does the first layer need?".
       Cure: X = (X - X.mean()) / X.std()
    No gradients without a loss: diagnose(net, X, y, loss) looks at them too.

    Raises ValueError as :func:`d2l_init.trace` does, and for an ``lr`` that is no positive number.
    Source: the width's share in what chance does is from Hanin & Nica 2018.
    """
    rate = None if lr is None else number("lr", lr, positive=True)
    check_given(y, loss)
    found: Diagnosis = made_for(net, ".lab.{}_diagnose").judged(net, X, y, loss, rate)
    return found
