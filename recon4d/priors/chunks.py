"""What pi3 says about a video as a prior: depth in one scale, a focal length, and how far to trust both.

The network gives no intrinsics: the focal length is what makes its points a pinhole camera's. Nor does it say whether
it saw a scene at all: its points have to be those of a lens, and points of one frame, moved by its cameras, have to
lie where the flow finds them in another.

Numbers here that name no source were set by hand.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64

from recon4d.core.arrays import create_array
from recon4d.core.errors import DegenerateError
from recon4d.core.pinhole import rays_array
from recon4d.core.sampling import sample_place
from recon4d.core.scene import DepthPrior, Flow, Notice
from recon4d.networks.pi3.load import load_pi3
from recon4d.optim.pairwise.start import shared_focal
from recon4d.priors import Prior, Question
from recon4d.priors.views import RAY_STEP, Views, predict_views
from recon4d.weights.resolve import Resources

SIGMA = 0.1
"""Of sure depth, relative: published errors are near .04, but hold for whole surfaces, so that pixels do not average
out."""
MIN_CONFIDENCE = 0.01
"""Confidence, of 1, is raised to this before it divides: the relative deviation is 1 at most there, anyway."""
MAX_LENS_ERROR = 0.3
"""Half of a frame's rays may miss their pixels by this part of those pixels' distance from the middle, no more."""
MAX_GAP = 0.5
"""Half of a frame's points may be off from those of another frame by this part of their depth, no more ..."""
AGREEING = 1 / 3
"""... in this part of its pairs: the others may be with frames that are wrong themselves."""
FOCAL_STEPS = 10
"""Reweightings of the focal length."""
GAP_STEP = 8
"""Samples of `Flow` between points that are compared with other frames', in each direction."""


