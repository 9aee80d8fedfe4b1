"""Errors of camera paths in the protocols of publications, and their means."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.geometry.job import Job
from benchmarks.geometry.run import Row
from benchmarks.sets.protocols import MAX_DIFF_S
from benchmarks.sets.recordings import Pairing, Recording, TruePoses
from recon4d.core.errors import InputError
from recon4d.evaluate.poses import pose_errors
from recon4d.io.poses.trajectory import Trajectory
from recon4d.results.result import Result

FIGURES = ("ate", "rpe_translation", "rpe_rotation_deg")
"""What publications give; all after one alignment by Sim(3)."""


@dataclass(frozen=True)
class PoseMean:
    """Means over sequences; None where no sequence has figures."""

    asked: int
    """Finished sequences, failed ones included."""
    failed: int
    """Those without figures: in none of the means."""
    ate: float | None
    rpe_translation: float | None
    rpe_rotation_deg: float | None
    ate_median: float | None
    """Middle sequence by ATE with failed ones last, the worse of two; None where that is a failed one."""


def score_poses(job: Job, recording: Recording, result: Result) -> Row:
    """Compare the poses of a result with the truth in every pairing."""
    del job  # nothing to choose: publications align by Sim(3)
    estimate = recording.estimate(result.sources, result.world_from_cam)
    rows = {true.pairing: _compared(estimate, true) for true in recording.poses}
    own = rows[recording.poses[0].pairing]
    row: Row = {"pose": rows}
    return row | ({"failure": own["failure"]} if "failure" in own else {})


def _compared(estimate: Trajectory, true: TruePoses) -> Row:
    if true.trajectory is None:
        return {"failure": true.why_not}
    try:
        errors = pose_errors(estimate, true.trajectory, "sim3", MAX_DIFF_S)
    except InputError as error:
        return {"failure": str(error)}
    row: Row = dataclasses.asdict(errors)
    row["failures"] = list(errors.failures)
    missing = [name for name in FIGURES if row[name] is None]
    return row | ({"failure": "; ".join(errors.failures)} if missing else {})


def lost_poses(job: Job, recording: Recording) -> Row:
    """What a sequence without a result has: no figures."""
    del job, recording
    return {"pose": None}


def mean(rows: Sequence[Mapping[str, Any]], pairing: Pairing) -> PoseMean:
    """Average over the sequences that have figures, and count those that have none."""
    figures = [figures_of(row, pairing) for row in rows]
    good = [one for one in figures if one is not None]
    errors = sorted(one["ate"] for one in good)
    middle = len(rows) // 2
    return PoseMean(
        asked=len(rows),
        failed=len(rows) - len(good),
        **{name: float(np.mean([one[name] for one in good])) if good else None for name in FIGURES},
        ate_median=errors[middle] if middle < len(errors) else None,
    )


def figures_of(row: Mapping[str, Any], pairing: Pairing) -> Mapping[str, Any] | None:
    """The figures of a row; None where it failed."""
    found = (row.get("pose") or {}).get(pairing)
    return None if found is None or "failure" in found else found
