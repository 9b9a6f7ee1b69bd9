"""Arrays of any kind in nested tuples, lists and dicts, as nets take and return them."""

from collections.abc import Callable, Mapping
from typing import Any


def first_of(kind: type, nested: Any) -> Any:
    """The first array of this kind; None without one."""
    parts = list(nested.values()) if isinstance(nested, Mapping) else nested
    if isinstance(parts, (tuple, list)):
        found = (first_of(kind, part) for part in parts)
        return next((array for array in found if array is not None), None)
    return nested if isinstance(nested, kind) else None


def each_of(kind: type, function: Callable[[Any], Any], nested: Any) -> Any:
    """The same nested tuples, lists and dicts with the function's value for each array."""
    if isinstance(nested, kind):
        return function(nested)
    if isinstance(nested, dict):
        parts = {key: each_of(kind, function, part) for key, part in nested.items()}
        return parts if type(nested) is dict else type(nested)(**parts)
    if isinstance(nested, (tuple, list)):
        inside = [each_of(kind, function, part) for part in nested]
        return type(nested)(*inside) if hasattr(nested, "_fields") else type(nested)(inside)
    return nested
