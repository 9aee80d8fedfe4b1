"""What the benchmarks of poses and of depth share: runs of the sequences of a protocol, and the page about them."""

import shutil
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.measure.common import (
    COST,
    Measured,
    cells,
    markdown_table,
    measure,
    provenance,
    recon4d,
    remarks,
    without_places,
)
from benchmarks.scores.job import GeometryJob, parse_job
from benchmarks.scores.page import Cells, Row, Rows, head, notes_on_the_set, published, tail
from benchmarks.scores.run import Benchmark, run_command
from benchmarks.sets import find
from benchmarks.sets.protocols import MAX_DIFF_S
from benchmarks.sets.recordings import Found, Pairing, Recording, Task, stage
from recon4d.core.errors import Recon4DError
from recon4d.results.folder import read_result
from recon4d.results.result import Result

TITLES = {
    "tum": "TUM RGB-D, dynamic",
    "bonn": "Bonn RGB-D Dynamic",
    "sintel": "MPI-Sintel",
    "kitti": "KITTI, annotated depth",
    "tumlike": "sequences in TUM layout",
}
WHOSE = {"monst3r": "MonST3R", "align3r": "Align3R", "all": "recon4d"}
"""Protocols as they are written."""
PAIRINGS = {
    "rows": "row cut: the n-th frame has the n-th row or depth image of the same cut, whatever their times",
    "time": f"by time: each frame has the truth nearest in time, at most {MAX_DIFF_S} s apart",
}

Reconstruct = Callable[[Path, Path, tuple[str, ...]], Measured]
"""Reconstructs an RGB-D folder in TUM layout into a result folder, with options of `recon4d run`."""


def by_command(source: Path, result: Path, options: tuple[str, ...]) -> Measured:
    """Run the real command."""
    return measure(recon4d("run", str(source), *options, "--out", str(result)))


@dataclass(frozen=True)
class Mean:
    """A mean over sequences."""

    name: str
    """Nothing where the task has but one."""
    asked: int
    """Finished sequences, failed ones included."""
    failed: int
    """Those without figures."""
    with_failed: bool
    """True where failed ones count as unknown everywhere, False where they are left out."""
    figures: Mapping[str, float | None]
    """None where no sequence has the figure."""


