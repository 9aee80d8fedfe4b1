"""Depth of single images as a prior: Depth Anything V2 and Depth Pro, by the classes of transformers.

Depth Pro says metres and a focal length. Depth Anything says inverse depth up to a scale and an offset of each frame,
which are found from the first geometry.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, UInt8
from torch import Tensor

from recon4d.core.arrays import create_array
from recon4d.core.errors import ConfigError, DegenerateError
from recon4d.core.scene import DepthPrior, Notice, Scene
from recon4d.priors import Question
from recon4d.weights.pretrained import load_pretrained, transformers_package

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ANYTHING_SIDE = 518
"""The side nearest to its own size becomes this for Depth Anything, pixels."""
RELATIVE_SIGMA = 0.3
"""Of depth from one image: errors of about a tenth that hold for whole objects, so that pixels do not average out."""
MIN_INVERSE = 1e-4
"""Inverse depth below which Depth Pro's answer is cut, as its authors do, 1 / m."""
FIELDS_DEG = (1.0, 175.0)
"""Fields of view that can be."""
MIN_SAMPLES = 30
"""Samples with a measured depth that a frame's scale and offset need."""
FIT_STEPS = 10
"""Reweightings of that fit."""
MIN_GAIN = 0.3
"""Part of the spread of the measured inverse depth that a fit must explain: less is no depth of this scene."""


@dataclass(frozen=True)
class MonoDepth:
    """What one image says."""

    inverse_depth: Float32[np.ndarray, "height width"]
    """Of Depth Pro in 1 / m, of Depth Anything up to a scale and an offset."""
    focal_px: float | None = None
    """In pixels of the image that was given."""


@dataclass(frozen=True)
class MonoNetwork:
    """Depth Anything or Depth Pro."""

    network: Any
    device: str
    is_pro: bool

    @torch.no_grad()
    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> MonoDepth:
        """Predict one image."""
        height, width = image.shape[:2]
        if self.is_pro:
            return self._pro(image)
        size = anything_size((width, height), self.network.config.patch_size)
        pixels = (_resized(image, size) - _row(IMAGENET_MEAN)) / _row(IMAGENET_STD)
        found = self.network(pixel_values=pixels.to(self.device)).predicted_depth
        return MonoDepth(_enlarged(found, (height, width)))

    def _pro(self, image: UInt8[np.ndarray, "height width 3"]) -> MonoDepth:
        """Depth Pro's canonical inverse depth is that of a lens whose focal length is the image's width."""
        config, (height, width) = self.network.config, image.shape[:2]
        side = round(config.patch_size / min(config.scaled_images_ratios))
        pixels = 2 * _resized(image, (side, side)) - 1
        found = self.network(pixel_values=pixels.to(self.device))
        inverse, focal = _enlarged(found.predicted_depth, (height, width)), None
        if found.field_of_view is not None:
            focal = focal_of(float(found.field_of_view), width)
            inverse = inverse * width / focal
        return MonoDepth(np.maximum(inverse, MIN_INVERSE).astype(np.float32), focal)


def focal_of(field_deg: float, width: int) -> float:
    """Focal length in pixels of a horizontal field of view.

    Raises:
        DegenerateError: No lens has such a field.
    """
    low, high = FIELDS_DEG
    if not low < field_deg < high:
        raise DegenerateError(
            f"Depth Pro says a field of view of {field_deg:.3g} degrees, which no lens of a video has; its weights are "
            "not whole, or the image shows no scene: use --geometry parallax"
        )
    return float(0.5 * width / np.tan(np.radians(field_deg) / 2))


def load_mono(name: str, folder: Path, device: str) -> MonoNetwork:
    """Read the network of `--geometry depth-anything` or `depth-pro` from a folder of transformers.

    Raises:
        MissingDependencyError: transformers is not installed.
        ConfigError: The folder holds no such model.
    """
    is_pro = name == "depth-pro"
    kind = "DepthProForDepthEstimation" if is_pro else "DepthAnythingForDepthEstimation"
    what = "Depth Pro" if is_pro else "Depth Anything"
    package = transformers_package(what, kind)
    network = load_pretrained(package, kind, folder, what, device)
    if not is_pro and network.config.depth_estimation_type != "relative":
        raise ConfigError(
            f"{folder} holds Depth Anything for metres; give its relative weights, or use --geometry depth-pro"
        )
    return MonoNetwork(network, device, is_pro)


def anything_size(size: tuple[int, int], patch: int) -> tuple[int, int]:
    """(width, height) of Depth Anything's input: as little resized as possible, sides multiples of the patch."""
    factor = min((ANYTHING_SIDE / side for side in size), key=lambda f: abs(1 - f))
    width, height = (max(patch, round(side * factor / patch) * patch) for side in size)
    return width, height


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
    predicted: Float[np.ndarray, " samples"], measured: Float[np.ndarray, " samples"]
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
    if solution[0] <= 0 or float(np.median(error)) > (1 - MIN_GAIN) * usual:
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


def _row(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values)[:, None, None]


def _resized(
    image: UInt8[np.ndarray, "height width 3"], size: tuple[int, int]
) -> Float[Tensor, "1 3 rows cols"]:
    """Cubic, values in [0, 1]."""
    small = cv2.resize(image.astype(np.float32) / 255, size, interpolation=cv2.INTER_CUBIC)
    return torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))[None]


def _enlarged(
    values: Float[Tensor, "1 rows cols"], size: tuple[int, int]
) -> Float32[np.ndarray, "height width"]:
    """Bilinear."""
    large = torch.nn.functional.interpolate(
        values[None].float(), size, mode="bilinear", align_corners=False
    )
    return np.asarray(large[0, 0].cpu().numpy())
