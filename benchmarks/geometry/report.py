"""What the pages of the benchmarks of poses and of depth share."""

from collections.abc import Mapping
from typing import Any

from benchmarks.geometry.run import Outcome
from benchmarks.measure.common import made_lines
from benchmarks.sets.protocols import MAX_DIFF_S, Protocol
from benchmarks.sets.recordings import Pairing

TITLES = {
    "tum": "TUM RGB-D, dynamic",
    "bonn": "Bonn RGB-D Dynamic",
    "sintel": "MPI-Sintel",
    "kitti": "KITTI, annotated depth",
    "tumlike": "sequences in TUM layout",
}
WHOSE = {"monst3r": "MonST3R", "align3r": "Align3R", "all": "recon4d"}
"""Protocols as they are written."""


def pairing_name(protocol: Protocol, way: Pairing) -> str:
    """How the page calls a way in which frames and truth are paired."""
    return f"row cut ({WHOSE[protocol.name]} protocol)" if way == "rows" else "by time"


def head(outcome: Outcome, what: str, measure: str) -> list[str]:
    """Title, how it was made, and the protocol."""
    protocol = outcome.job.protocol
    frames = protocol.frames
    pairing = {
        "rows": "row cut: the n-th frame has the n-th row or depth image of the same cut, whatever their times",
        "time": f"by time: each frame has the truth nearest in time, at most {MAX_DIFF_S} s apart",
    }
    ways = [pairing[way] for way in frames.pairings]
    if frames.among == "matches" or protocol.dataset in ("sintel", "kitti"):
        ways = []  # said by the rule, or a matter of names
    return [
        f"# {what}: {TITLES[protocol.dataset]}, protocol {protocol.name}\n",
        f"Made by `{outcome.job.command}`; nothing here is typed by hand but published figures.\n",
        *made_lines(outcome.rows),
        *(f"* **{note}**" for note in _remarks_on_the_set(outcome)),
        "\n## Protocol\n",
        f"* {protocol.source}.",
        f"* Frames: {frames.meaning}.",
        *(f"* Truth {way}." for way in ways),
        *(f"* {remark[0].upper()}{remark[1:]}." for remark in protocol.remarks),
        f"* {measure}",
        "* Images go to the run as they are, without cropping; a sequence that fails is listed and counted, never "
        "skipped.\n",
    ]


def _remarks_on_the_set(outcome: Outcome) -> list[str]:
    job, lines = outcome.job, list(outcome.notes)
    if len(outcome.rows) < outcome.asked:
        lines.append(f"so far {len(outcome.rows)} of {outcome.asked} sequences")
    official = job.protocol.official
    if official is not None and outcome.asked != official:
        lines.append(
            f"{outcome.asked} of the {official} official sequences: not to be compared with published means"
        )
    if job.max_frames is not None:
        lines.append(
            f"only the first {job.max_frames} of the protocol's frames: not to be compared with published figures"
        )
    if job.uses_sensor_depth:
        lines.append(
            "--geometry rgbd: the runs were given the depth sensor's images, which published figures were not"
        )
    return lines


def remarks(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line per failure, shorter sequence, missing frame, or warning."""
    lines = []
    for name, row in rows.items():
        if "failure" in row:
            lines.append(f"* {name}: **failed**: {' '.join(str(row['failure']).split())}")
        if row.get("note"):
            lines.append(f"* {name}: {row['note']}")
        if row.get("without_result"):
            lines.append(f"* {name}: **{row['without_result']} frames have no result**")
        if row.get("focal_known"):
            lines.append(f"* {name}: intrinsics were known")
        if row.get("warnings"):
            lines.append(f"* {name}: {', '.join(row['warnings'])}")
    return lines or ["None."]


def tail(outcome: Outcome) -> list[str]:
    """Failures and warnings, and the commands."""
    commands = dict.fromkeys(f"* `{row['command']}`" for row in outcome.rows.values())
    return [
        "## Failures and remarks\n",
        *remarks(outcome.rows),
        "\n## Commands\n",
        *commands,
    ]


def part_of_set(asked: int, failed: int, official: int | None) -> str:
    """How many of the official sequences a mean is over."""
    part = f"{asked - failed} of {official} sequences"
    return f"{part}, {failed} failed" if failed else part


def count_of_failed(failed: int, asked: int) -> str:
    """How many sequences have no figures."""
    return f"{failed} of {asked} failed"


def percent(value: object) -> str:
    """A share in percent, `-` where there is none."""
    return f"{100 * value:.1f}" if isinstance(value, int | float) else "-"
