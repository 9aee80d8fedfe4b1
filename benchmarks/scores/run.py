"""Measuring the sequences of a benchmark one after the other, and going on where it stopped."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure.common import read_store, write_whole
from benchmarks.scores.page import Row, Rows
from recon4d.core.errors import Recon4DError


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """What is measured, and where it goes."""

    root: Path
    out: Path
    seed: int = 0
    names: tuple[str, ...] | None = None
    """Sequences; None means the list of the protocol or the data set."""
    given: Path | None = None
    """Folder of results that exist; None where they are made."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, object]:
        """What all rows of one folder must share."""

    @property
    @abstractmethod
    def command(self) -> str:
        """The command line of the whole benchmark, without places of this machine."""


@dataclass(frozen=True)
class Benchmark(ABC):
    """Some sequences, what is measured of each, and what is said about them."""

    job: Job
    sequences: Sequence[Any]
    """Those that were asked for."""
    notes: tuple[str, ...]
    """In what they are not the official ones."""

    @abstractmethod
    def measure(self, sequence: Any) -> Row:
        """Measure one; a failure is a row like any other, with `failure` in it."""

    @abstractmethod
    def summary(self, rows: Rows) -> Row:
        """What the store holds beside settings and rows."""

    @abstractmethod
    def page(self, rows: Rows) -> str:
        """The page about what is finished."""

    @abstractmethod
    def said(self, rows: Rows) -> list[str]:
        """The lines that the command ends with."""

    def run(self) -> Rows:
        """Measure all sequences that are not finished, writing what is known after each."""
        store = self.job.out / "results.json"
        rows = read_store(store, self.job.settings)
        done: dict[str, Row] = {}
        for sequence in self.sequences:
            name = sequence.name
            is_finished = name in rows and "failure" not in rows[name]
            if self.job.given is not None or not is_finished:
                print(f"{name} ...", flush=True)
                rows[name] = self.measure(sequence)
            done[name] = rows[name]
            kept = {"settings": self.job.settings, "command": self.job.command}
            whole = {**kept, "notes": self.notes, **self.summary(done), "rows": rows}
            write_whole(store, json.dumps(whole, indent=1) + "\n")
            write_whole(self.job.out / "results.md", self.page(done))
        return done


def run_command(make: Callable[[], Benchmark]) -> None:
    """Do what one of the commands does; what the user can mend ends the program with a sentence."""
    try:
        benchmark = make()
        rows = benchmark.run()
    except Recon4DError as error:
        raise SystemExit(str(error)) from error
    print("\n".join(benchmark.said(rows)))
    out = benchmark.job.out
    print(f"wrote {out / 'results.md'} and {out / 'results.json'}")
