"""Tasks of chapters 05 to 09: data for the judges."""

from .judges import Measurement, Task, Wrong

TASKS: list[Task] = [
    Measurement(
        "05-relu-factor",
        right=0.5,
        mistakes=[Wrong("layer without activation", 1.0, "was the ReLU applied?")],
    ),
]
