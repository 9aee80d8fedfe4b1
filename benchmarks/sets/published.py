"""Published figures, which `published/TASK.toml` holds with their sources. Compare only inside a block."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).with_suffix("")


@dataclass(frozen=True)
class Block:
    """Figures of one source under one protocol."""

    source: str
    rows: tuple[tuple[str, ...], ...]
    """Method, and a figure per column with the digits of the source; `-` where it has none."""


@dataclass(frozen=True)
class Published:
    """The figures of one task."""

    columns: tuple[str, ...]
    blocks: Mapping[str, tuple[Block, ...]]
    """By data set, and what else decides whether figures can be compared: see the top of the file."""
    official: Mapping[str, int]
    """Sequences that the published figures are averages of, where the file says so."""


@cache
def read_published(task: Literal["pose", "depth", "masks"]) -> Published:
    """Read the figures of a task."""
    text = (FOLDER / f"{task}.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text, parse_float=str)  # as text: 0.010 says more than 0.01
    columns = tuple(tables.pop("columns"))
    official = {key: table.pop("official") for key, table in tables.items() if "official" in table}
    blocks: dict[str, tuple[Block, ...]] = {}
    for keys, table in tables.items():
        found = tuple(_block(source, rows, len(columns)) for source, rows in table.items())
        for words in product(*(word.split("|") for word in keys.split())):
            key = " ".join(words)
            blocks[key] = blocks.get(key, ()) + found
    return Published(columns, blocks, official)


def _block(source: str, rows: list[Any], columns: int) -> Block:
    missing = ["-"] * columns
    return Block(source, tuple((*row, *missing[len(row) - 1 :]) for row in rows))
