"""How an option is declared: its default, help and range once, from which command line and checks follow.

Numbers here that name no source were set by hand.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from recon4d.core.errors import ConfigError, did_you_mean

Number = int | float
_LARGEST_SHOWN = 1e300
"""Whole numbers of any length may be given, which no float holds."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The values that an option can take."""

    now: tuple[str, ...]
    """Values that work; the first is the default."""
    other: str = ""
    """What the option takes besides names, for messages."""

    def check(self, key: str, value: str) -> None:
        """Raise a `ConfigError` that names the valid values unless `value` is one that works."""
        if value in self.now:
            return
        available = ", ".join(self.now) + (f", or {self.other}" if self.other else "")
        guess = did_you_mean(value, self.now)
        raise ConfigError(f"{key} cannot be '{value}'{guess}; available: {available}")


def option(
    default: Any,
    usage: str = "",
    text: str = "",
    *,
    group: int | None = None,
    alone: str | None = None,
    low: Number | None = None,
    high: Number | None = None,
) -> Any:
    """Declare an option: the command line, its help, `--set`, config.toml and the checks follow from it.

    Args:
        default: Its value where it is not given.
        usage: What stands for its value in the help; `{masks}` becomes the names that the option `masks` can be.
        text: Its help.
        alone: Its value where the option is given without one; None: it needs one.
        group: Index in `GROUPS`; None: for `--set` and config.toml alone.
        low: Least value of a number.
        high: Largest.
    """
    told = {"usage": usage, "text": text, "group": group, "alone": alone, "low": low, "high": high}
    return field(default=default, metadata=told)


def check_ranges(config: Any, prefix: str = "") -> None:
    """Raise a `ConfigError` where a number is not in the range that its option declares."""
    for each in dataclasses.fields(config):
        low, high = each.metadata.get("low"), each.metadata.get("high")
        if low is not None and high is not None:
            check_range(prefix + each.name, getattr(config, each.name), low, high)


def check_range(key: str, value: Number | None, low: Number, high: Number) -> None:
    """Raise a `ConfigError` unless a number is in its range, or is not given."""
    if value is not None and not low <= value <= high:  # no number is not, either
        shown = "an enormous number" if abs(value) > _LARGEST_SHOWN else f"{value:g}"
        raise ConfigError(f"{key} must be from {low:g} to {high:g}, got {shown}")
