"""Draws of one parameter held against laws: mean, size, atoms and the rest."""

from functools import cached_property, lru_cache
from math import inf, sqrt

import numpy as np
from scipy.special import bdtr, bdtrc, gammainc, gammaincc, kolmogorov, ndtri

from ..laws import Law
from .verdicts import Floats

TOO_CLOSE = "values follow the law more closely than draws do"


class Sample:
    """The values of one parameter drawn with several seeds, and again with the first."""

    def __init__(self, *drawn: Floats) -> None:
        *self.drawn, self.again = drawn

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one draw."""
        return self.again.shape

    @cached_property
    def sorted(self) -> Floats:
        """All values in order."""
        return np.sort(np.concatenate([one.ravel() for one in self.drawn]))

    @cached_property
    def mean(self) -> float:
        """Of all values."""
        return float(self.sorted.mean())

    @cached_property
    def std(self) -> float:
        """Of all values."""
        return float(self.sorted.std())

    def mean_off(self, law: Law) -> float:
        """Standard errors by which the mean is off the law's."""
        mean, std, _ = moments(law)
        return abs(self.mean - mean) / std * sqrt(self.sorted.size)

    def off(self, law: Law) -> float:
        """Standard errors by which mean or mean square are off the law's, the larger of the two.

        The mean of squares is taken for a gamma variable, as it is exactly for a normal law; the
        number of standard errors is that of a normal variable with as small a chance.
        """
        mean, std, kurtosis = moments(law)
        if not std:
            return 0.0 if np.allclose(self.sorted, mean, rtol=1e-5, atol=0) else inf
        spread, shift = self.std / std, (self.mean - mean) / std
        square = spread * spread + shift * shift  # ** would raise where this is infinite
        # 1e-10, from the rounding of float32, is room where the law has no spread of squares
        shape = 1 / (max(kurtosis - 1, 0.0) / self.sorted.size + 1e-10)
        tail = min(gammainc(shape, shape * square), gammaincc(shape, shape * square))
        worst = max(self.mean_off(law), -float(ndtri(tail)))
        return worst if worst < inf else inf  # nan is far off, too

    def misfit(self, law: Law, chance: float, *, scaled: bool = False, close: float = 0.0) -> str:
        """What else is not as the law says, in words: range, atoms, repeated values, the rest.

        Each test refuses a right draw with this ``chance``, and with the chance ``close`` one
        follows the law so closely as this. ``scaled`` looks at the values after they were given
        the law's standard deviation (and its mean, if theirs is another).
        """
        x = self._scaled(law) if scaled else self.sorted
        low, high = law.support
        room = 1e-3 * moments(law)[1] + 1e-6 * abs(self.mean)
        if not scaled and (x[0] < low - room or x[-1] > high + room):
            return f"values go from {x[0]:.3g} to {x[-1]:.3g}, not from {low:.3g} to {high:.3g}"
        counts, rest = split(x, law)
        for atom, share in law.atoms.items():
            count = counts[atom]
            tails = bdtr(count, x.size, share), bdtrc(count - 1, x.size, share) if count else 1
            if 2 * min(tails) < chance:
                return f"a share of {count / x.size:.3g} is {atom:.3g}, not {share:.3g}"
        if not rest.size or is_discrete(law):
            return f"{rest.size} values are none of {[*law.atoms]}" if rest.size else ""
        # float16 holds no more than some thousand numbers of one size
        if (kinds := np.unique(rest).size) < min(rest.size / 2, 4000):
            return f"only {kinds} of {rest.size} values differ"
        gap, place = largest_gap(rest, law)
        p = kolmogorov(gap * sqrt(rest.size))
        if p < chance:
            share = np.count_nonzero(x <= place) / x.size
            return f"a share of {share:.3g} is below {place:.3g}, not {float(law.cdf(place)):.3g}"
        return TOO_CLOSE if 1 - p < close else ""

    def _scaled(self, law: Law) -> Floats:
        mean, std, _ = moments(law)
        x = self.sorted * (std / self.std if self.std else 1.0)
        shift = mean - float(x.mean())
        return x + shift if abs(shift) * sqrt(x.size) > 6 * std else x


@lru_cache  # scipy takes its time
def moments(law: Law) -> tuple[float, float, float]:
    """Mean, standard deviation and kurtosis."""
    return law.mean, law.std, law.kurtosis


def is_discrete(law: Law) -> bool:
    """Whether the law has no continuous part."""
    return sum(law.atoms.values()) > 1 - 1e-12


def split(x: Floats, law: Law) -> tuple[dict[float, int], Floats]:
    """How many values lie on each of the law's atoms, as float32 holds them, and the others."""
    counts = {}
    for atom in law.atoms:
        hit = np.abs(x - atom) <= 1e-6 * abs(atom)
        counts[atom], x = int(np.count_nonzero(hit)), x[~hit]
    return counts, x


def largest_gap(rest: Floats, law: Law) -> tuple[float, float]:
    """Largest difference between the shares of sorted values and of the law's continuous part."""
    atoms = sum((share * (rest >= atom) for atom, share in law.atoms.items()), np.zeros(rest.size))
    expected = (law.cdf(rest) - atoms) / (1 - sum(law.atoms.values()))
    steps = np.arange(rest.size + 1) / rest.size
    gaps = np.maximum(steps[1:] - expected, expected - steps[:-1])
    place = int(gaps.argmax())
    return float(gaps[place]), float(rest[place])


def alike(one: Floats, other: Floats) -> bool:
    """Whether two draws are equal, or so correlated as chance hardly ever leaves them."""
    if np.array_equal(one, other):
        return True
    r = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    return not abs(r) < max(0.2, 8 / sqrt(one.size))
