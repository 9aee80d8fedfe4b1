"""The benchmark of camera poses: their errors in the protocols of publications."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.measure.common import number
from benchmarks.scores.geometry import Geometry
from benchmarks.scores.geometry_page import Mean
from benchmarks.scores.page import Cells, Row, Rows
from benchmarks.sets.protocols import MAX_DIFF_S
from benchmarks.sets.recordings import Pairing, Recording, TruePoses
from recon4d.core.errors import InputError
from recon4d.evaluate.poses import pose_errors
from recon4d.io.poses.trajectory import Trajectory
from recon4d.results.result import Result

FORMS = {"ate": ".4f", "rpe_translation": ".4f", "rpe_rotation_deg": ".3f"}
"""What publications give, all after one alignment by Sim(3), and how the page writes it."""


class Poses(Geometry):
    """Poses on the sequences of a protocol."""

    task = "pose"
    title = "Camera poses"
    meaning = (
        "Alignment: Sim(3) over the whole sequence (evo, `align=True, correct_scale=True`). ATE: RMSE of the "
        "positions; RPE-t and RPE-r: RMSE from each frame to the next. Means are over the sequences that have "
        "figures; the median counts a failed sequence as the worst."
    )
    mean_header = ("truth", "sequences", "ATE m", "RPE-t m", "RPE-r deg", "ATE median m")
    sequence_header = ("matched", "ATE m", "RPE-t m", "RPE-r deg", "rotation deg", "path m")

    def score(self, recording: Recording, result: Result) -> Row:
        """Compare the poses of a result with the truth in every pairing."""
        estimate = recording.estimate(result.sources, result.world_from_cam)
        rows = {true.pairing: _compared(estimate, true) for true in recording.poses}
        own = rows[recording.poses[0].pairing]
        return {"pose": rows} | ({"failure": own["failure"]} if "failure" in own else {})

    def lost(self, recording: Recording) -> Row:
        """A sequence without a result has no figures."""
        del recording
        return {"pose": None}

    def means(self, rows: Rows, pairing: Pairing) -> list[Mean]:
        """The mean over the sequences that have figures; the middle ATE is None where that sequence failed.

        The middle is by ATE with failed sequences last, the worse of two.
        """
        good = [one for one in (_figures(row, pairing) for row in rows.values()) if one is not None]
        figures = {
            name: np.mean([one[name] for one in good]).item() if good else None for name in FORMS
        }
        errors, middle = sorted(one["ate"] for one in good), len(rows) // 2
        figures["ate_median"] = errors[middle] if middle < len(errors) else None
        return [Mean("", len(rows), len(rows) - len(good), False, figures)]

    def summary(self, rows: Rows) -> Row:
        """The mean of each pairing."""
        means = {way: one for way, (one,) in self.all_means(rows).items()}
        return {
            "means": {
                way: {"asked": one.asked, "failed": one.failed, **one.figures}
                for way, one in means.items()
            }
        }

    def mean_cells(self, mean: Mean) -> Cells:
        """Sequences with figures, their means, and the median."""
        done = f"{mean.asked - mean.failed}/{mean.asked}"
        return (done, *_three(mean.figures), number(mean.figures["ate_median"], ".4f"))

    def published_cells(self, mean: Mean) -> Cells:
        """ATE, RPE-t and RPE-r."""
        return _three(mean.figures)

    def sequence_cells(self, row: Mapping[str, Any], pairing: Pairing) -> Cells:
        """Matched frames and all errors; what is there of a sequence that failed."""
        shown = (row.get("pose") or {}).get(pairing) or {}
        failed = _figures(row, pairing) is None
        matched = f"{number(shown.get('matched'), 'd')}/{number(row.get('frames'), 'd')}"
        return (
            f"failed, {matched}" if failed else matched,
            *_three(shown),
            number(shown.get("rotation_best_deg"), ".3f"),
            "-" if failed else number(shown["path"], ".3f"),
        )


def _compared(estimate: Trajectory, true: TruePoses) -> Row:
    if true.trajectory is None:
        return {"failure": true.why_not}
    try:
        errors = pose_errors(estimate, true.trajectory, "sim3", MAX_DIFF_S)
    except InputError as error:
        return {"failure": str(error)}
    row: Row = dataclasses.asdict(errors)
    row["failures"] = list(errors.failures)
    missing = [name for name in FORMS if row[name] is None]
    return row | ({"failure": "; ".join(errors.failures)} if missing else {})


def _figures(row: Mapping[str, Any], pairing: Pairing) -> Mapping[str, Any] | None:
    """The figures of a row; None where it failed."""
    found = (row.get("pose") or {}).get(pairing)
    return None if found is None or "failure" in found else found


def _three(figures: Mapping[str, Any]) -> Cells:
    return tuple(number(figures.get(name), form) for name, form in FORMS.items())
