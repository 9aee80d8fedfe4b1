"""The page of the benchmark of poses."""

from collections.abc import Mapping
from typing import Any

from benchmarks.geometry.pose_score import FIGURES, PoseMean, figures_of, mean
from benchmarks.geometry.report import (
    count_of_failed,
    head,
    pairing_name,
    part_of_set,
    tail,
)
from benchmarks.geometry.run import Outcome
from benchmarks.measure.common import markdown_table, number
from benchmarks.sets.pose_published import PUBLISHED, Block
from benchmarks.sets.recordings import Pairing

MEASURE = (
    "Alignment: Sim(3) over the whole sequence (evo, `align=True, correct_scale=True`). ATE: RMSE of the positions; "
    "RPE-t and RPE-r: RMSE from each frame to the next. Means are over the sequences that have figures; the median "
    "counts a failed sequence as the worst."
)
FORMS = (".4f", ".4f", ".3f")
"""Of ATE, RPE-t and RPE-r."""


def means(outcome: Outcome) -> dict[Pairing, PoseMean]:
    """The means of what is finished, the protocol's own pairing first."""
    rows = list(outcome.rows.values())
    return {way: mean(rows, way) for way in outcome.job.protocol.frames.pairings}


def report(outcome: Outcome) -> str:
    """Return the page."""
    found = means(outcome)
    parts = [
        *head(outcome, "Camera poses", MEASURE),
        "## Means\n",
        _means(outcome, found),
        *_published(outcome, found),
        *_sequences(outcome),
        *tail(outcome),
    ]
    return "\n".join(parts) + "\n"


def _means(outcome: Outcome, found: Mapping[Pairing, PoseMean]) -> str:
    header = ("truth", "sequences", "ATE m", "RPE-t m", "RPE-r deg", "ATE median m", "failures")
    return markdown_table(
        header,
        [
            (
                pairing_name(outcome.job.protocol, way),
                f"{one.asked - one.failed}/{one.asked}",
                *_three(vars(one)),
                number(one.ate_median, ".4f"),
                count_of_failed(one.failed, one.asked),
            )
            for way, one in found.items()
        ],
    )


def _published(outcome: Outcome, found: Mapping[Pairing, PoseMean]) -> list[str]:
    """One table per source, with ours in front."""
    protocol = outcome.job.protocol
    parts = []
    for block in PUBLISHED.get((protocol.dataset, protocol.name), ()):
        parts += [f"## Published: {block.source}\n", _block(outcome, block, found)]
    return parts


def _block(outcome: Outcome, block: Block, found: Mapping[Pairing, PoseMean]) -> str:
    protocol = outcome.job.protocol
    ours = [
        (
            f"recon4d, {pairing_name(protocol, way)}, {part_of_set(one.asked, one.failed, protocol.official)}",
            *_three(vars(one)),
        )
        for way, one in found.items()
    ]
    theirs = [
        (row.method, *map(_as_published, (row.ate, row.rpe_translation, row.rpe_rotation_deg)))
        for row in block.rows
    ]
    return markdown_table(("method", "ATE", "RPE-t", "RPE-r"), [*ours, *theirs])


def _as_published(value: float | None) -> str:
    """With the digits of the source: three, or four."""
    return number(value, ".3f" if value is None or round(value, 3) == value else ".4f")


def _sequences(outcome: Outcome) -> list[str]:
    """One table per pairing."""
    parts, protocol = [], outcome.job.protocol
    for way in protocol.frames.pairings:
        parts += [f"## Sequences, {pairing_name(protocol, way)}\n", _table(outcome, way)]
    return parts


def _table(outcome: Outcome, way: Pairing) -> str:
    header = ("sequence", "matched", "ATE m", "RPE-t m", "RPE-r deg", "rotation deg", "path m")
    cells = [
        (
            name,
            *_cells(row, way),
            number(row.get("seconds"), ".1f"),
            number(row.get("peak_rss_mb"), ".0f"),
        )
        for name, row in outcome.rows.items()
    ]
    return markdown_table((*header, "seconds", "peak MB"), cells)


def _cells(row: Mapping[str, Any], way: Pairing) -> tuple[str, ...]:
    figures = figures_of(row, way)
    if figures is None:
        shown = (row.get("pose") or {}).get(way) or {}
        matched = number(shown.get("matched"), "d")
        rest = (*_three(shown), number(shown.get("rotation_best_deg"), ".3f"), "-")
        return (f"failed, {matched}/{number(row.get('frames'), 'd')}", *rest)
    return (
        f"{figures['matched']}/{row['frames']}",
        *_three(figures),
        number(figures["rotation_best_deg"], ".3f"),
        number(figures["path"], ".3f"),
    )


def _three(figures: Mapping[str, Any]) -> tuple[str, ...]:
    pairs = zip(FIGURES, FORMS, strict=True)
    return tuple(number(figures.get(name), form) for name, form in pairs)
