"""Errors of depth in the protocols of publications, and their means."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from benchmarks.geometry.job import Job
from benchmarks.geometry.run import Row
from benchmarks.sets.protocols import Depth, Fit
from benchmarks.sets.recordings import Pairing, Recording, TrueDepth
from recon4d.core.errors import InputError, Recon4DError
from recon4d.evaluate.depth import DepthErrors, error_sums, mean_errors
from recon4d.results.result import Result

UNKNOWN = {"abs_rel": 1.0, "delta_1": 0.0, "delta_2": 0.0, "delta_3": 0.0, "known": 0.0}
"""Figures of a sequence whose depth is unknown everywhere: recon4d's rule for every unknown pixel."""
FIGURES = tuple(field.name for field in dataclasses.fields(DepthErrors) if field.name != "pixels")


@dataclass(frozen=True)
class Pixels:
    """The pixels of a frame whose true depth counts."""

    prediction: Float32[np.ndarray, " pixels"]
    """0 = unknown."""
    truth: Float32[np.ndarray, " pixels"]


@dataclass(frozen=True)
class DepthMean:
    """A mean over sequences; None where no sequence has figures."""

    name: str
    asked: int
    """Finished sequences, failed ones included."""
    failed: int
    """Those without figures."""
    with_failed: bool
    """True where failed ones count as unknown everywhere, False where they are left out."""
    figures: Mapping[str, float | None]


def score_depth(job: Job, recording: Recording, result: Result) -> Row:
    """Compare the depth of a result with the truth in every pairing."""
    depth, fit = _rule(job)
    own, rows = recording.depth[0].pairing, {}
    for true in recording.depth:
        try:
            pixels = list(frames_of(recording, true, result, depth))
            rows[true.pairing] = sequence_errors(pixels, depth, fit)
        except InputError as error:
            rows[true.pairing] = _lost(recording, true, depth) | {"failure": str(error)}
    failure = rows[own].get("failure")
    return {"depth": rows} | ({} if failure is None else {"failure": failure})


def lost_depth(job: Job, recording: Recording) -> Row:
    """What a sequence without a result loses: all pixels that have truth."""
    depth, _ = _rule(job)
    return {"depth": {true.pairing: _lost(recording, true, depth) for true in recording.depth}}


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


def mean(
    rows: Sequence[Mapping[str, Any]], pairing: Pairing, by_pixels: bool, with_failed: bool
) -> DepthMean:
    """Average over sequences.

    Args:
        rows: Finished sequences.
        pairing: Whose figures.
        by_pixels: Weight each sequence by its pixels with truth, as MonST3R and CUT3R do; else all alike.
        with_failed: Count a failed sequence as unknown everywhere; else leave it out. It has no weight by pixels where
            even its truth cannot be read.
    """
    entries = [(row.get("depth") or {}).get(pairing) or {} for row in rows]
    failed = [entry for entry in entries if _is_failed(entry)]
    good = [entry for entry in entries if not _is_failed(entry)]
    used = [*good, *({**entry, **UNKNOWN} for entry in failed if with_failed)]
    weights = [float(entry.get("pixels") or 0) if by_pixels else 1.0 for entry in used]
    name = "weighted by pixels" if by_pixels else "per sequence"
    return DepthMean(
        f"{name}, failed = unknown everywhere" if with_failed else name,
        asked=len(rows),
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


def _is_failed(entry: Mapping[str, Any]) -> bool:
    return "failure" in entry or "abs_rel" not in entry


def _rule(job: Job) -> tuple[Depth, Fit]:
    rule = job.protocol.depth
    assert rule is not None and job.depth_scale is not None
    return rule, rule.fits[job.depth_scale]


def _truth(
    recording: Recording, path: Path, rule: Depth
) -> tuple[Float32[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """True depth, and which of its pixels count."""
    truth = recording.read_depth(path)
    return truth, (truth > rule.nearest_m) & (truth < rule.farthest_m)


def _lost(recording: Recording, true: TrueDepth, rule: Depth) -> Row:
    """The pixels that have truth; None where it cannot be read."""
    files = [path for path in true.files if path is not None]
    try:
        return {"pixels": int(sum(_truth(recording, path, rule)[1].sum() for path in files))}
    except Recon4DError:
        return {"pixels": None}  # the sequence is listed as failed all the same
