"""Text of users' files: read within bounds, and made fit for a screen.

Numbers here that name no source were set by hand.
"""

import json
import math
import os
import stat
import unicodedata
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from recon4d.core.errors import InputError

LARGEST_TEXT = 64_000_000
"""Bytes: a million lines of a trajectory; what is larger is no text file of ours."""
_SHOWN_NEITHER = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode's categories of what a screen obeys or cannot show: controls, formats (bidi), surrogates, separators."""
MOST_SPANS = 4
"""Spans of frames that a sentence names."""
_JOINERS = "\u200c\u200d"
"""Formats that words of some scripts need."""


def printable(text: str, keep: str = "") -> str:
    r"""Escape what a screen would obey instead of showing it, as Python writes it (`\x1b`, `\u202e`).

    Args:
        text: From a file, or a name of one: control characters, line ends, separators, bidirectional controls and lone
            surrogates (bytes of a name that are not UTF-8) are escaped; every other letter stays.
        keep: Characters that stay all the same, e.g. the line ends of our own messages.
    """
    return "".join(
        letter
        if letter in keep
        or letter in _JOINERS
        or unicodedata.category(letter) not in _SHOWN_NEITHER
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def plain_number(value: float) -> str:
    """A number with three digits that count, without exponent: 0.0123, 4.56, 789, 12,300."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    rounded = float(f"{value:.3g}")
    digits = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(digits, 0)}f}"


def storable_name(name: str) -> str:
    """A name as one word or more of a line of text: as it is, or, where a line would not keep it, as a JSON string."""
    is_plain = name == name.strip() and not name.startswith('"') and printable(name) == name
    return name if is_plain else json.dumps(name)


def stored_name(text: str) -> str:
    """The inverse of `storable_name`; what is no JSON string is the name itself."""
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Read a text file in UTF-8, a byte-order mark or not.

    Args:
        path: A file, or a pipe of the shell (`<(command)`); no other device.
        largest: Bytes that are read at most.

    Raises:
        InputError: It cannot be read, is no file, is too large, or is not text.
    """
    try:
        _check_kind(path, os.stat(path).st_mode)
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except ValueError as error:  # a NUL in the name
        raise InputError(f"the name {path} is none of a file ({error}); correct it") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give a text file that exists and is readable"
        ) from error
    if len(data) > largest:
        raise InputError(
            f"{path} has more than {largest / 1e6:g} MB; a text file was needed: was another file meant?"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text; a text file was needed: was another file meant?"
        ) from error
    if "\0" in text:
        raise InputError(
            f"{path} is not text, it has NUL bytes; a text file was needed: was another file meant?"
        )
    return text


def _check_kind(path: Path, mode: int) -> None:
    is_pipe_of_shell = stat.S_ISFIFO(mode) and path.parts[:2] == ("/", "dev")
    if not (stat.S_ISREG(mode) or is_pipe_of_shell):
        what = "a folder" if stat.S_ISDIR(mode) else "a device"
        raise InputError(f"{path} is {what}, no text file; give a text file")


def read_rows(path: Path) -> list[tuple[int, str]]:
    """Return (line number from 1, stripped text) of every line that is neither empty nor a comment."""
    return rows_of(read_text(path))


def rows_of(text: str) -> list[tuple[int, str]]:
    """The rows of a text: `read_rows`."""
    lines = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def parse_numbers(words: list[str], where: str) -> list[float]:
    """Parse finite numbers.

    Args:
        words: The texts to parse.
        where: Names the place in messages, e.g. `poses.txt, line 3`.
    """
    values = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            raise InputError(
                f"{where}: found '{word}', a number was needed; correct the text"
            ) from None
        if not math.isfinite(value):
            raise InputError(
                f"{where}: found '{word}', a finite number was needed; correct the text"
            )
        values.append(value)
    return values


def spans(frames: Sequence[int]) -> str:
    """Frames in words, e.g. `frames 4 to 7, 12`; without any, all are meant."""
    if not frames:
        return "all frames"
    runs = [
        [frame for _, frame in run]
        for _, run in groupby(enumerate(frames), key=lambda entry: entry[1] - entry[0])
    ]
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    more = len(parts) - MOST_SPANS
    shown = ", ".join(parts[:MOST_SPANS]) + (f" and {more} more spans" if more > 0 else "")
    return f"frame{'s' * (len(frames) > 1)} {shown}"
