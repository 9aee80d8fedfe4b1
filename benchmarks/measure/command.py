"""The command lines of the benchmarks: an option's kind is that of its default, and its help stands here once."""

import argparse
from pathlib import Path

from benchmarks.measure.common import data_root

HELP = {
    "again": "also what an earlier call has done",
    "fields": "random fields whose energies are averaged",
    "out": "where the page (or the picture) goes; numbers lie beside a page",
    "repeats": "of what is timed",
    "resume": "keep the rows that are there",
    "root": "folder of the test sequences",
    "seed": "of all that is random",
    "source": "inside the root",
    "tools": "scripts that make and score scenes",
}
"""What options mean whose names do not say it."""
METAVARS = {"masks": "METHOD", "root": "DIR", "source": "PATH", "tools": "DIR"}
"""How values are called where their kind does not say it."""


def command_line(name: str, description: str | None, **defaults: object) -> argparse.ArgumentParser:
    """Begin the command line of a benchmark; options that need more than a default are added to it.

    Args:
        name: Of `python -m benchmarks.NAME`.
        description: Shown as it is where it shows commands, which are indented.
        defaults: Every option with its default: a path, a number, text, or several of them. `root` is a folder that
            exists; `False` is an option without a value.
    """
    laid_out, flowing = argparse.RawDescriptionHelpFormatter, argparse.HelpFormatter
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=laid_out if "\n    " in (description or "") else flowing,
    )
    for option, default in defaults.items():
        _add(parser, option, default)
    return parser


def _add(parser: argparse.ArgumentParser, option: str, default: object) -> None:
    flag, text = f"--{option.replace('_', '-')}", HELP.get(option)
    if default is False:
        parser.add_argument(flag, action="store_true", help=text)
        return
    one = default[0] if isinstance(default, tuple) else default
    kind = next(kind for kind in (Path, int, float, str) if isinstance(one, kind))
    is_root = option == "root"
    parser.add_argument(
        flag,
        type=data_root if is_root else kind,
        default=str(default) if is_root else default,  # text is looked at where it is used alone
        nargs="+" if isinstance(default, tuple) else None,
        metavar=METAVARS.get(option, {Path: "FILE", int: "N", float: "X", str: "NAME"}[kind]),
        help=text,
    )
