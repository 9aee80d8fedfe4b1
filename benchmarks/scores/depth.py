"""The benchmark of depth: its errors in the protocols of publications."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from benchmarks.measure.common import number
from benchmarks.scores.geometry import Geometry
from benchmarks.scores.geometry_page import Mean
from benchmarks.scores.page import Cells, Row, Rows, percent
from benchmarks.sets.protocols import Depth, Fit
from benchmarks.sets.recordings import Pairing, Recording, TrueDepth
from recon4d.core.errors import InputError, Recon4DError
from recon4d.evaluate.depth import DepthErrors, error_sums, mean_errors
from recon4d.results.result import Result

UNKNOWN = {"abs_rel": 1.0, "delta_1": 0.0, "delta_2": 0.0, "delta_3": 0.0, "known": 0.0}
"""Figures of a sequence whose depth is unknown everywhere: recon4d's rule for every unknown pixel."""
FIGURES = tuple(field.name for field in dataclasses.fields(DepthErrors) if field.name != "pixels")
HEADER = ("Abs Rel", "Sq Rel", "RMSE", "log RMSE", "d<1.25", "d<1.25^2", "d<1.25^3", "known %")
"""Columns of `FIGURES`."""


@dataclass(frozen=True)
class Pixels:
    """The pixels of a frame whose true depth counts."""

    prediction: Float32[np.ndarray, " pixels"]
    """0 = unknown."""
    truth: Float32[np.ndarray, " pixels"]


class Depths(Geometry):
    """Depth on the sequences of a protocol."""

    task = "depth"
    title = "Depth"
    mean_header = ("truth, mean", *HEADER)
    sequence_header = ("frames with truth", *HEADER, "scale", "shift")

    @property
    def rule(self) -> Depth:
        """How the protocol compares depth."""
        assert self.job.protocol.depth is not None
        return self.job.protocol.depth

    @property
    def fit(self) -> Fit:
        """The alignment that was asked for."""
        assert self.job.depth_scale is not None
        return self.rule.fits[self.job.depth_scale]

    @property
    def meaning(self) -> str:
        """What is compared, and how means are taken."""
        return (
            f"Depth scale `{self.job.depth_scale}`: {self.fit.meaning}. Pixels: {self.rule.meaning}. An unknown pixel "
            "counts as depth 0 (Abs Rel 1, outside every delta) and has no logarithm. Published means weight a "
            "sequence by its pixels with truth. Means are given over what ran, and with failed sequences as unknown "
            "everywhere."
        )

    def score(self, recording: Recording, result: Result) -> Row:
        """Compare the depth of a result with the truth in every pairing."""
        own, rows = recording.depth[0].pairing, {}
        for true in recording.depth:
            try:
                pixels = list(frames_of(recording, true, result, self.rule))
                rows[true.pairing] = sequence_errors(pixels, self.rule, self.fit)
            except InputError as error:
                rows[true.pairing] = self._lost(recording, true) | {"failure": str(error)}
        failure = rows[own].get("failure")
        return {"depth": rows} | ({} if failure is None else {"failure": failure})

    def lost(self, recording: Recording) -> Row:
        """What a sequence without a result loses: all pixels that have truth."""
        return {"depth": {true.pairing: self._lost(recording, true) for true in recording.depth}}

    def _lost(self, recording: Recording, true: TrueDepth) -> Row:
        """The pixels that have truth; None where it cannot be read."""
        files = [path for path in true.files if path is not None]
        try:
            counts = [_truth(recording, path, self.rule)[1].sum() for path in files]
        except Recon4DError:
            return {"pixels": None}  # the sequence is listed as failed all the same
        return {"pixels": int(sum(counts))}

    def means(self, rows: Rows, pairing: Pairing) -> list[Mean]:
        """Weighted by pixels and per sequence, each without and with failed sequences."""
        entries = [(row.get("depth") or {}).get(pairing) or {} for row in rows.values()]
        ways = [(True, False), (True, True), (False, False), (False, True)]
        return [mean(entries, by_pixels, with_failed) for by_pixels, with_failed in ways]

    def summary(self, rows: Rows) -> Row:
        """All means of each pairing."""
        found = self.all_means(rows)
        return {
            "means": {way: [*map(dataclasses.asdict, several)] for way, several in found.items()}
        }

    def mean_cells(self, mean: Mean) -> Cells:
        """All errors."""
        return _cells(mean.figures)

    def published_cells(self, mean: Mean) -> Cells:
        """Abs Rel and the first delta."""
        return number(mean.figures["abs_rel"], ".3f"), percent(mean.figures["delta_1"])

    def sequence_cells(self, row: Mapping[str, Any], pairing: Pairing) -> Cells:
        """Frames that have truth, all errors, and the alignment."""
        entry = (row.get("depth") or {}).get(pairing) or {}
        count = number(row["frames"], "d")
        frames = f"{entry['frames']}/{count}" if "frames" in entry else f"failed, -/{count}"
        fit = (number(entry.get(name), ".4g") for name in ("scale", "shift"))
        return (frames, *_cells(entry), *fit)


