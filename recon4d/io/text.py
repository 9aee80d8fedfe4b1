"""Small text files with one record per line, `#` for comments."""

import math
from pathlib import Path

from recon4d.errors import InputError


def read_rows(path: Path) -> list[tuple[int, str]]:
    """Return (line number from 1, stripped text) of every line that is neither empty nor a comment."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give a text file that exists and is readable"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text; a text file was needed: was another file meant?"
        ) from error
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
