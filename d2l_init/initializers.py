"""Initializers that MXNet lacks, each of which knows the law of what it draws.

All take ``seed``. With ``seed=None`` draws follow ``mx.random.seed``, as MXNet's own do. With
``seed=n`` a parameter's values depend on n, its name and its shape alone: no two layers are twins,
MXNet's stream is left as it was, and layers added elsewhere change nothing, as long as names stay
the same. Gluon counts names up for ever (``dense0``, next time ``dense2``), so give blocks a
``prefix``. One seed gives different laws the same random words: such draws are coupled, not
independent of each other.

Values are the same on any number of cores, and but for the last bits of orthogonal ones on any
processor (see :mod:`d2l_init.filling`). float16 is float32's draw,
rounded once; float64 has a stream of its own. Importing this module registers every class under its
name in lower case, for ``net.initialize("sparse")``.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod, sqrt
from typing import Any

import mxnet as mx
import numpy as np
import scipy.stats
from numpy.typing import NDArray

from .arguments import number, one_of, whole
from .base import Drawn, Shape
from .draws import PlainDraw, plain_draw
from .filling import Entrywise, Fill, haar, mixture, normal, sparse, uniform
from .laws import Law, axes, else_zero, fans, haar_entry, of_layout


@lru_cache
def _cut_std(bound: float) -> float:
    """Standard deviation of a standard normal cut at ± bound."""
    return float(scipy.stats.truncnorm(-bound, bound).std())


@mx.init.register
class VarianceScaling(Drawn):
    """Mean 0 and variance ``scale`` / fan: Glorot, He and LeCun are cases of it.

    ``mode`` says which fan counts (``fan_in``, ``fan_out`` or ``fan_avg``, their mean);
    ``distribution`` is ``truncated_normal`` (cut at two standard deviations, then widened so that
    the variance is the one asked for), ``normal`` or ``uniform``. ``layout`` and ``groups`` as in
    :func:`d2l_init.fans`.

    >>> VarianceScaling(scale=2.0).law((8, 50)).std
    0.2

    Sources: LeCun et al. 1998, Glorot & Bengio 2010, He et al. 2015.
    Raises ValueError for a scale that is not positive and for unknown words.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        *,
        layout: str | None = None,
        groups: int = 1,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            scale=number("scale", scale, positive=True),
            mode=one_of("mode", mode, ("fan_in", "fan_out", "fan_avg")),
            distribution=one_of("distribution", distribution, _SCALED),
            layout=of_layout(layout),
            groups=whole("groups", groups, 1),
            seed=seed,
        )

    def law(self, shape: Shape) -> Law:
        return Law([(1.0, _SCALED[self.distribution][0](self._std(shape)))])

    def _filling(self, shape: Shape) -> Fill:
        return Entrywise(_SCALED[self.distribution][1](self._std(shape)))

    def _std(self, shape: Shape) -> float:
        fan_in, fan_out = fans(shape, layout=self.layout, groups=self.groups)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        return sqrt(self.scale / fan[self.mode])


# from a standard deviation to the law and to what draws it
_SCALED: dict[str, tuple[Callable[[float], Any], Callable[[float], Any]]] = {
    "truncated_normal": (
        lambda std: scipy.stats.truncnorm(-2, 2, scale=std / _cut_std(2.0)),
        lambda std: normal(0.0, std / _cut_std(2.0), 2.0),
    ),
    "normal": (lambda std: scipy.stats.norm(0, std), lambda std: normal(0.0, std)),
    "uniform": (
        lambda std: scipy.stats.uniform(-sqrt(3) * std, 2 * sqrt(3) * std),
        lambda std: uniform(-sqrt(3) * std, sqrt(3) * std),
    ),
}


def glorot_uniform(**options: Any) -> VarianceScaling:
    """U(±√(6/(fan-in + fan-out))): variance 1 over the mean fan (Glorot & Bengio 2010, eq. 16).

    ``options``, here and below: ``layout``, ``groups`` and ``seed`` of :class:`VarianceScaling`.
    """
    return VarianceScaling(1.0, "fan_avg", "uniform", **options)


def glorot_normal(**options: Any) -> VarianceScaling:
    """The same variance from a truncated normal, as Keras and JAX mean the name."""
    return VarianceScaling(1.0, "fan_avg", "truncated_normal", **options)


def he_uniform(**options: Any) -> VarianceScaling:
    """U(±√(6/fan-in)): variance 2/fan-in, for ReLU (He et al. 2015, eq. 10)."""
    return VarianceScaling(2.0, "fan_in", "uniform", **options)


