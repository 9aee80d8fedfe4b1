"""The page of the benchmark of masks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measure.common import COST, cells, markdown_table, remarks
from benchmarks.scores.masks import (
    Average,
    VideoScore,
    over_frames,
    over_inner_frames,
    over_sequences,
)
from benchmarks.scores.page import Cells, Rows, head, notes_on_the_set, percent, published, tail
from benchmarks.sets.published import read_published

TITLES = {
    "davis16": "DAVIS 2016, validation",
    "davis17": "DAVIS 2017, validation, all objects together",
    "davis-all": "DAVIS 2017, training and validation, all objects together",
    "segtrackv2": "SegTrackV2, all objects together",
    "fbms59": "FBMS-59, test set, annotated frames, all objects together",
    "folder": "a folder of videos",
}


@dataclass(frozen=True)
class Averaging:
    """A way to average over frames and sequences."""

    name: str
    meaning: str
    average: Callable[[Sequence[VideoScore]], Average]


PER_SEQUENCE = Averaging(
    "per sequence",
    "mean over the frames of each sequence (first and last count), then over the sequences: DAVIS's evaluation of "
    "unsupervised methods",
    over_sequences,
)
INNER = Averaging(
    "per sequence, inner frames",
    "the same without the first and the last frame of each sequence: DAVIS's evaluation of semi-supervised methods, "
    "and its older toolbox",
    over_inner_frames,
)
PER_FRAME = Averaging(
    "over all frames",
    "mean over all annotated frames of all sequences alike: Easi3R's code and GeoMotion's evaluation",
    over_frames,
)
AVERAGES: dict[str, tuple[Averaging, ...]] = {
    **dict.fromkeys(("davis16", "davis17", "davis-all"), (PER_SEQUENCE, PER_FRAME, INNER)),
    **dict.fromkeys(("segtrackv2", "fbms59", "folder"), (PER_FRAME, PER_SEQUENCE)),
}
"""Per data set, the way of its usual protocol first."""
PROTOCOL = """J is intersection over union, 1 where both masks are empty; F compares contours with a tolerance of 0.8 %
of the diagonal; recall is the share of the frames above 0.5; J&F is the mean of both. Masks are compared at the truth's
size (nearest pixel). A sequence that fails and a frame without a mask count as 0; nothing is skipped."""


@dataclass(frozen=True)
class Page:
    """What is reported."""

    dataset: str
    command: str
    rows: Rows
    asked: int
    """Sequences that were asked for."""
    notes: tuple[str, ...] = ()
    method: str = "recon4d"

    def averages(self) -> dict[str, Average]:
        """All averages of the data set; none where nothing is finished."""
        scores = [VideoScore.from_row(row) for row in self.rows.values()]
        if not scores:
            return {}
        return {way.name: way.average(scores) for way in AVERAGES[self.dataset]}


def report(page: Page) -> str:
    """Return the page."""
    averages, official = page.averages(), read_published("masks").official.get(page.dataset)
    notes = [*page.notes, *notes_on_the_set(len(page.rows), page.asked, official, "averages")]
    parts = [
        *head(f"Motion masks: {TITLES[page.dataset]}", page.command, page.rows, notes),
        f"\n{PROTOCOL}\n",
        *(f"* {way.name}: {way.meaning}." for way in AVERAGES[page.dataset]),
        "\n## Averages\n",
        _averages(averages),
        *published("masks", page.dataset, _ours(page, averages, official)),
        "## Sequences\n",
        _sequences(page.rows),
        *tail(
            page.rows,
            "Failures and warnings",
            remarks(page.rows, _missing, "failed, counted as 0"),
        ),
    ]
    return "\n".join(parts) + "\n"


def _averages(averages: Mapping[str, Average]) -> str:
    figures = ("J mean", "J recall", "F mean", "F recall", "J&F")
    cells = [
        (
            name,
            str(a.sequences),
            str(a.frames),
            *map(percent, (a.jaccard, a.jaccard_recall, a.contour, a.contour_recall, a.both)),
        )
        for name, a in averages.items()
    ]
    return markdown_table(("average", "sequences", "frames", *figures), cells)


def _ours(page: Page, averages: Mapping[str, Average], official: int | None) -> list[Cells]:
    """What stands in front of published figures."""
    done = len(page.rows)
    part = "" if done == official else f", {done} of {official} sequences"
    return [
        (f"{page.method}, {name}{part}", *map(percent, (a.jaccard, a.jaccard_recall, a.both)))
        for name, a in averages.items()
        if name != INNER.name
    ]


def _sequences(rows: Rows) -> str:
    lines = []
    for name, row in rows.items():
        score = over_sequences([VideoScore.from_row(row)])
        figures = (score.jaccard, score.jaccard_recall, score.contour)
        lines.append((name, str(score.frames), *map(percent, figures), *cells(row, COST)))
    header = ("sequence", "frames", "J mean", "J recall", "F mean", *COST)
    return markdown_table(header, lines)


def _missing(row: Mapping[str, Any]) -> list[str]:
    """Frames of a finished sequence that have no mask."""
    count, frames = len(row["missing"]), len(row["frames"])
    if "failure" in row or not count:
        return []
    return [f"**{count} of {frames} frames have no mask, counted as 0**"]
