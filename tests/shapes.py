"""Checks of array shapes and types in calls of recon4d, for `--jaxtyping-packages` (pyproject.toml).

A check is made when a function is called first, and in each test it sees the first `CALLS` calls of a function: of the
thousands of a loop the later ones tell nothing new, and checking all of them took a third of the time of all tests.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

from beartype import beartype

CALLS = 32
"""Calls of one function in one test whose arguments are checked, set by hand."""
_counts: dict[str, int] = {}
_unchecked: list[Any] = []
"""Functions that were called often enough in this test."""


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of a stand-in that jaxtyping makes with the signature of a function: it raises where arguments do not fit."""
    check: Callable[..., Any] | None = None
    name = f"{function.__module__}:{function.__qualname__}"

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal check
        if check is None:
            check = beartype(function)
        count = _counts[name] = _counts.get(name, 0) + 1
        if count == 2 * CALLS:  # arguments and value have a stand-in each
            _leave_alone(name)
        return check(*arguments, **named)

    return counted


def check_all_again() -> None:
    """A test begins."""
    for function in _unchecked:
        function.__no_type_check__ = False
    _unchecked.clear()
    _counts.clear()


def _leave_alone(name: str) -> None:
    """Jaxtyping calls a function that has this mark without any check."""
    module, _, path = name.partition(":")
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = inspect.getattr_static(found, part, None)
        if isinstance(found, property):
            found = found.fget
        found = inspect.unwrap(found, stop=_is_checked) if callable(found) else found
    if isinstance(found, classmethod | staticmethod):
        found = found.__func__
    if found is not None and _is_checked(found):
        found.__no_type_check__ = True
        _unchecked.append(found)


def _is_checked(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and code.co_name == "wrapped_fn"
