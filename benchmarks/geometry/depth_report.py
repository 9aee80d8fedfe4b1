"""The page of the benchmark of depth."""

from collections.abc import Mapping
from typing import Any

from benchmarks.geometry.depth_score import DepthMean, mean
from benchmarks.geometry.report import (
    count_of_failed,
    head,
    pairing_name,
    part_of_set,
    percent,
    tail,
)
from benchmarks.geometry.run import Outcome
from benchmarks.measure.common import markdown_table, number
from benchmarks.sets.depth_published import PUBLISHED, Block
from benchmarks.sets.recordings import Pairing

FIGURES = ("abs_rel", "sq_rel", "rmse", "log_rmse", "delta_1", "delta_2", "delta_3", "known")
HEADER = ("Abs Rel", "Sq Rel", "RMSE", "log RMSE", "d<1.25", "d<1.25^2", "d<1.25^3", "known %")


def means(outcome: Outcome) -> dict[Pairing, list[DepthMean]]:
    """The means of what is finished, the protocol's own pairing and averaging first."""
    rows = list(outcome.rows.values())
    ways = [(True, False), (True, True), (False, False), (False, True)]
    return {
        pairing: [mean(rows, pairing, by_pixels, failed) for by_pixels, failed in ways]
        for pairing in outcome.job.protocol.frames.pairings
    }


def report(outcome: Outcome) -> str:
    """Return the page."""
    found = means(outcome)
    parts = [
        *head(outcome, "Depth", _measure(outcome)),
        "## Means\n",
        _means(outcome, found),
        *_published(outcome, found),
        *_sequences(outcome),
        *tail(outcome),
    ]
    return "\n".join(parts) + "\n"


def _measure(outcome: Outcome) -> str:
    rule, scale = outcome.job.protocol.depth, outcome.job.depth_scale
    assert rule is not None and scale is not None
    return (
        f"Depth scale `{scale}`: {rule.fits[scale].meaning}. Pixels: {rule.meaning}. An unknown pixel counts as depth "
        "0 (Abs Rel 1, outside every delta) and has no logarithm. Published means weight a sequence by its pixels with "
        "truth. Means are given over what ran, and with failed sequences as unknown everywhere."
    )


def _means(outcome: Outcome, found: Mapping[Pairing, list[DepthMean]]) -> str:
    rows = [
        (
            f"{pairing_name(outcome.job.protocol, pairing)}, {one.name}",
            *_cells(one.figures),
            count_of_failed(one.failed, one.asked),
        )
        for pairing, several in found.items()
        for one in _shown(several)
    ]
    return markdown_table(("truth, mean", *HEADER, "failures"), rows)


def _published(outcome: Outcome, found: Mapping[Pairing, list[DepthMean]]) -> list[str]:
    """One table per source, with ours in front."""
    job = outcome.job
    key = (job.protocol.dataset, job.protocol.name, job.depth_scale or "")
    parts = []
    for block in PUBLISHED.get(key, ()):
        parts += [f"## Published: {block.source}\n", _block(outcome, block, found)]
    return parts


def _block(outcome: Outcome, block: Block, found: Mapping[Pairing, list[DepthMean]]) -> str:
    protocol = outcome.job.protocol
    ours = [
        (
            f"recon4d, {pairing_name(protocol, pairing)}, {one.name}, "
            f"{part_of_set(one.asked, one.failed, protocol.official)}",
            number(one.figures["abs_rel"], ".3f"),
            percent(one.figures["delta_1"]),
        )
        for pairing, several in found.items()
        for one in _shown(several[:2])
    ]
    theirs = [
        (row.method, number(row.abs_rel, ".3f"), number(row.delta_1, ".1f")) for row in block.rows
    ]
    return markdown_table(("method", "Abs Rel", "d<1.25 %"), [*ours, *theirs])


def _shown(means: list[DepthMean]) -> list[DepthMean]:
    """Without what says the same twice: where nothing failed, both ways to count failures are one."""
    return [one for one in means if one.failed or not one.with_failed]


def _sequences(outcome: Outcome) -> list[str]:
    """One table per pairing."""
    parts, protocol = [], outcome.job.protocol
    for pairing in protocol.frames.pairings:
        parts += [f"## Sequences, {pairing_name(protocol, pairing)}\n", _table(outcome, pairing)]
    return parts


def _table(outcome: Outcome, pairing: Pairing) -> str:
    header = ("sequence", "frames with truth", *HEADER, "scale", "shift", "seconds", "peak MB")
    cells = []
    for name, row in outcome.rows.items():
        entry: Mapping[str, Any] = (row.get("depth") or {}).get(pairing) or {}
        frames = (
            f"{entry['frames']}/{row['frames']}"
            if "frames" in entry
            else f"failed, -/{number(row['frames'], 'd')}"
        )
        cells.append(
            (
                name,
                frames,
                *_cells(entry),
                number(entry.get("scale"), ".4g"),
                number(entry.get("shift"), ".4g"),
                number(row.get("seconds"), ".1f"),
                number(row.get("peak_rss_mb"), ".0f"),
            )
        )
    return markdown_table(header, cells)


def _cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    *lengths, known = FIGURES
    return (*(number(figures.get(name), ".4f") for name in lengths), percent(figures.get(known)))
