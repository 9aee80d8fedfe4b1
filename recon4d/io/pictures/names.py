"""What the names of pictures tell: times in seconds or in parts of them, or only an order.

Numbers here that name no source were set by hand.
"""

import re
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

_SECONDS = re.compile(r"(\d+)\.(\d+)")
STAMP_DIGITS = {13: 10**3, 16: 10**6, 19: 10**9}
"""Digits that times since 1970 in milli-, micro- and nanoseconds have had since 2001, and these units per second."""
COUNTER_SPREAD = 2
"""Counters of which some were deleted reach over fewer than so many times their count."""


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
    per_s = STAMP_DIGITS.get(lengths.pop()) if len(lengths) == 1 else None
    if per_s is None or any(stem.startswith("0") for stem in stems):  # a counter that was filled up
        return None
    return [int(stem) / per_s for stem in stems]


def _count(stems: Sequence[str]) -> bool:
    """Whether numbers with a point are two counters: as times two would be one, or the second runs past 9 by ones.

    Times whose digits are not filled up (`0.1`, `0.15`, `0.2`) leave wide gaps between the numbers behind the point.
    """
    pairs = [tuple(stem.split(".")) for stem in stems]
    counters = sorted({(int(first), int(second)) for first, second in pairs})
    if len({float(stem) for stem in stems}) < len(counters):
        return True
    is_padded = len({len(second) for _, second in pairs}) == 1
    if is_padded or any(second.startswith("0") and second != "0" for _, second in pairs):
        return False
    takes = [[second for _, second in take] for _, take in groupby(counters, key=itemgetter(0))]
    is_close = all(take[-1] - take[0] < COUNTER_SPREAD * len(take) for take in takes)
    return is_close and any(len(take) > 1 for take in takes)