def frames_of(
    recording: Recording, true: TrueDepth, result: Result, rule: Depth
) -> Iterator[Pixels]:
    """The pixels of every frame that has truth; all unknown where the result lacks the frame.

    Raises:
        InputError: No frame has truth, or a file of it cannot be read.
    """
    if not any(true.files):
        raise InputError(true.why_not or f"no frame of {recording.name} has true depth at its time")
    row_of = {index: row for row, index in enumerate(recording.indices(result.sources))}
    for index, path in enumerate(true.files):
        if path is None:
            continue
        truth, counts = _truth(recording, path, rule)
        if index in row_of:
            prediction = rule.resize(result.depth[row_of[index]], truth.shape)[counts]
        else:
            prediction = np.zeros(int(counts.sum()), np.float32)
        yield Pixels(prediction, truth[counts])


def sequence_errors(frames: Sequence[Pixels], rule: Depth, fit: Fit) -> Row:
    """Align a whole sequence once, and compare.

    Raises:
        InputError: No pixel has truth, or none of these has a prediction.
    """
    if not sum(frame.truth.size for frame in frames):
        raise InputError(f"no pixel of the truth counts ({rule.meaning}); is it the right data?")
    known = [frame.prediction != 0 for frame in frames]
    prediction = np.concatenate([f.prediction[k] for f, k in zip(frames, known, strict=True)])
    if not prediction.size:
        raise InputError("the result has no depth at any pixel that has true depth")
    truth = np.concatenate([f.truth[k] for f, k in zip(frames, known, strict=True)])
    scale, shift = fit.align(prediction, truth)
    sums = np.zeros(9)
    for frame, is_known in zip(frames, known, strict=True):
        aligned = scale * frame.prediction.astype(np.float64) + shift
        if rule.clip_m != (None, None):
            aligned = np.clip(aligned, *rule.clip_m)
        sums += error_sums(aligned, frame.truth, is_known)
    figures = dataclasses.asdict(mean_errors(sums))
    return {"scale": scale, "shift": shift, "frames": len(frames)} | {
        name: value if math.isfinite(value) else None for name, value in figures.items()
    }


def mean(entries: Sequence[Mapping[str, Any]], by_pixels: bool, with_failed: bool) -> Mean:
    """Average over sequences.

    Args:
        entries: Figures of every finished sequence.
        by_pixels: Weight each sequence by its pixels with truth, as MonST3R and CUT3R do; else all alike.
        with_failed: Count a failed sequence as unknown everywhere; else leave it out. It has no weight by pixels where
            even its truth cannot be read.
    """
    failed = [entry for entry in entries if "failure" in entry or "abs_rel" not in entry]
    good = [entry for entry in entries if entry not in failed]
    used = [*good, *({**entry, **UNKNOWN} for entry in failed if with_failed)]
    weights = [float(entry.get("pixels") or 0) if by_pixels else 1.0 for entry in used]
    name = "weighted by pixels" if by_pixels else "per sequence"
    return Mean(
        f"{name}, failed = unknown everywhere" if with_failed else name,
        asked=len(entries),
        failed=len(failed),
        with_failed=with_failed,
        figures={name: _average(used, weights, name) for name in FIGURES},
    )


def _average(
    entries: Sequence[Mapping[str, Any]], weights: Sequence[float], name: str
) -> float | None:
    """Weighted mean; None unless every entry has the figure."""
    values = [entry.get(name) for entry in entries]
    if not sum(weights) or any(value is None for value in values):
        return None
    return float(np.average(np.array(values, np.float64), weights=weights))


def _truth(
    recording: Recording, path: Path, rule: Depth
) -> tuple[Float32[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """True depth, and which of its pixels count."""
    truth = recording.read_depth(path)
    return truth, (truth > rule.nearest_m) & (truth < rule.farthest_m)


def _cells(figures: Mapping[str, Any]) -> Cells:
    *lengths, known = FIGURES
    return (*(number(figures.get(name), ".4f") for name in lengths), percent(figures.get(known)))
