"""Initializers that MXNet lacks, each of which knows the law of what it draws.

All take ``seed``. With ``seed=None`` draws follow ``mx.random.seed``, as MXNet's own do. With
``seed=n`` a parameter's values depend on n, its name and its shape alone: no two layers are twins,
MXNet's stream is left as it was, and layers added elsewhere change nothing, as long as names stay
the same. Gluon counts names up for ever (``dense0``, next time ``dense2``), so give blocks a
``prefix``.

Values are drawn in float64 and rounded once to the parameter's dtype (float16 by way of float32):
the last bit of a library's logarithm, which differs between machines, is rounded away. Importing
this module registers every class under its name in lower case, for ``net.initialize("sparse")``.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from inspect import signature
from math import isfinite, prod, sqrt
from numbers import Real
from typing import Any

import mxnet as mx
import numpy as np
import scipy.linalg
import scipy.stats
from numpy.random import SFC64, Generator, SeedSequence
from numpy.typing import DTypeLike, NDArray
from scipy.special import ndtr, ndtri

from .arguments import number as _real, one_of, whole as _whole
from .laws import Floats, Law, axes, fans
from .threads import one_blas_thread, side_by_side

Sampler = Callable[[Generator, int], Floats]
Shape = tuple[int, ...]

# Fixed, whatever the machine: each chunk of an array has a stream of its own, so that the values
# don't depend on how many threads share the work. The block is what fits a core's cache.
_CHUNK, _BLOCK = 2**20, 2**17


class _Drawn(mx.init.Initializer):
    """What all share: arguments, equality, streams, dtype and the copy into MXNet.

    A subclass gives its law(shape) and either _sampler(shape), for entries drawn one by one, or
    _fill(out, seeds), for arrays whose entries depend on each other.
    """

    def __init__(self, *, seed: int | None, **arguments: Any) -> None:
        if seed is not None:
            seed = _whole("seed", seed, 0)
        super().__init__(**arguments, seed=seed)
        self.__dict__.update(self._kwargs)

    def __repr__(self) -> str:
        defaults = signature(type(self)).parameters
        given = {k: v for k, v in self._shown().items() if v != defaults[k].default}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in given.items())})"

    def __hash__(self) -> int:
        return hash((type(self), self.dumps()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Drawn):
            return NotImplemented
        return type(self) is type(other) and self.dumps() == other.dumps()

    def _shown(self) -> dict[str, Any]:
        return dict(self._kwargs)

    def law(self, shape: Shape) -> Law:
        """The law of one entry of a weight of this shape."""
        raise NotImplementedError

    def sample(self, shape: int | Sequence[int], dtype: DTypeLike = "float32") -> NDArray[Any]:
        """A NumPy array of this shape and dtype, drawn as for a parameter named ``weight``."""
        sizes = tuple(int(size) for size in np.atleast_1d(shape))
        return self._draw("weight", sizes, dtype)

    def _init_weight(self, name: str, arr: Any) -> None:
        try:
            arr[:] = self._draw(str(name), arr.shape, arr.dtype)
        except ValueError as error:
            raise ValueError(f"parameter {str(name)!r}: {error}") from None

    def _draw(self, name: str, shape: Shape, dtype: DTypeLike) -> NDArray[Any]:
        kind = np.dtype(dtype)
        if kind.name not in ("float16", "float32", "float64"):
            raise ValueError(f"dtype must be float16, float32 or float64, got {kind.name}")
        out = np.zeros(shape, np.promote_types(kind, "float32"))
        self._fill(out, self._seeds(name, shape))
        return out.astype(kind, copy=False)

    def _seeds(self, name: str, shape: Shape) -> list[int]:
        if self.seed is None:
            words = mx.nd.random.randint(-(2**31), 2**31 - 1, shape=(4,), ctx=mx.cpu())
            return [int(word) % 2**32 for word in words.asnumpy()]
        words = sha256(f"{name} {tuple(shape)}".encode()).digest()
        return [self.seed, int.from_bytes(words, "big")]

    def _fill(self, out: NDArray[Any], seeds: list[int]) -> None:
        sampler, flat = self._sampler(out.shape), out.reshape(-1)

        def fill(chunk: int) -> None:
            stream, end = _stream(seeds, chunk), min((chunk + 1) * _CHUNK, flat.size)
            for start in range(chunk * _CHUNK, end, _BLOCK):
                block = flat[start : min(start + _BLOCK, end)]
                block[:] = sampler(stream, block.size)

        chunks = range(-(-flat.size // _CHUNK))
        side_by_side(fill, chunks)

    def _sampler(self, shape: Shape) -> Sampler:
        raise NotImplementedError


def _stream(seeds: list[int], number: int = 0) -> Generator:
    return Generator(SFC64(SeedSequence(seeds, spawn_key=(number,))))


@lru_cache
def _cut_std(bound: float) -> float:
    """Standard deviation of a standard normal cut at ± bound."""
    return float(scipy.stats.truncnorm(-bound, bound).std())


@mx.init.register
class VarianceScaling(_Drawn):
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

    scale: float
    mode: str
    distribution: str
    layout: str | None
    groups: int

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
            scale=_real("scale", scale, positive=True),
            mode=one_of("mode", mode, ("fan_in", "fan_out", "fan_avg")),
            distribution=one_of("distribution", distribution, _SCALED),
            layout=_known_layout(layout),
            groups=_whole("groups", groups, 1),
            seed=seed,
        )

    def law(self, shape: Shape) -> Law:
        return Law([(1.0, _SCALED[self.distribution](self._std(shape)))])

    def _std(self, shape: Shape) -> float:
        fan_in, fan_out = fans(shape, layout=self.layout, groups=self.groups)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        return sqrt(self.scale / fan[self.mode])

    def _sampler(self, shape: Shape) -> Sampler:
        std = self._std(shape)
        if self.distribution == "normal":
            return lambda stream, size: stream.normal(0, std, size)
        if self.distribution == "uniform":
            return lambda stream, size: stream.uniform(-sqrt(3) * std, sqrt(3) * std, size)
        return partial(_truncated, mean=0.0, std=std / _cut_std(2.0), bound=2.0)


_SCALED: dict[str, Callable[[float], Any]] = {
    "truncated_normal": lambda std: scipy.stats.truncnorm(-2, 2, scale=std / _cut_std(2.0)),
    "normal": lambda std: scipy.stats.norm(0, std),
    "uniform": lambda std: scipy.stats.uniform(-sqrt(3) * std, 2 * sqrt(3) * std),
}


def _known_layout(layout: str | None) -> str | None:
    spaces = ("", "W", "HW", "DHW")
    known = {f"OI{s}" for s in spaces} | {f"O{s}I" for s in spaces}
    known |= {word.translate(str.maketrans("IO", "OI")) for word in known}
    return layout if layout is None else one_of("layout", layout, sorted(known))


def _truncated(stream: Generator, size: int, mean: float, std: float, bound: float) -> Floats:
    # by the inverse of the normal CDF, on its lower half, where it is accurate however far out
    side = 2 * stream.random(size) - 1
    below = 0.5 - np.abs(side) * (0.5 - ndtr(-bound))
    return np.asarray(mean - std * np.copysign(ndtri(below), side))


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
class TruncatedNormal(_Drawn):
    """A normal draw, drawn again while it is over ``bound`` standard deviations from the mean.

    ``std`` is the one before the cut, as in PyTorch, Keras and JAX; the law has the one after it.

    >>> round(TruncatedNormal(std=1.0).law((8, 4)).std, 4)
    0.8796

    Raises ValueError when std or bound is not positive or mean is not finite.
    """

    std: float
    mean: float
    bound: float

    def __init__(
        self, std: float = 0.02, mean: float = 0.0, bound: float = 2.0, *, seed: int | None = None
    ) -> None:
        super().__init__(
            std=_real("std", std, positive=True),
            mean=_real("mean", mean),
            bound=_real("bound", bound, positive=True),
            seed=seed,
        )

    def law(self, shape: Shape) -> Law:
        cut = scipy.stats.truncnorm(-self.bound, self.bound, loc=self.mean, scale=self.std)
        return Law([(1.0, cut)])

    def _sampler(self, shape: Shape) -> Sampler:
        return partial(_truncated, mean=self.mean, std=self.std, bound=self.bound)


@mx.init.register
class HaarOrthogonal(_Drawn):
    """``gain`` times a matrix with orthonormal rows or columns, every such matrix equally likely.

    Axes after the first are flattened; the shorter side is the orthonormal one.

    >>> w = HaarOrthogonal(seed=0).sample((3, 5), "float64")
    >>> bool(np.allclose(w @ w.T, np.eye(3)))
    True

    Sources: Saxe et al. 2013; Stewart 1980 and Mezzadri 2007 for the uniform law.
    Raises ValueError when gain is not positive, or for a shape of one axis.
    """

    gain: float

    def __init__(self, gain: float = 1.0, *, seed: int | None = None) -> None:
        super().__init__(gain=_real("gain", gain, positive=True), seed=seed)

    def law(self, shape: Shape) -> Law:
        return Law(_haar_entry(self.gain, *_matrix(shape)))

    def _fill(self, out: NDArray[Any], seeds: list[int]) -> None:
        rows, columns = _matrix(out.shape)
        out[...] = (self.gain * _haar(_stream(seeds), rows, columns)).reshape(out.shape)


def _matrix(shape: Shape) -> tuple[int, int]:
    axes(shape)  # refuses what is no weight of a layer
    return shape[0], prod(shape[1:])


def _haar_entry(gain: float, rows: int, columns: int) -> list[tuple[float, Any]]:
    """A row (or column) is uniform on the unit sphere of the longer side's dimension."""
    half = (max(rows, columns) - 1) / 2
    if half == 0:
        return [(0.5, -gain), (0.5, gain)]
    return [(1.0, scipy.stats.beta(half, half, loc=-gain, scale=2 * gain))]


