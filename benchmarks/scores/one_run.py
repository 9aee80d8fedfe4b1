"""One clip through the real command: what the command line hands on to it, and the row that it becomes."""

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clips import run_figures
from benchmarks.measure.common import measure, provenance, recon4d, without_places
from benchmarks.scores.job import divided
from benchmarks.scores.page import Row
from recon4d.cli.parser import parse
from recon4d.core.errors import Recon4DError

SEED = 0
"""Of every run."""
OWN_OPTIONS = ("--out", "--overwrite", "--resume", "--seed", "--config")
"""Options of `recon4d run` that a benchmark gives itself."""


def with_run_options(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[argparse.Namespace, tuple[str, ...]]:
    """What a benchmark's parser knows of a command line, and the options of `recon4d run`, which are the rest.

    Raises:
        ConfigError: `recon4d run` does not know them either.
    """
    own, further = divided(words)
    given, options = parser.parse_known_args(own)
    options += further
    for word in options:
        if word.partition("=")[0] in OWN_OPTIONS:
            raise SystemExit(f"{word} is the benchmark's own; leave it out")
    parse(["run", "INPUT", *options])
    return given, tuple(options)


def run_row(
    name: str,
    source: Path,
    result: Path,
    options: Sequence[str],
    score: Callable[[], Row],
    unsaid: Sequence[str] = (),
    folder: Path | None = None,
) -> Row:
    """Reconstruct a clip and take its figures; a failure becomes a row like any other.

    Args:
        name: Of the clip, as the row's command says it.
        source: What is run.
        result: Where it goes; what is there is replaced.
        options: Of `recon4d run`.
        score: The figures of the result.
        unsaid: Further options, which hold places of this machine.
        folder: Of the clip, which failures do not name; None: the source.
    """
    words = [*options, "--seed", str(SEED)]
    row: Row = {"command": shlex.join(["recon4d", "run", name, *words]), **provenance(SEED)}
    command = recon4d("run", str(source), *words, *unsaid, "--out", str(result), "--overwrite")
    measured = measure(command)
    row |= {"seconds": measured.seconds, "peak_rss_mb": measured.peak_rss_mb}
    if measured.exit_code != 0:
        return row | {"failure": measured.failure(folder or source, result)}
    try:
        return row | score()
    except Recon4DError as error:
        return row | {"failure": without_places(str(error), folder or source, result)}


def said_of_run(run: Mapping[str, Any]) -> Row:
    """What every row says of a run.json: its figures, and the kind of motion that was found."""
    motion = run.get("motion")
    kind = motion.get("kind") if isinstance(motion, Mapping) else None
    return run_figures(run) | {"motion": kind}
