"""Claims about draws, as tests can make them, and the tables of what is tested."""

import mxnet as mx
import numpy as np
from mxnet import init
from scipy import stats

import d2l_init as di

P = 1e-4  # a right law fails a test by chance once in ten thousand fixed seeds
STRANGE = [(1 / 4, (5, 10)), (1 / 2, 0), (1 / 4, (-10, -5))]

BUILT_IN = {
    "Zero": init.Zero(),
    "One": init.One(),
    "Constant": init.Constant(0.3),
    "Uniform": init.Uniform(),
    "Normal": init.Normal(0.02),
    "Xavier": init.Xavier(),
    "Xavier uniform in": init.Xavier("uniform", "in"),
    "Xavier uniform out": init.Xavier("uniform", "out", 2.24),
    "Xavier gaussian avg": init.Xavier("gaussian", "avg"),
    "Xavier gaussian in": init.Xavier("gaussian", "in", 2),
    "Xavier gaussian out": init.Xavier("gaussian", "out"),
    "MSRAPrelu": init.MSRAPrelu(),
    "MSRAPrelu He": init.MSRAPrelu("in", 0),
}
INDEPENDENT = {
    "he_normal": di.he_normal(),
    "he_uniform": di.he_uniform(),
    "glorot_normal": di.glorot_normal(),
    "glorot_uniform": di.glorot_uniform(),
    "lecun_normal": di.lecun_normal(),
    "lecun_uniform": di.lecun_uniform(),
    "VarianceScaling normal fan_out": di.VarianceScaling(3, "fan_out", "normal"),
    "TruncatedNormal": di.TruncatedNormal(0.1, 1.0, 1.5),
    "TruncatedNormal far": di.TruncatedNormal(1, 0, 9),
    "TruncatedNormal narrow": di.TruncatedNormal(1, 0, 0.01),
    "Mixture": di.Mixture(STRANGE),
    "Mixture named": di.Mixture([(0.3, stats.laplace(0, 2)), (0.6, stats.norm(1)), (0.1, 7)]),
}
DEPENDENT = {
    "HaarOrthogonal": di.HaarOrthogonal(1.5),
    "DeltaOrthogonal": di.DeltaOrthogonal(),
    "Identity": di.Identity(2),
    "Sparse": di.Sparse(3, 0.5),
}
OURS = {**INDEPENDENT, **DEPENDENT}
SHAPES = {
    "Dense": (400, 300),
    "Conv2D": (128, 96, 3, 3),
    "grouped Conv2D": (96, 128, 3, 3),
    "channels-last Conv2D": (128, 3, 3, 96),
    "Conv2DTranspose": (96, 128, 3, 3),
}
LAYOUTS = {"channels-last Conv2D": "OHWI", "Conv2DTranspose": "IOHW"}
GROUPS = {"grouped Conv2D": 4}


def draw(initializer, shape, name="weight", dtype="float32", seed=None):
    """What Gluon puts into a parameter."""
    if seed is not None:
        mx.random.seed(seed)
    parameter = mx.gluon.Parameter(name, shape=shape, dtype=dtype, init=initializer)
    parameter.initialize(ctx=mx.cpu())
    return parameter.data().asnumpy()


def suited(initializer, kind):
    """The same initializer told about the layer's layout and groups, where it asks."""
    if not isinstance(initializer, (di.VarianceScaling, di.DeltaOrthogonal, di.Identity)):
        return initializer
    given = dict(initializer._kwargs, layout=LAYOUTS.get(kind), groups=GROUPS.get(kind, 1))
    return type(initializer)(**given)


def follows(values, law):
    """Shares of the atoms, places of the rest, mean and standard deviation: all as the law says."""
    values = np.asarray(values).ravel()
    return atoms_fit(values, law) and places_fit(values, law) and moments_fit(values, law)


def is_atom(values, law):
    return np.isin(values, np.array(list(law.atoms), values.dtype))


def atoms_fit(values, law):
    for atom, chance in law.atoms.items():
        hits = int((values == values.dtype.type(atom)).sum())
        if chance > 1 - 1e-12:
            return hits == values.size
        if stats.binomtest(hits, values.size, chance).pvalue < P:
            return False
    return True


def places_fit(values, law):
    rest = values[~is_atom(values, law)]
    mass = 1 - sum(law.atoms.values())
    if mass < 1e-12:
        return rest.size == 0

    def cdf(x):
        below = sum(chance * (x >= atom) for atom, chance in law.atoms.items())
        return (law.cdf(x) - below) / mass

    return stats.kstest(rest, cdf).pvalue > P


def moments_fit(values, law):
    """Mean and variance within 4 standard errors; that of the variance from the fourth moment."""
    x = np.asarray(values, float)
    variance = x.var()
    if law.std == 0:
        return bool(np.allclose(x, law.mean, rtol=1e-6))
    mean_error = law.std / np.sqrt(x.size)
    fourth = ((x - x.mean()) ** 4).mean()
    variance_error = np.sqrt(max(fourth - variance**2, 0) / x.size)
    return bool(
        abs(x.mean() - law.mean) <= 4 * mean_error
        and abs(variance - law.std**2) <= 4 * variance_error + 1e-6 * law.std**2
    )
