"""What the names of pictures tell: times in seconds or in parts of them, or only an order."""

import re
from collections.abc import Sequence
from itertools import pairwise

_SECONDS = re.compile(r"(\d+)\.(\d+)")
STAMP_DIGITS = {13: 1e-3, 16: 1e-6, 19: 1e-9}
"""Digits of a time since 1970 in milli-, micro- and nanoseconds, which all times since 2001 have, and its unit."""


def natural_key(name: str) -> list[str | int]:
    """Sort key under which `frame10` follows `frame9`."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if part.isdecimal() else part for part in parts]


def is_seconds(stem: str) -> bool:
    """Whether a file's name without its ending is a time in seconds, with a decimal point."""
    return _SECONDS.fullmatch(stem) is not None


def times_of(stems: Sequence[str]) -> list[float] | None:
    """The time in seconds that each name of a sequence is; None where the names are no times.

    Numbers with a decimal point are seconds, unless they count (`1.1` to `1.12`: the second take's name is not 1.1 s).
    Numbers of 13, 16 or 19 digits are milli-, micro- or nanoseconds.
    """
    if all(_SECONDS.fullmatch(stem) for stem in stems):
        return None if _count(stems) else [float(stem) for stem in stems]
    lengths = {len(stem) if stem.isdecimal() and stem.isascii() else 0 for stem in stems}
    if len(lengths) == 1 and (unit := STAMP_DIGITS.get(lengths.pop())):
        return [int(stem) * unit for stem in stems]
    return None


def _count(stems: Sequence[str]) -> bool:
    """Whether numbers with a point are two counters: as times two would be one, or the second runs on by ones."""
    pairs = [tuple(stem.split(".")) for stem in stems]
    counters = sorted({(int(first), int(second)) for first, second in pairs})
    if len({float(stem) for stem in stems}) < len(counters):
        return True
    is_padded = len({len(second) for _, second in pairs}) == 1
    steps = [after[1] - before[1] for before, after in pairwise(counters) if before[0] == after[0]]
    return not is_padded and bool(steps) and all(step == 1 for step in steps)
