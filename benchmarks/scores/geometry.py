"""What the benchmarks of poses and of depth share: how the sequences of a protocol are run and compared."""

import shutil
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.common import Measured, measure, provenance, recon4d, without_places
from benchmarks.scores.geometry_page import GeometryPage
from benchmarks.scores.job import parse_job
from benchmarks.scores.page import Row
from benchmarks.scores.run import run_command
from benchmarks.sets import find
from benchmarks.sets.recordings import Found, Recording, stage
from recon4d.core.errors import Recon4DError
from recon4d.results.folder import read_result
from recon4d.results.result import Result

Reconstruct = Callable[[Path, Path, tuple[str, ...]], Measured]
"""Reconstructs an RGB-D folder in TUM layout into a result folder, with options of `recon4d run`."""


def by_command(source: Path, result: Path, options: tuple[str, ...]) -> Measured:
    """Run the real command."""
    return measure(recon4d("run", str(source), *options, "--out", str(result)))


@dataclass(frozen=True)
class Geometry(GeometryPage):
    """Poses or depth on the sequences of a protocol."""

    reconstruct: Reconstruct

    @abstractmethod
    def score(self, recording: Recording, result: Result) -> Row:
        """Compare a result with the truth; `failure` says why the protocol's own figures are not there."""

    @abstractmethod
    def lost(self, recording: Recording) -> Row:
        """What the row of a sequence without a result says beside its failure."""

    def measure(self, sequence: Found) -> Row:
        """Reconstruct a sequence and compare it; a failure becomes a row like any other."""
        job = self.job
        row: Row = provenance(None if job.given is not None else job.seed)
        row["command"] = job.command
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            try:
                recording = sequence.read()
            except Recon4DError as error:
                failure = f"truth: {without_places(str(error), job.root, folder)}"
                return row | {"frames": None, "failure": failure}
            row["note"] = recording.note
            recording = recording.first(job.max_frames)
            row["frames"] = len(recording.frames)
            try:
                if job.given is None:
                    row |= self._reconstructed(recording, folder)
                if "failure" not in row:
                    row |= self._compared(recording, folder)
            except Recon4DError as error:
                row["failure"] = str(error)
            if "failure" in row and row.get(self.task) is None:
                row |= self.lost(recording)
            return {key: self._nameless(value, folder) for key, value in row.items()}

    def _reconstructed(self, recording: Recording, folder: Path) -> Row:
        """Make a result at `folder/result`, and keep it if that is wanted."""
        job = self.job
        source = stage(recording, folder / recording.name, job.uses_sensor_depth)
        measured = self.reconstruct(source, folder / "result", job.run_options)
        row: Row = {"seconds": measured.seconds, "peak_rss_mb": measured.peak_rss_mb}
        if measured.exit_code != 0:
            return row | {"failure": measured.failure(job.root, folder)}
        if job.keep:
            kept = job.out / "results" / recording.name
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder / "result", kept)
        return row

    def _compared(self, recording: Recording, folder: Path) -> Row:
        given = self.job.given
        result = read_result(folder / "result" if given is None else given / recording.name)
        run = result.run
        warnings = run.get("warnings", [])
        assert isinstance(warnings, list)
        row: Row = {
            "posed": run.get("posed"),
            "focal_known": run.get("focal_known"),
            "is_metric": result.is_metric,
            "warnings": [warning["code"] for warning in warnings],
            "without_result": len(recording.frames) - len(set(recording.indices(result.sources))),
        }
        return row | self.score(recording, result)

    def _nameless(self, value: object, folder: Path) -> object:
        """Leave out of all texts where this machine keeps things."""
        if isinstance(value, dict):
            return {key: self._nameless(item, folder) for key, item in value.items()}
        if not isinstance(value, str):
            return value
        given = self.job.given
        if given is not None:
            value = value.replace(str(given), given.name)
        return without_places(value, self.job.root, folder)


def run_kind(
    kind: type[Geometry],
    words: Sequence[str] | None,
    description: str | None,
    reconstruct: Reconstruct,
) -> None:
    """Run the command line.

    Args:
        kind: What is measured.
        words: Without, those of the process.
        description: What `--help` says first.
        reconstruct: How a sequence is run.
    """

    def make() -> Geometry:
        job = parse_job(kind.task, sys.argv[1:] if words is None else words, description)
        found = find(job.root, job.names, job.protocol, job.task)
        return kind(job, found.found, found.notes, reconstruct)

    run_command(make)