@dataclass(frozen=True)
class Geometry(Benchmark):
    """Poses or depth on the sequences of a protocol."""

    job: GeometryJob
    sequences: Sequence[Found]
    reconstruct: Reconstruct

    task: ClassVar[Task]
    title: ClassVar[str]
    mean_header: ClassVar[Cells]
    """Columns of `mean_cells` and of the name before them."""
    sequence_header: ClassVar[Cells]
    """Columns of `sequence_cells`."""

    @property
    @abstractmethod
    def meaning(self) -> str:
        """What is compared, and how means are taken."""

    @abstractmethod
    def score(self, recording: Recording, result: Result) -> Row:
        """Compare a result with the truth; `failure` says why the protocol's own figures are not there."""

    @abstractmethod
    def lost(self, recording: Recording) -> Row:
        """What the row of a sequence without a result says beside its failure."""

    @abstractmethod
    def means(self, rows: Rows, pairing: Pairing) -> list[Mean]:
        """The means of what is finished, the protocol's own way of averaging first."""

    @abstractmethod
    def mean_cells(self, mean: Mean) -> Cells:
        """Cells of the table of means, between name and failures."""

    @abstractmethod
    def published_cells(self, mean: Mean) -> Cells:
        """The figures that publications have."""

    @abstractmethod
    def sequence_cells(self, row: Mapping[str, Any], pairing: Pairing) -> Cells:
        """Cells of the table of sequences, between name and cost."""

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

    def all_means(self, rows: Rows) -> dict[Pairing, list[Mean]]:
        """The means by pairing, the protocol's own first."""
        return {way: self.means(rows, way) for way in self.job.protocol.frames.pairings}

    def said(self, rows: Rows) -> list[str]:
        """Every mean."""
        return [
            f"{', '.join(filter(None, (way, one.name)))}: {one.figures}, {one.failed} of {one.asked} failed"
            for way, several in self.all_means(rows).items()
            for one in several
        ]

    def page(self, rows: Rows) -> str:
        """The page about what is finished."""
        return "\n".join([*self._head(rows), *self._tables(rows), *self._tail(rows)]) + "\n"

    def _head(self, rows: Rows) -> list[str]:
        protocol = self.job.protocol
        frames = protocol.frames
        ways = [PAIRINGS[way] for way in frames.pairings]
        if frames.among == "matches" or protocol.dataset in ("sintel", "kitti"):
            ways = []  # said by the rule, or a matter of names
        title = f"{self.title}: {TITLES[protocol.dataset]}, protocol {protocol.name}"
        return [
            *head(title, self.job.command, rows, self._notes(len(rows))),
            "\n## Protocol\n",
            f"* {protocol.source}.",
            f"* Frames: {frames.meaning}.",
            *(f"* Truth {way}." for way in ways),
            *(f"* {remark[0].upper()}{remark[1:]}." for remark in protocol.remarks),
            f"* {self.meaning}",
            "* Images go to the run as they are, without cropping; a sequence that fails is listed and counted, never "
            "skipped.\n",
        ]

    def _notes(self, done: int) -> list[str]:
        job, official = self.job, self.job.protocol.official
        notes = [*self.notes, *notes_on_the_set(done, len(self.sequences), official, "means")]
        if job.max_frames is not None:
            notes.append(
                f"only the first {job.max_frames} of the protocol's frames: not to be compared with published figures"
            )
        if job.uses_sensor_depth:
            notes.append(
                "--geometry rgbd: the runs were given the depth sensor's images, which published figures were not"
            )
        return notes

    def _pairing(self, way: Pairing) -> str:
        """How the page calls a way in which frames and truth are paired."""
        whose = WHOSE[self.job.protocol.name]
        return f"row cut ({whose} protocol)" if way == "rows" else "by time"

    def _tables(self, rows: Rows) -> list[str]:
        """Means, published figures with ours in front, and sequences."""
        job, protocol = self.job, self.job.protocol
        table, ours, sequences = [], [], []
        for way, several in self.all_means(rows).items():
            for at, one in enumerate(several):
                if one.with_failed and not one.failed:
                    continue  # says what the mean without failed ones says
                name = ", ".join(filter(None, (self._pairing(way), one.name)))
                failed = f"{one.failed} of {one.asked} failed"
                table.append((name, *self.mean_cells(one), failed))
                if at < OWN_MEANS:
                    part = f"{one.asked - one.failed} of {protocol.official} sequences"
                    part += f", {one.failed} failed" if one.failed else ""
                    ours.append((f"recon4d, {name}, {part}", *self.published_cells(one)))
            header = ("sequence", *self.sequence_header, *COST)
            lines = [
                (n, *self.sequence_cells(row, way), *cells(row, COST)) for n, row in rows.items()
            ]
            sequences += [f"## Sequences, {self._pairing(way)}\n", markdown_table(header, lines)]
        key = " ".join(filter(None, (protocol.dataset, protocol.name, job.depth_scale)))
        means = markdown_table((*self.mean_header, "failures"), table)
        return ["## Means\n", means, *published(self.task, key, ours), *sequences]

    def _tail(self, rows: Rows) -> list[str]:
        return tail(rows, "Failures and remarks", remarks(rows, _further))


OWN_MEANS = 2
"""How many of the means are taken as publications take theirs: without failed sequences, or with them."""


def _further(row: Mapping[str, Any]) -> list[str]:
    """A shorter sequence, frames without a result, known intrinsics."""
    said = [row["note"]] if row.get("note") else []
    if row.get("without_result"):
        said.append(f"**{row['without_result']} frames have no result**")
    if row.get("focal_known"):
        said.append("intrinsics were known")
    return said


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
