"""Values of options of the command line, checked while it is parsed.

Numbers here that name no source were set by hand.
"""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from recon4d.core.errors import ConfigError
from recon4d.core.files import straight
from recon4d.settings.option import Choice

_WHOLE = re.compile(r"-?[0-9]{1,18}")
"""As many digits as 64 bits hold."""
_LONGEST_SHOWN = 40
"""Characters of a wrong value that a message shows."""


def place(text: str) -> Path:
    """Where something is written."""
    return straight(Path(text))


def whole(flag: str, least: int) -> Callable[[str], int]:
    """Reader of a whole number."""

    def convert(text: str) -> int:
        value = int(text) if _WHOLE.fullmatch(text) else None
        if value is None or value < least:
            raise ConfigError(
                f"{flag} must be a whole number of at least {least}, got {_shown(text)}"
            )
        return value

    return convert


def positive(flag: str) -> Callable[[str], float]:
    """Reader of a number above 0."""
    return _number(flag, "a number above 0", lambda value: value > 0)


def not_negative(flag: str) -> Callable[[str], float]:
    """Reader of a number that is 0 or more."""
    return _number(flag, "a number of at least 0", lambda value: value >= 0)


def _number(flag: str, needed: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and fits(value)):
            raise ConfigError(f"{flag} must be {needed}, got {_shown(text)}")
        return value

    return convert


def _shown(text: str) -> str:
    is_short = len(text) <= _LONGEST_SHOWN
    return f"'{text}'" if is_short else f"'{text[:_LONGEST_SHOWN]}...' ({len(text)} characters)"


def add_choice(
    parser: argparse.ArgumentParser, flag: str, choice: Choice, text: str, *, required: bool = False
) -> None:
    """Add an option that takes one of some names."""

    def check(value: str) -> str:
        choice.check(flag, value)
        return value

    parser.add_argument(
        flag,
        type=check,
        required=required,
        default=None if required else choice.now[0],
        metavar="|".join(choice.now),
        help=text if required else f"{text} ({choice.now[0]})",
    )