def he_normal(**options: Any) -> VarianceScaling:
    """The same variance from a truncated normal, as Keras and JAX mean the name."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal", **options)


def lecun_uniform(**options: Any) -> VarianceScaling:
    """U(±√(3/fan-in)): variance 1/fan-in (LeCun et al. 1998, section 4.6)."""
    return VarianceScaling(1.0, "fan_in", "uniform", **options)


def lecun_normal(**options: Any) -> VarianceScaling:
    """The same variance from a truncated normal; the start that SELU needs."""
    return VarianceScaling(1.0, "fan_in", "truncated_normal", **options)


@mx.init.register
class TruncatedNormal(Drawn):
    """A normal law, cut at ``bound`` standard deviations on either side of the mean.

    ``std`` is the one before the cut, as in Keras and JAX; the law has the one after it. (PyTorch's
    ``trunc_normal_`` cuts at numbers, −2 and 2: with a small ``std`` it cuts nothing.)

    >>> round(TruncatedNormal(std=1.0).law((8, 4)).std, 4)
    0.8796

    Raises ValueError when std or bound is not positive or mean is not finite.
    """

    def __init__(
        self, std: float = 0.02, mean: float = 0.0, bound: float = 2.0, *, seed: int | None = None
    ) -> None:
        super().__init__(
            std=number("std", std, positive=True),
            mean=number("mean", mean),
            bound=number("bound", bound, positive=True),
            seed=seed,
        )

    def law(self, shape: Shape) -> Law:
        cut = scipy.stats.truncnorm(-self.bound, self.bound, loc=self.mean, scale=self.std)
        return Law([(1.0, cut)])

    def _filling(self, shape: Shape) -> Fill:
        return Entrywise(normal(self.mean, self.std, self.bound))


@mx.init.register
class HaarOrthogonal(Drawn):
    """``gain`` times a matrix with orthonormal rows or columns, every such matrix equally likely.

    Axes after the first are flattened; the shorter side is the orthonormal one. Of the stacked
    gates of a recurrent layer the stack is orthogonal, not each gate.

    >>> w = HaarOrthogonal(seed=0).sample((3, 5), "float64")
    >>> bool(np.allclose(w @ w.T, np.eye(3)))
    True

    Sources: Saxe et al. 2013; Stewart 1980 and Mezzadri 2007 for the uniform law.
    Raises ValueError when gain is not positive, or for a shape of one axis.
    """

    def __init__(self, gain: float = 1.0, *, seed: int | None = None) -> None:
        super().__init__(gain=number("gain", gain, positive=True), seed=seed)

    def law(self, shape: Shape) -> Law:
        return Law(haar_entry(self.gain, *_matrix(shape)))

    def _filling(self, shape: Shape) -> Fill:
        matrix = _matrix(shape)

        def fill(out: NDArray[Any], seeds: Sequence[int]) -> None:
            np.multiply(haar(matrix, seeds, out.dtype), self.gain, out.reshape(matrix))

        return fill


def _matrix(shape: Shape) -> tuple[int, int]:
    axes(shape)  # refuses what is no weight of a layer
    return shape[0], prod(shape[1:])


class _Centred(Drawn):
    """What acts at the kernel's centre tap and leaves the others at zero."""

    def __init__(
        self,
        gain: float = 1.0,
        *,
        layout: str | None = None,
        groups: int = 1,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            gain=number("gain", gain, positive=True),
            layout=of_layout(layout),
            groups=whole("groups", groups, 1),
            seed=seed,
        )

    def _blocks(self, out: NDArray[Any]) -> list[NDArray[Any]]:
        """Views of the centre tap, one matrix (outputs, inputs) for each group."""
        letters = axes(out.shape, self.layout, self.groups)
        sizes = dict(zip(letters, out.shape, strict=True))
        if any(size % 2 == 0 for letter, size in sizes.items() if letter in "DHW"):
            raise ValueError(f"a kernel of even size has no centre, got {letters} = {out.shape}")
        centre = [slice(None) if letter in "OI" else sizes[letter] // 2 for letter in letters]
        blocks = np.split(out[tuple(centre)], self.groups)
        return blocks if letters[0] == "O" else [block.T for block in blocks]

    def _block_shapes(self, shape: Shape) -> list[Shape]:
        nothing = np.broadcast_to(np.float32(0), shape)  # takes no memory
        return [block.shape for block in self._blocks(nothing)]

    def _filling(self, shape: Shape) -> Fill:
        self._block_shapes(shape)

        def fill(out: NDArray[Any], seeds: Sequence[int]) -> None:
            out[...] = 0
            for place, block in enumerate(self._blocks(out)):
                self._fill_block(block, [*seeds, place])

        return fill

    def _fill_block(self, block: NDArray[Any], seeds: Sequence[int]) -> None:
        raise NotImplementedError


@mx.init.register
class DeltaOrthogonal(_Centred):
    """For convolutions: an orthogonal matrix at the kernel's centre, zero at every other tap.

    Every signal keeps its norm up to ``gain`` (stride 1, padding by half the kernel).

    >>> DeltaOrthogonal().law((8, 4, 3, 3)).atoms[0.0]
    0.8888888888888888

    Source: Xiao et al. 2018, section 3. Raises ValueError when gain is not positive, for kernels
    of even size, and for more inputs than outputs (no such matrix keeps every norm).
    """

    def law(self, shape: Shape) -> Law:
        blocks = self._block_shapes(shape)
        entry = haar_entry(self.gain, *blocks[0])
        return else_zero(sum(map(prod, blocks)) / prod(shape), entry)

    def _block_shapes(self, shape: Shape) -> list[Shape]:
        blocks = super()._block_shapes(shape)
        outputs, inputs = blocks[0]
        if inputs > outputs:
            raise ValueError(
                "DeltaOrthogonal needs at least as many outputs as inputs (per group), "
                f"got {outputs} outputs and {inputs} inputs in shape {shape}; take it where it "
                f"fits, once shapes are known: {_WHERE_IT_FITS}"
            )
        return blocks

    def _fill_block(self, block: NDArray[Any], seeds: Sequence[int]) -> None:
        block[...] = self.gain * haar(block.shape, seeds, block.dtype)


_WHERE_IT_FITS = (
    "for p in net.collect_params().values(): p.initialize(default_init=DeltaOrthogonal() "
    "if len(p.shape) > 2 and p.shape[0] >= p.shape[1] else he_normal(), force_reinit=True)"
)


@mx.init.register
class Identity(_Centred):
    """``gain`` times the identity: ones on the diagonal, at the kernel's centre for convolutions.

    A layer with as many outputs as inputs hands its input on unchanged; with more or fewer, the
    first ones. With ``groups`` each group hands on its own (PyTorch's ``dirac_``).

    >>> Identity().sample((2, 3)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]

    Source: Le et al. 2015; Zagoruyko & Komodakis 2017 for the convolution ("Dirac").
    Raises ValueError when gain is not positive and for kernels of even size.
    """

    def law(self, shape: Shape) -> Law:
        kept = sum(min(block) for block in self._block_shapes(shape))
        return else_zero(kept / prod(shape), [(1, self.gain)])

    def _fill_block(self, block: NDArray[Any], seeds: Sequence[int]) -> None:
        np.fill_diagonal(block, self.gain)


@mx.init.register
class Sparse(Drawn):
    """Each output has ``nonzero`` inputs, chosen at random, with weights N(0, std²), and no more.

    Axes after the first are flattened into the inputs; where there are fewer, all are taken.

    >>> int((Sparse(nonzero=3, seed=0).sample((10, 40)) != 0).sum())
    30

    Source: Martens 2010, section 5. Raises ValueError when nonzero is no whole number of at least
    1, std is not positive, or the shape has one axis.
    """

    def __init__(self, nonzero: int = 15, std: float = 1.0, *, seed: int | None = None) -> None:
        super().__init__(
            nonzero=whole("nonzero", nonzero, 1), std=number("std", std, positive=True), seed=seed
        )

    def law(self, shape: Shape) -> Law:
        inputs = _matrix(shape)[1]
        chosen = min(self.nonzero, inputs) / inputs
        return else_zero(chosen, [(1.0, scipy.stats.norm(0, self.std))])

    def _filling(self, shape: Shape) -> Fill:
        matrix, fill = _matrix(shape), sparse(self.nonzero, self.std)
        return lambda out, seeds: fill(out.reshape(matrix), seeds)


@mx.init.register
class Mixture(Drawn):
    """Each entry picks one of several draws: ``Mixture([(p, draw), ...])``.

    A draw is a number, a pair (low, high) for the uniform between them, or a frozen continuous
    distribution of scipy.stats by its name there, such as ``scipy.stats.laplace(0, 0.1)``.

    >>> strange = Mixture([(1/4, (5, 10)), (1/2, 0), (1/4, (-10, -5))])
    >>> strange.law((8, 4)).atoms, round(strange.law((8, 4)).std, 3)
    ({0.0: 0.5}, 5.401)

    Raises ValueError when the probabilities are not positive or don't sum to 1, and for a draw
    of another kind.
    """

    def __init__(self, parts: Sequence[tuple[float, Any]], *, seed: int | None = None) -> None:
        try:
            pairs = [(number("probability", p, positive=True), plain_draw(d)) for p, d in parts]
        except TypeError:
            raise ValueError(f"parts must be pairs (probability, draw), got {parts!r}") from None
        Law([(chance, 0.0) for chance, _ in pairs])  # refuses chances that don't sum to 1
        super().__init__(parts=[[chance, draw.plain] for chance, draw in pairs], seed=seed)

    def _draws(self) -> list[tuple[float, PlainDraw]]:
        return [(chance, PlainDraw(plain)) for chance, plain in self._kwargs["parts"]]

    def _shown(self) -> dict[str, Any]:
        return {**self._kwargs, "parts": self._draws()}

    def law(self, shape: Shape) -> Law:
        return Law([(chance, draw.distribution) for chance, draw in self._draws()])

    def _filling(self, shape: Shape) -> Fill:
        return Entrywise(mixture([(chance, draw.drawn) for chance, draw in self._draws()]))
