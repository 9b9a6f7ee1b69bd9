"""Arrays as an answer to a task of draws leaves them, drawn by NumPy from any law."""

import numpy as np

from d2l_init.classroom.judges import DRAWS


def values(law, shape, rng):
    """Independent draws from a law, as float32 holds them; zeros for None."""
    if law is None:
        return np.zeros(shape, np.float32)
    chances, parts = zip(*law.parts, strict=True)
    found = np.empty(shape, np.float32)
    which = rng.choice(len(parts), shape, p=np.array(chances) / sum(chances))
    for number, part in enumerate(parts):
        mine = which == number
        size = int(mine.sum())
        found[mine] = part.rvs(size, random_state=rng) if hasattr(part, "rvs") else part
    return found


def many(task, rng, count, rule=None, *, scale=1.0):
    """Answers whose every parameter is drawn from ``rule``, the right one if none is given."""
    arrays = {}
    for name, law in task.laws(rule or task.right).items():
        pool = np.float32(scale) * values(law, (count, len(DRAWS), *task.parameters[name]), rng)
        arrays |= {f"{name} {draw}": pool[:, k] for k, draw in enumerate(DRAWS)}
        arrays[f"{name} again"] = pool[:, 0]
    for number in range(count):
        yield {name: pool[number] for name, pool in arrays.items()}


def drawn(task, rng, rule=None):
    """One such answer."""
    return next(many(task, rng, 1, rule))
