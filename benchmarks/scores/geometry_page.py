"""The page of the benchmarks of poses and of depth."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.measure.common import COST, cells, markdown_table, remarks
from benchmarks.scores.job import GeometryJob
from benchmarks.scores.page import Cells, Rows, head, notes_on_the_set, published, tail
from benchmarks.scores.run import Benchmark
from benchmarks.sets.protocols import MAX_DIFF_S
from benchmarks.sets.recordings import Found, Pairing, Task

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
OWN_MEANS = 2
"""How many of the means are taken as publications take theirs: without failed sequences, or with them."""


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
class GeometryPage(Benchmark):
    """What is said about poses or depth on the sequences of a protocol."""

    job: GeometryJob
    sequences: Sequence[Found]

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


def _further(row: Mapping[str, Any]) -> list[str]:
    """A shorter sequence, frames without a result, known intrinsics."""
    said = [row["note"]] if row.get("note") else []
    if row.get("without_result"):
        said.append(f"**{row['without_result']} frames have no result**")
    if row.get("focal_known"):
        said.append("intrinsics were known")
    return said
