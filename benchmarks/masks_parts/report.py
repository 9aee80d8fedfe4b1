"""The page of the benchmark of masks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.masks_parts.score import (
    Average,
    VideoScore,
    over_frames,
    over_inner_frames,
    over_sequences,
)
from benchmarks.measure.common import made_lines, markdown_table, number
from benchmarks.sets.masks_published import OFFICIAL, PUBLISHED, Block

Row = Mapping[str, Any]

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
    rows: Mapping[str, Row]
    """Finished sequences."""
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
    averages = page.averages()
    parts = [
        f"# Motion masks: {TITLES[page.dataset]}\n",
        f"Made by `{page.command}`; nothing here is typed by hand but published figures.\n",
        *made_lines(page.rows),
        *(f"* **{note}**" for note in _remarks_on_the_set(page)),
        f"\n{PROTOCOL}\n",
        *(f"* {way.name}: {way.meaning}." for way in AVERAGES[page.dataset]),
        "\n## Averages\n",
        _averages(averages),
        *_published(page, averages),
        "## Sequences\n",
        _sequences(page.rows),
        "## Failures and warnings\n",
        *_remarks(page.rows),
        "\n## Commands\n",
        *dict.fromkeys(f"* `{row['command']}`" for row in page.rows.values()),
    ]
    return "\n".join(parts) + "\n"


def _remarks_on_the_set(page: Page) -> list[str]:
    lines = list(page.notes)
    if len(page.rows) < page.asked:
        lines.append(f"so far {len(page.rows)} of {page.asked} sequences")
    official = OFFICIAL.get(page.dataset, page.asked)
    if page.asked != official:
        lines.append(
            f"{page.asked} of the {official} official sequences: not to be compared with published averages"
        )
    return lines


def _averages(averages: Mapping[str, Average]) -> str:
    header = (
        "average",
        "sequences",
        "frames",
        "J mean",
        "J recall",
        "F mean",
        "F recall",
        "J&F",
    )
    return markdown_table(
        header,
        [
            (
                name,
                str(a.sequences),
                str(a.frames),
                *map(_percent, (a.jaccard, a.jaccard_recall, a.contour, a.contour_recall, a.both)),
            )
            for name, a in averages.items()
        ],
    )


def _published(page: Page, averages: Mapping[str, Average]) -> list[str]:
    """One table per block, with ours in front."""
    parts = []
    for block in PUBLISHED.get(page.dataset, ()):
        parts += [f"## Published: {block.source}\n", _block(page, block, averages)]
    return parts


def _block(page: Page, block: Block, averages: Mapping[str, Average]) -> str:
    official = OFFICIAL[page.dataset]
    part = f", {len(page.rows)} of {official} sequences" if len(page.rows) != official else ""
    ours = [
        (f"{page.method}, {name}{part}", *map(_percent, (a.jaccard, a.jaccard_recall, a.both)))
        for name, a in averages.items()
        if name != INNER.name
    ]
    theirs = [
        (row.method, *(number(value, ".1f") for value in (row.jaccard, row.recall, row.both)))
        for row in block.rows
    ]
    return markdown_table(("method", "J mean", "J recall", "J&F"), [*ours, *theirs])


def _sequences(rows: Mapping[str, Row]) -> str:
    header = ("sequence", "frames", "J mean", "J recall", "F mean", "seconds", "peak MB")
    cells = []
    for name, row in rows.items():
        score = over_sequences([VideoScore.from_row(row)])
        cells.append(
            (
                name,
                str(score.frames),
                *map(_percent, (score.jaccard, score.jaccard_recall, score.contour)),
                number(row.get("seconds"), ".1f"),
                number(row.get("peak_rss_mb"), ".0f"),
            )
        )
    return markdown_table(header, cells)


def _remarks(rows: Mapping[str, Row]) -> list[str]:
    lines = []
    for name, row in rows.items():
        if "failure" in row:
            lines.append(
                f"* {name}: **failed, counted as 0**: {' '.join(str(row['failure']).split())}"
            )
        elif row["missing"]:
            count, frames = len(row["missing"]), len(row["frames"])
            lines.append(f"* {name}: **{count} of {frames} frames have no mask, counted as 0**")
        if row.get("warnings"):
            lines.append(f"* {name}: {', '.join(row['warnings'])}")
    return lines or ["None."]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if np.isfinite(value) else "-"
