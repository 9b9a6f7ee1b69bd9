"""Sliders and menus with their names, for those who see them and for those who hear them."""

from collections.abc import Iterable, Mapping
from typing import Any

import ipywidgets as widgets

# ipywidgets writes a slider's name beside it, where a screen reader doesn't look. Views come one by
# one, so it looks for new ones for five seconds.
_NAME_SLIDERS = """
let looks = 50;
const wait = setInterval(() => {
    const box = element.closest(".widget-box");
    for (const handle of box ? box.querySelectorAll(".noUi-handle") : [])
        handle.ariaLabel = handle.closest(".widget-slider").querySelector("label").textContent;
    if (!--looks) clearInterval(wait);
}, 100);
"""


def controls(start: Mapping[str, Any], choices: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """A control for each name: a menu of words, or a slider between two numbers of one kind.

    >>> made = controls({"gain": 1.0, "draw": "normal"}, {"gain": (0.1, 3.0), "draw": ("normal",)})
    >>> [type(one).__name__ for one in made.values()]
    ['FloatSlider', 'Dropdown']
    """
    return {name: _control(name, value, choices[name]) for name, value in start.items()}


def _control(name: str, value: Any, choice: tuple[Any, ...]) -> Any:
    about = {"value": value, "description": name}
    if isinstance(value, str):
        return widgets.Dropdown(options=choice, **about)
    about |= {"min": choice[0], "max": choice[1]}
    is_whole = isinstance(value, int)
    return widgets.IntSlider(**about) if is_whole else widgets.FloatSlider(step=0.05, **about)


def panel(made: Iterable[Any]) -> Any:
    """The controls in as many columns as the page has room for."""
    data = {"application/javascript": _NAME_SLIDERS}
    script = {"output_type": "display_data", "metadata": {}, "data": data}
    names = widgets.Output(outputs=(script,), layout={"display": "none"})
    return widgets.Box([*made, names], layout={"flex_flow": "row wrap"})
