"""What of a finished result is not to be believed: all checks of it, in one table that reads from top to bottom.

Every check gives each frame a number; frames beyond its limits make one warning. What another warning says already is
not said again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float64

from recon4d.core.geometry import transfer
from recon4d.core.scene import Notice, Scene
from recon4d.core.text import plain_number, spans
from recon4d.optim.setting import USUAL_LENSES
from recon4d.run.figures import FrameFigures

MOST_RESIDUAL_PX = 3.0
"""Median static flow residual of pairs up to 10 frames apart: 0.2 to 1.7 px where all is well (docs/RESULTS.md)."""
TORN_TIMES, TORN_PX = 8.0, 3.0
"""How many times the median over the video, and how many pixels, cameras of neighbours contradict the flow. Set by
hand: frames of clips that work are within 4 times, those beside a camera that jumps beyond 20."""
LEAST_TIES = 12
"""Points of a frame below which its step to the next is not judged."""
MOST_MOVING = 0.6
"""Share of the picture: people who fill a third of it are much (`recon4d.io.masks.values`)."""
MOVING_FRAMES = 60
"""Over which that share is averaged; set by hand: people who come close fill .64 of 13 frames (`exact_heavy`)."""
MOST_RANGE = 1e4
"""Of measured depths, 1st to 99th percentile: from a hand's breadth to a kilometre."""
MOST_ROWS, ROWS_OVER_COLUMNS = 0.35, 2.5
"""Share of the residual's variance between neighbouring frames that is between rows, and how many times that between
columns it is then: a shutter of 40 ms that is left out .44 and 4.7, the same taken off .11 and 1.5; rendered clips, a
real kitchen and hand-held footage .06 to .29 and at most 2.7 (20 clips of 30 or 40 frames at 320 or 512 px)."""
MOST_BORDER, MOST_COMMON = 1.5, 1.9
"""Residual at the border over that in the middle, of all pixels and of what places have in common, 10 frames apart: a
lens with k1 = -.2 that is left out 1.8 and 2.2; the same clips without at most 1.8 the one and 1.7 the other, and
never more than 1.5 with more than 1.5."""
FEWEST_PAIRS = 3
"""Of frames, whose patterns have a median."""
SMALL = 1e-9
"""Divides where there may be 0."""

Values = Float64[np.ndarray, " frames"]


@dataclass(frozen=True)
class Finished:
    """What the checks look at."""

    scene: Scene
    figures: FrameFigures
    size: tuple[int, int]
    """(width, height) of the working size in pixels."""
    focal_source: str
    """As in run.json."""
    residual_px: Mapping[str, float] = field(default_factory=dict)
    """Median static flow residual of the whole, by frames apart."""
    in_input: Callable[[tuple[int, ...]], tuple[int, ...]] = tuple
    """All frames of the input that show some of these: warnings name them."""
    explains_nothing: bool = False
    """A lens was looked for in the flow, and would explain nothing of what it was not fitted to."""

    @property
    def residuals(self) -> str:
        """E.g. `0.31 px 1 frame apart, 4.20 px 5 apart`."""
        parts = [f"{px:.2f} px {apart} apart" for apart, px in self.residual_px.items()]
        return ", ".join(parts).replace("apart", "frame apart", 1)


@dataclass(frozen=True)
class Doubt:
    """A row of the table."""

    code: str
    value: Callable[[Finished], Values]
    """Of every frame; nan: nothing is known."""
    limits: tuple[float, float]
    """Least and largest value that is believed."""
    sentence: str
    """With `where`: the frames; `worst`: the value farthest beyond the limits; `residuals`: as of `Finished`."""
    unless: tuple[str, ...] = ()
    """Codes of warnings that say enough of the frames they name (of all, where they name none)."""


def _residual(result: Finished) -> Values:
    return result.figures.residual_px


def _tear(result: Finished) -> Values:
    """How many times the usual the cameras of a frame and the next contradict the flow between them."""
    error_px = step_errors_px(result.scene, result.figures)
    known = error_px[np.isfinite(error_px)]
    usual_px = max(float(np.median(known)), TORN_PX / TORN_TIMES) if len(known) else 1.0
    return error_px / usual_px