def _haar(stream: Generator, rows: int, columns: int) -> Floats:
    gaussian = stream.standard_normal((max(rows, columns), min(rows, columns)))
    # one BLAS thread: with two, sums are taken in another order and the last bits differ
    with one_blas_thread():
        q, r = scipy.linalg.qr(gaussian, mode="economic", overwrite_a=True, check_finite=False)
    q *= np.copysign(1, np.diagonal(r))  # the sign rule that makes Q Haar (Mezzadri 2007)
    return np.asarray(q if rows >= columns else q.T)


class _Centred(_Drawn):
    """What acts at the kernel's centre tap and leaves the others at zero."""

    gain: float
    layout: str | None
    groups: int

    def __init__(
        self,
        gain: float = 1.0,
        *,
        layout: str | None = None,
        groups: int = 1,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            gain=_real("gain", gain, positive=True),
            layout=_known_layout(layout),
            groups=_whole("groups", groups, 1),
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
        blocks = self._blocks(_nothing(shape))
        entry = _haar_entry(self.gain, *blocks[0].shape)
        centre = sum(block.size for block in blocks) / prod(shape)
        return _else_zero(centre, entry)

    def _fill(self, out: NDArray[Any], seeds: list[int]) -> None:
        stream = _stream(seeds)
        for block in self._blocks(out):
            block[...] = self.gain * _haar(stream, *block.shape)

    def _blocks(self, out: NDArray[Any]) -> list[NDArray[Any]]:
        blocks = super()._blocks(out)
        outputs, inputs = blocks[0].shape
        if inputs > outputs:
            raise ValueError(
                "DeltaOrthogonal needs at least as many outputs as inputs (per group), "
                f"got {outputs} outputs and {inputs} inputs in shape {out.shape}"
            )
        return blocks


def _nothing(shape: Shape) -> NDArray[Any]:
    """An array of this shape that takes no memory, for counting."""
    return np.broadcast_to(np.float32(0), shape)


def _else_zero(chance: float, parts: list[tuple[float, Any]]) -> Law:
    drawn = [(chance * share, part) for share, part in parts]
    return Law([*drawn, (1 - chance, 0.0)] if chance < 1 else drawn)


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
        blocks = self._blocks(_nothing(shape))
        return _else_zero(sum(min(block.shape) for block in blocks) / prod(shape), [(1, self.gain)])

    def _fill(self, out: NDArray[Any], seeds: list[int]) -> None:
        for block in self._blocks(out):
            np.fill_diagonal(block, self.gain)


@mx.init.register
class Sparse(_Drawn):
    """Each output has ``nonzero`` inputs, chosen at random, with weights N(0, std²), and no more.

    Axes after the first are flattened into the inputs; where there are fewer, all are taken.

    >>> int((Sparse(nonzero=3, seed=0).sample((10, 40)) != 0).sum())
    30

    Source: Martens 2010, section 5. Raises ValueError when nonzero is no whole number of at least
    1, std is not positive, or the shape has one axis.
    """

    nonzero: int
    std: float

    def __init__(self, nonzero: int = 15, std: float = 1.0, *, seed: int | None = None) -> None:
        super().__init__(
            nonzero=_whole("nonzero", nonzero, 1), std=_real("std", std, positive=True), seed=seed
        )

    def law(self, shape: Shape) -> Law:
        _, inputs = _matrix(shape)
        return _else_zero(
            min(self.nonzero, inputs) / inputs, [(1.0, scipy.stats.norm(0, self.std))]
        )

    def _fill(self, out: NDArray[Any], seeds: list[int]) -> None:
        units, inputs = _matrix(out.shape)
        stream, chosen = _stream(seeds), min(self.nonzero, inputs)
        for unit in out.reshape(units, inputs):
            which = stream.choice(inputs, chosen, replace=False, shuffle=False)
            unit[which] = stream.normal(0, self.std, chosen)


@mx.init.register
class Mixture(_Drawn):
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
            plain = [[_real("probability", p, positive=True), _plain(draw)] for p, draw in parts]
        except TypeError:
            raise ValueError(f"parts must be pairs (probability, draw), got {parts!r}") from None
        Law([(chance, 0.0) for chance, _ in plain])  # refuses chances that don't sum to 1
        super().__init__(parts=plain, seed=seed)

    def _shown(self) -> dict[str, Any]:
        return {**self._kwargs, "parts": [(p, _Source(draw)) for p, draw in self._kwargs["parts"]]}

    def law(self, shape: Shape) -> Law:
        return Law([(chance, _distribution(draw)) for chance, draw in self._kwargs["parts"]])

    def _sampler(self, shape: Shape) -> Sampler:
        chances = [chance for chance, _ in self._kwargs["parts"]]
        edges = np.cumsum([0.0, *chances])
        edges[-1] = 1.0
        quantiles = [_quantile(draw) for _, draw in self._kwargs["parts"]]

        def sampler(stream: Generator, size: int) -> Floats:
            # one word a value: which draw, and then where in it
            u, out = stream.random(size), np.empty(size)
            for low, high, quantile in zip(edges, edges[1:], quantiles, strict=False):
                mine = (low <= u) & (u < high)
                out[mine] = quantile((u[mine] - low) / (high - low))
            return out

        return sampler


class _Source(str):
    """Python source of a plain draw, which repr shows as it is."""

    def __new__(cls, draw: Any) -> "_Source":
        if isinstance(draw, list) and isinstance(draw[0], str):
            given = ", ".join(f"{key}={value!r}" for key, value in draw[1].items())
            return super().__new__(cls, f"scipy.stats.{draw[0]}({given})")
        return super().__new__(cls, repr(tuple(draw) if isinstance(draw, list) else draw))

    def __repr__(self) -> str:
        return str(self)


def _plain(draw: Any) -> Any:
    """The draw as JSON can hold it: a number, [low, high], or [name, arguments]."""
    if isinstance(draw, Real):
        return _real("draw", draw)
    if hasattr(draw, "dist"):
        return _plain_distribution(draw)
    if isinstance(draw, Sequence) and len(draw) == 2 and isinstance(draw[0], str):
        return _plain_distribution(_distribution(draw))
    if isinstance(draw, Sequence) and len(draw) == 2:
        low, high = _real("low", draw[0]), _real("high", draw[1])
        if low < high:
            return [low, high]
    raise ValueError(
        "draw must be a number, a pair (low, high) with low < high, or a frozen continuous "
        f"distribution such as scipy.stats.norm(0, 1), got {draw!r}"
    )


def _plain_distribution(frozen: Any) -> list[Any]:
    family = getattr(scipy.stats, str(frozen.dist.name), None)
    if type(frozen.dist) is not type(family) or not isinstance(family, scipy.stats.rv_continuous):
        raise ValueError(
            "draw must be a continuous distribution that scipy.stats has by name, "
            f"got {type(frozen.dist).__name__}"
        )
    order = [*(family.shapes or "").replace(",", " ").split(), "loc", "scale"]
    given = {**dict(zip(order, frozen.args, strict=False)), **frozen.kwds}
    values = {key: _real(key, given[key]) for key in order if key in given}
    if not isfinite(family(**values).ppf(0.5)):
        raise ValueError(f"draw has arguments that {family.name} does not allow: {values}")
    return [family.name, values]


def _distribution(draw: Any) -> Any:
    if not isinstance(draw, (list, tuple)):
        return draw
    if not isinstance(draw[0], str):
        return scipy.stats.uniform(draw[0], draw[1] - draw[0])
    family: Any = getattr(scipy.stats, draw[0], None)
    if not isinstance(family, scipy.stats.rv_continuous):
        raise ValueError(f"draw must name a continuous law of scipy.stats, got {draw[0]!r}")
    return family(**draw[1])


def _quantile(draw: Any) -> Callable[[Floats], Any]:
    if not isinstance(draw, list):
        return lambda u: draw
    if not isinstance(draw[0], str):
        low, high = draw
        return lambda u: low + (high - low) * u
    frozen = _distribution(draw)
    # never 0 or 1, where an unbounded law would answer infinity
    return lambda u: frozen.ppf(np.clip(u, 2.0**-54, 1 - 2.0**-53))