def views_prior(question: Question) -> DepthPrior:
    """Depth of all frames in one scale of its own.

    Raises:
        ConfigError: The weights do not fit.
        DegenerateError: What the network says is no scene.
    """
    network = load_pi3(question.weights, question.device)
    try:
        return prior_of(predict_views(network, question), question)
    except (DegenerateError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
        broken = "its numbers are not finite; fetch the weights again"
        why = str(error) if isinstance(error, DegenerateError) else broken
        raise DegenerateError(
            f"the pointmaps of {question.weights.name} do not make a scene: {why}"
        ) from error


def prior_of(views: Views, question: Question) -> DepthPrior:
    """The views' depth at the working size, and the focal length of all; frames that do not fit have none.

    Raises:
        DegenerateError: No frame fits.
    """
    focal, lens_error = lenses(views, question.video.size)
    is_lens = lens_error <= MAX_LENS_ERROR
    gap = gaps(views, np.where(is_lens, focal, np.nan), question.flow, question.video.size)
    good = is_lens & ~(gap > MAX_GAP)
    if not good.any():
        raise DegenerateError(_why(is_lens, lens_error, gap))
    sigma = np.maximum(np.nan_to_num(gap, nan=SIGMA), SIGMA)
    depth, relative = _enlarged(views, np.where(good, sigma, np.inf), question)
    notices = views.notices
    if not good.all():
        what = "what pi3 says of these frames does not fit to a lens or to other frames: not used there"
        lost = tuple(int(frame) for frame in np.flatnonzero(~good))
        notices = (*notices, Notice("prediction_does_not_fit", what, lost))
    shared, _ = shared_focal(torch.from_numpy(focal[good]))
    return DepthPrior(depth, False, relative, shared, notices)


def _why(
    is_lens: Bool[np.ndarray, " frames"],
    lens_error: Float64[np.ndarray, " frames"],
    gap: Float64[np.ndarray, " frames"],
) -> str:
    rest = "its weights are not whole, or the video shows no scene: use --geometry parallax"
    if not is_lens.any():
        off = min(float(np.median(lens_error)), 9.99)
        return f"no frame's points are those of a lens (rays are off by {off:.0%}); {rest}"
    off = min(float(np.nanmedian(gap)), 9.99)
    return f"no frame's points fit to those of other frames (they are off by {off:.0%}); {rest}"


def lenses(
    views: Views, size: tuple[int, int]
) -> tuple[Float64[np.ndarray, " frames"], Float64[np.ndarray, " frames"]]:
    """Focal length of every frame, and by which part of their distance from the middle half of its rays are off.

    Args:
        views: Of the network.
        size: (width, height) of the images whose pixels are the unit.
    """
    rows, cols = views.rays.shape[1:3]
    height, width = views.depth.shape[1:]
    u, v = _places(cols, size[0] / width), _places(rows, size[1] / height)
    offset = np.stack(np.meshgrid(u - size[0] / 2, v - size[1] / 2), axis=-1).reshape(-1, 2)
    step = slice(RAY_STEP // 2, None, RAY_STEP)
    found = []
    for rays, confidence in zip(views.rays, views.confidence, strict=True):
        planar = rays.reshape(-1, 2).astype(np.float64)
        focal = focal_of_rays(planar, offset, confidence[step, step].reshape(-1).astype(np.float64))
        off = np.median(np.linalg.norm(offset - focal * planar, axis=1))
        usual = np.median(np.linalg.norm(offset, axis=1))
        found.append((focal, off / usual if focal > 0 else np.inf))
    focals, errors = np.array(found, np.float64).T
    return focals, errors


def focal_of_rays(
    planar: Float64[np.ndarray, "rays 2"],
    offset_px: Float64[np.ndarray, "rays 2"],
    weight: Float64[np.ndarray, " rays"],
) -> float:
    """Focal length by least squares, principal point in the middle and no shift of depth, robust against bad points.

    It starts from the median of what every ray says for itself: long rays have leverage. 0 where none has a weight.

    Args:
        planar: x / z and y / z.
        offset_px: Pixels minus the principal point.
        weight: At least 0.
    """
    along, square = (planar * offset_px).sum(1), (planar**2).sum(1)
    votes = (square > 0) & (weight > 0)
    if not votes.any():
        return 0.0
    focal = float(np.median(along[votes] / square[votes]))
    for _ in range(FOCAL_STEPS):
        off = np.linalg.norm(offset_px - focal * planar, axis=1)
        kernel = weight / (1 + (off / (1.4826 * np.median(off) + 1e-9)) ** 2)
        focal = float((kernel * along).sum() / max((kernel * square).sum(), 1e-12))
    return focal


def _places(count: int, pixel: float) -> Float64[np.ndarray, " count"]:
    """Where the kept rays are, in pixels of the working size."""
    return (RAY_STEP // 2 + RAY_STEP * np.arange(count) + 0.5) * pixel


def gaps(
    views: Views, focal_px: Float64[np.ndarray, " frames"], flow: Flow, size: tuple[int, int]
) -> Float64[np.ndarray, " frames"]:
    """By which part of their depth half of a frame's points are off from those that flow finds in another frame.

    No more than this in a third of the pairs that begin with the frame; not a number where flow finds nothing.

    Args:
        views: Of the network.
        focal_px: Not a number for frames that are left out.
        flow: Pairs of frames.
        size: (width, height) of the images whose pixels are the unit.
    """
    step = slice(GAP_STEP // 2, None, GAP_STEP)
    v, u = (sample_place(np.arange(count)[step]) for count in flow.confidence.shape[1:])
    source_px = np.stack(np.meshgrid(u, v), axis=-1)
    found: list[list[float]] = [[] for _ in views.depth]
    for edge, (n, m) in enumerate(flow.edges):
        if not np.isfinite(focal_px[[n, m]]).all():
            continue
        target_px = source_px + flow.flow_px[edge][step, step]
        inside = ((target_px >= 0) & (target_px < size)).all(-1)
        keep = inside & (flow.confidence[edge][step, step] > 0)
        here = _points(views, int(n), source_px[keep], focal_px, size)
        there = _points(views, int(m), target_px[keep], focal_px, size)
        target_from_source = np.linalg.inv(views.world_from_cam[m]) @ views.world_from_cam[n]
        known = (here[:, 2] > 0) & (there[:, 2] > 0)
        if known.any():
            moved = here[known] @ target_from_source[:3, :3].T + target_from_source[:3, 3]
            off = np.linalg.norm(moved - there[known], axis=1) / there[known, 2]
            found[n].append(float(np.median(off)))
    return np.array(
        [np.quantile(each, AGREEING, method="lower") if each else np.nan for each in found]
    )


def _points(
    views: Views,
    frame: int,
    pixels: Float[np.ndarray, "points 2"],
    focal_px: Float64[np.ndarray, " frames"],
    size: tuple[int, int],
) -> Float64[np.ndarray, "points 3"]:
    """Points of a frame at pixels of the working size, in its own camera; 0 where depth is unknown."""
    rows, cols = views.depth.shape[1:]
    u, v = (pixels * (cols / size[0], rows / size[1])).astype(int).T
    z = np.asarray(views.depth[frame][v, u], np.float64)[:, None]
    focal, (width, height) = focal_px[frame], size
    return rays_array(pixels, np.array([focal, focal, width / 2, height / 2])) * z


def _enlarged(
    views: Views, sigma: Float64[np.ndarray, " frames"], question: Question
) -> tuple[Float32[np.ndarray, "frames height width"], np.ndarray]:
    """Depth and its relative standard deviation at the working size; frames whose sigma is infinite have no depth."""
    size = question.video.size
    shape = (question.video.num_frames, size[1], size[0])
    depth = create_array(question.folder / "depth.npy", np.float32, shape)
    relative = create_array(question.folder / "sigma.npy", np.float16, shape)
    for frame, least in enumerate(sigma):
        own = np.asarray(views.depth[frame])
        known = cv2.resize((own > 0).astype(np.float32), size) > 0.99
        sure = np.maximum(cv2.resize(np.asarray(views.confidence[frame]), size), MIN_CONFIDENCE)
        depth[frame] = np.where(known & np.isfinite(least), cv2.resize(own, size), 0)
        relative[frame] = np.minimum(least / sure, 1)
    return depth, relative


def make(resources: Resources) -> Prior:
    """The network of pi3."""
    return Prior(views_prior, resources.backbone("pi3"), resources.device)
