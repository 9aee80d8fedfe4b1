"""Depth of single images as a prior: Depth Anything V2 and Depth Pro, by the classes of transformers.

Depth Pro says metres and a focal length. Depth Anything says inverse depth up to a scale and an offset of each frame,
which are found from the first geometry.

Numbers here that name no source were set by hand.
"""

import numpy as np
from jaxtyping import Float, Float16, Float32

from recon4d.core.arrays import create_array
from recon4d.core.errors import DegenerateError
from recon4d.core.scene import DepthPrior, Notice, Scene
from recon4d.networks.mono import load_mono
from recon4d.priors import Prior, Question
from recon4d.weights.resolve import Resources

RELATIVE_SIGMA = 0.3
"""Of depth from one image: errors of about a tenth that hold for whole objects, so that pixels do not average out."""
MIN_SAMPLES = 30
"""Samples with a measured depth that a frame's scale and offset need."""
FIT_STEPS = 10
"""Reweightings of that fit."""
MIN_GAIN = 0.3
"""Part of the spread of the measured inverse depth that a fit must explain: less is no depth of this scene."""


def depth_pro_prior(question: Question) -> DepthPrior:
    """Depth in metres and a focal length."""
    network = load_mono("depth-pro", question.weights, question.device)
    depth, focals = _empty(question), []
    with question.progress("depth of images", total=len(depth)) as counter:
        for frame, image in enumerate(question.video.images):
            found = network(image)
            depth[frame] = 1 / found.inverse_depth
            focals += [] if found.focal_px is None else [found.focal_px]
            counter.advance()
    focal = float(np.median(focals)) if focals else None
    return DepthPrior(depth, True, _sigma(depth), focal)


def depth_anything_prior(question: Question) -> DepthPrior:
    """Depth in the unit of the first geometry; frames in which it does not fit to that have none.

    Raises:
        DegenerateError: It fits in no frame.
    """
    network = load_mono("depth-anything", question.weights, question.device)
    assert question.scene is not None, "it is asked after the first geometry is known"
    depth, missed = _empty(question), []
    with question.progress("depth of images", total=len(depth)) as counter:
        for frame, image in enumerate(question.video.images):
            values = network(image).inverse_depth
            fit = affine_fit(*_measured(question.scene, frame, values))
            if fit is None:
                missed.append(frame)
            else:
                inverse = fit[0] * values + fit[1]
                depth[frame] = np.where(inverse > 0, 1 / np.maximum(inverse, 1e-12), 0)
            counter.advance()
    if len(missed) == len(depth):
        raise DegenerateError(
            "the depth of Depth Anything fits to the geometry of no frame, and its scale and offset follow from that "
            "alone; use --geometry depth-pro, which says metres, or parallax"
        )
    what = "Depth Anything's depth does not fit to the geometry of these frames: not used there"
    notices = (Notice("prediction_does_not_fit", what, tuple(missed)),) if missed else ()
    return DepthPrior(depth, False, _sigma(depth), notices=notices)


def affine_fit(
    predicted: Float[np.ndarray, " samples"],
    measured: Float[np.ndarray, " samples"],
    min_gain: float = MIN_GAIN,
) -> tuple[float, float] | None:
    """Scale > 0 and offset that bring predicted to measured inverse depth, by reweighted least squares.

    None where there are too few samples, or where the fit explains too little of how they vary.
    """
    if len(predicted) < MIN_SAMPLES or float(np.ptp(predicted)) <= 0:
        return None
    columns = np.stack((predicted, np.ones_like(predicted)), 1).astype(np.float64)
    weight = np.ones(len(columns))
    for _ in range(FIT_STEPS):
        root = np.sqrt(weight)[:, None]
        solution, *_ = np.linalg.lstsq(columns * root, measured * root[:, 0], rcond=None)
        error = np.abs(columns @ solution - measured)
        scale = 1.4826 * float(np.median(error)) + 1e-12
        weight = 1 / (1 + (error / scale) ** 2)
    usual = float(np.median(np.abs(measured - np.median(measured))))
    if solution[0] <= 0 or float(np.median(error)) > (1 - min_gain) * usual:
        return None
    return float(solution[0]), float(solution[1])


def _measured(
    scene: Scene, frame: int, values: Float32[np.ndarray, "height width"]
) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, " samples"]]:
    """Predicted and measured inverse depth at a frame's samples."""
    sure = np.isfinite(scene.inverse_depth_std[frame])
    u, v = scene.samples_px[frame][sure].astype(int).T
    return values[v, u], scene.inverse_depth[frame][sure]


def _empty(question: Question) -> Float32[np.ndarray, "frames height width"]:
    video = question.video
    shape = (video.num_frames, video.size[1], video.size[0])
    return create_array(question.folder / "mono_depth.npy", np.float32, shape)


def _sigma(depth: Float32[np.ndarray, "*shape"]) -> Float16[np.ndarray, "*shape"]:
    return np.full(depth.shape, RELATIVE_SIGMA, np.float16)


def make(resources: Resources) -> Prior:
    """Depth Pro, or Depth Anything, whose unit follows from the first geometry."""
    name = resources.geometry
    answer = depth_pro_prior if name == "depth-pro" else depth_anything_prior
    backbone = resources.backbone(name)
    return Prior(answer, backbone, resources.device, needs_scene=name != "depth-pro")
