"""What an evaluation found, as data, as a table and as JSON."""

import dataclasses
import json
import math
from dataclasses import dataclass

from recon4d.evaluate.depth import DepthErrors
from recon4d.evaluate.poses import PoseErrors
from recon4d.evaluate.stated import StatedPoses
from recon4d.evaluate.steady import SteadyDepth


@dataclass(frozen=True)
class DepthReport:
    """Depth errors of a sequence after one alignment."""

    depth_scale: str
    """The value of `--depth-scale`."""
    scale: float
    """Metres of the truth per unit of the prediction."""
    shift: float
    frames: int
    """Frames with truth."""
    all: DepthErrors
    static: DepthErrors | None
    """Over the pixels that the truth's masks call static; None where the truth has no masks."""
    moving: DepthErrors | None
    within_std: float | None = None
    """Share of the errors within one stated standard deviation; None where the result states none."""


@dataclass(frozen=True)
class MaskReport:
    """DAVIS measures, means over frames."""

    frames: int
    jaccard: float
    jaccard_recall: float
    """Share of the frames with J above 0.5."""
    contour: float
    contour_recall: float
    steady: float | None = None
    """Mean overlap of every mask with the one before, carried along the flow; None where nothing moves."""


@dataclass(frozen=True)
class Evaluation:
    """All that could be compared; None where one side lacks it."""

    result: str
    truth: str | None
    """None: there was none to compare with."""
    is_metric: bool
    poses: PoseErrors | None
    depth: DepthReport | None
    masks: MaskReport | None
    stated_poses: StatedPoses | None = None
    """Whether the stated covariance of the relative poses holds."""
    steady_depth: SteadyDepth | None = None
    """How depth changes from frame to frame, which needs no truth."""


def to_json(evaluation: Evaluation) -> str:
    """Return all figures by name; what is not a number is null."""
    return json.dumps(_plain(dataclasses.asdict(evaluation)), indent=2) + "\n"


def format_table(evaluation: Evaluation) -> str:
    """Lay the figures out for the screen."""
    blocks = []
    if evaluation.poses is not None:
        blocks.append(_pose_table(evaluation.poses, evaluation.stated_poses))
    if evaluation.depth is not None:
        blocks.append(_depth_table(evaluation.depth))
    if evaluation.masks is not None:
        blocks.append(_mask_table(evaluation.masks))
    if evaluation.steady_depth is not None:
        blocks.append(_steady_table(evaluation.steady_depth))
    return "\n\n".join(blocks)


def _pose_table(poses: PoseErrors, stated: StatedPoses | None) -> str:
    kind = {"sim3": "Sim(3)", "se3": "SE(3)", "none": "no"}[poses.align]
    lines = [
        f"poses: {poses.matched} matched, {kind} alignment, true path {poses.path:.3f} m",
        f"  ATE       {_number(poses.ate, '.4f')} m",
        f"  RPE-t     {_number(poses.rpe_translation, '.4f')} m",
        f"  RPE-r     {_number(poses.rpe_rotation_deg, '.4f')} deg",
        f"  rotation  {poses.rotation_best_deg:.4f} deg after the best single rotation",
    ]
    if stated is not None:
        lines.append(
            f"  within one stated standard deviation, frame to frame: rotation {stated.rotation:.1%}, "
            f"translation {stated.translation:.1%}"
        )
    lines += [f"  not available: {failure}" for failure in poses.failures]
    return "\n".join(lines)


def _depth_table(depth: DepthReport) -> str:
    how = {
        "sequence": f"one scale for the sequence ({depth.scale:.4g})",
        "scale_shift": f"one scale ({depth.scale:.4g}) and shift ({depth.shift:.4g}) for the sequence",
        "none": "as it is",
    }[depth.depth_scale]
    header = (
        "",
        "Abs Rel",
        "Sq Rel",
        "RMSE",
        "log RMSE",
        "d<1.25",
        "d<1.25^2",
        "d<1.25^3",
        "known",
    )
    rows: list[tuple[str, ...]] = [header]
    for name, errors in (("all", depth.all), ("static", depth.static), ("moving", depth.moving)):
        if errors is not None:
            figures = dataclasses.astuple(errors)[:-1]
            rows.append((name, *(_number(value, ".4f") for value in figures)))
    lines = ["  " + row[0].ljust(7) + "".join(cell.rjust(10) for cell in row[1:]) for row in rows]
    note = "  an unknown pixel counts as depth 0: Abs Rel 1, outside every delta"
    if depth.within_std is not None:
        lines.append(f"  within one stated standard deviation: {depth.within_std:.1%}")
    return "\n".join([f"depth: {depth.frames} frames, {how}", *lines, note])


def _mask_table(masks: MaskReport) -> str:
    return (
        f"masks: {masks.frames} frames\n"
        f"  J  {masks.jaccard:.4f}   recall {masks.jaccard_recall:.4f}\n"
        f"  F  {masks.contour:.4f}   recall {masks.contour_recall:.4f}\n"
        f"  steady  {_number(masks.steady, '.4f')}   J of every mask with the one before, carried along the flow"
    )


def _steady_table(depth: SteadyDepth) -> str:
    lines = [
        "change of depth from frame to frame, shares of the pixels: above 5 %, above 20 %",
        f"  static  {depth.static_5:.2%}   {depth.static_20:.2%}   after the camera's motion",
    ]
    if depth.moving_5 is not None and depth.moving_20 is not None:
        lines.append(f"  moving  {depth.moving_5:.2%}   {depth.moving_20:.2%}   along the flow")
    if depth.mover_jump is not None:
        lines.append(f"  largest jump of the movers' median: a factor of {depth.mover_jump:.2f}")
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def _plain(value: object) -> object:
    """Convert what JSON has no word for to null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