def _focal(result: Finished) -> Values:
    focal = result.scene.intrinsics[:, 0] / max(result.size)
    return np.full(len(focal), np.nan) if result.focal_source == "given" else focal


def _moving(result: Finished) -> Values:
    """Mean over the frames before and after: what passes close to the camera fills a picture for a while."""
    share, around = result.figures.moving.astype(np.float64), np.arange(len(result.figures.moving))
    first = np.clip(around - MOVING_FRAMES // 2, 0, max(0, len(share) - MOVING_FRAMES))
    return np.array([share[at : at + MOVING_FRAMES].mean() for at in first])


def _range(result: Finished) -> Values:
    depth = result.figures.depth
    known = depth[np.isfinite(depth)].astype(np.float64)
    low, high = np.percentile(known, (1, 99)) if len(known) else (np.nan, np.nan)
    return np.full(len(depth), high / low)


def _flat(result: Finished) -> Values:
    return result.figures.is_flat.astype(np.float64)


def _rows(result: Finished) -> Values:
    """Share of the residual between neighbouring frames that is of whole rows, where columns have far less."""
    rows, columns, *_ = _median_pattern(result)
    return np.full(len(result.figures.moving), rows if rows > ROWS_OVER_COLUMNS * columns else 0.0)


def _border(result: Finished) -> Values:
    """How many times the residual of the middle is that at the border, where places there have it in common, too.

    Errors of flow are alike over places, too, in few or small frames; where a lens was looked for, that is known.
    """
    *_, border, common = _median_pattern(result)
    is_lens = common > MOST_COMMON and not result.explains_nothing
    return np.full(len(result.figures.moving), border if is_lens else 0.0)


def _median_pattern(result: Finished) -> list[float]:
    """Medians over the pairs of the whole; nan where too few tell, or where hardly anything holds together anyway."""
    if (result.figures.residual_px > MOST_RESIDUAL_PX).any():
        return [np.nan] * result.figures.pattern.shape[1]
    columns = result.figures.pattern.T.astype(np.float64)
    known = [column[np.isfinite(column)] for column in columns]
    return [float(np.median(each)) if len(each) >= FEWEST_PAIRS else np.nan for each in known]


DOUBTS = (
    Doubt(
        "residual_grows",
        _residual,
        (0.0, MOST_RESIDUAL_PX),
        "In {where}, what is static moves up to {worst:.1f} px otherwise than depth and cameras say (medians of all: "
        "{residuals}): they do not hold together over time; look at the masks, and try others (--masks FOLDER), a part "
        "of the video (--start, --max-frames), or a larger --size.",
        unless=("lost_frames", "disconnected"),
    ),
    Doubt(
        "cameras_torn",
        _tear,
        (0.0, TORN_TIMES),
        "After {where}, the cameras move otherwise than the pictures ({worst:.0f} times the usual difference): the "
        "path jumps there; keep more frames (--stride, --fps), or leave these out (--start, --max-frames).",
    ),
    Doubt(
        "odd_focal",
        _focal,
        USUAL_LENSES,
        "The focal length of {where} came out as {worst:.2g} times the long side of the image, at the edge of "
        "what lenses have or beyond: the motion does not tell it, and depth and path may be stretched with it; give "
        "--intrinsics if you know it.",
        unless=("focal_assumed", "focal_unsure"),
    ),
    Doubt(
        "much_moving",
        _moving,
        (0.0, MOST_MOVING),
        "Around {where}, up to {worst:.0%} of all pixels are called moving: the cameras hang on the little that is "
        "left; if less moves, give masks (--masks FOLDER) or try --masks residual.",
    ),
    Doubt(
        "depth_range",
        _range,
        (0.0, MOST_RANGE),
        "What is far is measured as {worst} times as far as what is near (1st to 99th percentile), more than a scene "
        "has: the camera moved too little to tell depth; trust the rotations, and depth only where depth_std is small.",
    ),
    Doubt(
        "residual_at_border",
        _border,
        (0.0, MOST_BORDER),
        "At the border of the picture what is static moves {worst} times as far otherwise than depth and cameras say "
        "as in the middle, and whole places there the same way: a lens that bends straight lines is the likely cause; "
        "let it be found (--lens auto, or radial, or fisheye), or give it (--intrinsics FILE).",
        unless=("no_parallax", "low_parallax"),
    ),
    Doubt(
        "residual_in_rows",
        _rows,
        (0.0, MOST_ROWS),
        "Whole rows of the picture move otherwise than depth and cameras say ({worst:.0%} of what is left between "
        "neighbouring frames): a shutter that rolls is the likely cause (phones, action cameras), or a picture that "
        "was stabilised; let it be found (--readout auto), or give its milliseconds (--readout MS).",
        unless=("no_parallax", "low_parallax"),
    ),
    Doubt(
        "flat_depth",
        _flat,
        (0.0, 0.5),
        "The depth of {where} is not known (a constant, or confidence 0 everywhere): no other frame shows the "
        "same from another place; keep more of the frames around (--stride, --max-frames), or do without their depth.",
        unless=("no_parallax", "lost_frames", "disconnected"),
    ),
)
"""All of them."""


def doubts(result: Finished, said: Sequence[Notice]) -> tuple[Notice, ...]:
    """Check a finished result.

    Args:
        result: What is looked at.
        said: Warnings that there are already.
    """
    found = (_notice(doubt, result, said) for doubt in DOUBTS)
    return tuple(notice for notice in found if notice is not None)


def _notice(doubt: Doubt, result: Finished, said: Sequence[Notice]) -> Notice | None:
    values, (low, high) = doubt.value(result), doubt.limits
    beyond = ((values < low) | (values > high)) & ~_named(said, doubt.unless, len(values))
    if not beyond.any():
        return None
    wrong = values[beyond]
    worst = float(wrong[np.argmax(np.maximum(wrong / high, low / np.maximum(wrong, SMALL)))])
    frames = () if beyond.all() else tuple(int(frame) for frame in np.flatnonzero(beyond))
    frames = result.in_input(frames)
    number = plain_number(worst) if "{worst}" in doubt.sentence else worst
    named = {"where": spans(frames), "worst": number, "residuals": result.residuals}
    return Notice(doubt.code, doubt.sentence.format(**named), frames)


def _named(
    said: Sequence[Notice], codes: tuple[str, ...], count: int
) -> Bool[np.ndarray, " frames"]:
    """Frames that warnings of some codes name."""
    out = np.zeros(count, bool)
    for notice in said:
        if notice.code in codes:
            out[list(notice.frames) if notice.frames else slice(None)] = True
    return out


def step_errors_px(scene: Scene, figures: FrameFigures) -> Values:
    """Median distance of where a frame's points must be in the next one from where the flow has them, pixels.

    nan for the last frame, and where one of two is not placed with the other or has too few points.
    """
    count = len(figures.moving)
    pairs = np.arange(count - 1)
    ties = torch.from_numpy(figures.ties[pairs].astype(np.float64))
    poses = scene.world_from_cam
    relative = torch.from_numpy(np.linalg.inv(poses[pairs + 1]) @ poses[pairs])
    k = torch.from_numpy(np.array(scene.intrinsics))
    found, ratio = transfer(ties[..., :2], 1 / ties[..., 4], relative, k[pairs], k[pairs + 1])
    error = torch.where(ratio > 0, (found - ties[..., 2:4]).norm(dim=-1), torch.inf)
    error = torch.where(ties[..., 4].isnan(), torch.nan, error)
    piece = scene.component
    together = (piece[pairs] == piece[pairs + 1]) & (piece[pairs] >= 0)
    enough = (~ties[..., 4].isnan()).sum(-1).numpy() >= LEAST_TIES
    out = np.full(count, np.nan)
    out[:-1] = np.where(together & enough, error.nanmedian(dim=-1).values.numpy(), np.nan)
    return out
