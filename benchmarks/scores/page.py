"""What the pages of the benchmarks of poses, depth and masks share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from benchmarks.measure.common import made_lines, markdown_table
from benchmarks.sets.published import read_published

Row = dict[str, Any]
Rows = Mapping[str, Mapping[str, Any]]
"""Finished sequences by their names, failed ones included."""
Cells = tuple[str, ...]


def head(title: str, command: str, rows: Rows, notes: Iterable[str]) -> list[str]:
    """Title, how the page was made, and in what the sequences are not those of publications."""
    return [
        f"# {title}\n",
        f"Made by `{command}`; nothing here is typed by hand but published figures.\n",
        *made_lines(rows),
        *(f"* **{note}**" for note in notes),
    ]


def notes_on_the_set(done: int, asked: int, official: int | None, figures: str) -> list[str]:
    """Whether all sequences are done, and whether they are the official ones, whose `figures` are published."""
    notes = [] if done == asked else [f"so far {done} of {asked} sequences"]
    if official in (None, asked):
        return notes
    less = (
        f"{asked} of the {official} official sequences: not to be compared with published {figures}"
    )
    return [*notes, less]


def published(
    task: Literal["pose", "depth", "masks"], key: str, ours: Sequence[Cells]
) -> list[str]:
    """One table per source, with ours in front."""
    known, parts = read_published(task), []
    for block in known.blocks.get(key, ()):
        table = markdown_table(("method", *known.columns), [*ours, *block.rows])
        parts += [f"## Published: {block.source}\n", table]
    return parts


def tail(rows: Rows, title: str, remarks: Iterable[str]) -> list[str]:
    """Failures and what else there is to say, and the commands."""
    commands = dict.fromkeys(f"* `{row['command']}`" for row in rows.values())
    return [f"## {title}\n", *remarks, "\n## Commands\n", *commands]


def percent(value: object) -> str:
    """A share in percent, `-` where there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    return f"{100 * value:.1f}"
