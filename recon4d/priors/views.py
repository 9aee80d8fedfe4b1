"""What pi3 says of a video: many frames at once, long videos in chunks that overlap, all in one world and one scale.

Numbers here that name no source were set by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from recon4d.core.arrays import create_array
from recon4d.core.scene import Notice
from recon4d.core.similarity import Similarity, mean_rotation
from recon4d.networks.pi3.input import ViewOptions, encoded, network_size, precision
from recon4d.networks.pi3.network import Pi3, Predicted
from recon4d.priors import Question

RAY_STEP = 7
"""Pixels of the network's images between rays that are kept, in each direction."""
SURE = 0.1
"""Confidence from which on a pixel's depth tells the scale of a chunk."""
MAX_SPREAD = 0.1
"""Frames that two chunks share differ in their relative scale by this much, relative, where the chunks do not fit."""


@dataclass(frozen=True)
class Views:
    """Depth and cameras of frames in one world and one scale, at the size of the network's images."""

    depth: Float32[np.ndarray, "frames height width"]
    """z-depth, 0 = unknown. May be a memory map."""
    confidence: Float32[np.ndarray, "frames height width"]
    """From 0 to 1. May be a memory map."""
    rays: Float32[np.ndarray, "frames rows cols 2"]
    """x / z and y / z of every `RAY_STEP`-th pixel, from half of that on."""
    world_from_cam: Float64[np.ndarray, "frames 4 4"]
    notices: tuple[Notice, ...] = ()

    def of(self, frames: slice) -> "Views":
        """Some of the frames; without notices."""
        return Views(
            self.depth[frames],
            self.confidence[frames],
            self.rays[frames],
            self.world_from_cam[frames],
        )

    def write(self, first: int, part: "Views") -> None:
        """Put frames into the arrays, from frame `first` on; for the time while a video is being predicted."""
        there = slice(first, first + len(part.depth))
        for name in ("depth", "confidence", "rays", "world_from_cam"):
            getattr(self, name)[there] = getattr(part, name)


@torch.no_grad()
def predict_views(network: Pi3, question: Question, options: ViewOptions | None = None) -> Views:
    """Predict all frames; each goes through the encoder once.

    Args:
        network: On the device that computes.
        question: Its folder gets the arrays of pixels.
        options: How many frames are seen at once.
    """
    options = options or ViewOptions(half=question.device == "cuda")
    images = question.video.images
    size = network_size(question.video.size, network.config.patch)
    views, notices, done = _empty(question, size), [], 0
    tokens: Tensor | None = None
    with question.progress("views", total=len(images)) as counter:
        for first, last in chunks(len(images), options):
            new = encoded(network, images[done:last], size, options)
            tokens = new if tokens is None else torch.cat((tokens[first - done :], new))
            with precision(network, options):
                decoded = network.decode(tokens, network.grid_of((size[1], size[0])))
                part = views_of(network.predict(decoded))
            notice = _add(views, part, first, done)
            notices += [] if notice is None else [notice]
            counter.advance(last - done)
            done = last
    return replace(views, notices=tuple(notices))


def chunks(frames: int, options: ViewOptions) -> list[tuple[int, int]]:
    """(first, last + 1) frame of each chunk: all equally long, their overlaps as equal as can be."""
    if frames <= options.chunk:
        return [(0, frames)]
    count = -(-(frames - options.overlap) // (options.chunk - options.overlap))
    starts = np.linspace(0, frames - options.chunk, count).astype(int)
    return [(int(start), int(start) + options.chunk) for start in starts]


def views_of(predicted: Predicted) -> Views:
    """One sequence as arrays; what is not finite is unknown."""
    points = predicted.local_points[0]
    depth = points[..., 2]
    known = points.isfinite().all(-1) & (depth > 0)
    confidence = torch.where(known, predicted.confidence[0].sigmoid(), 0.0)
    step = slice(RAY_STEP // 2, None, RAY_STEP)
    rays = (points[..., :2] / points[..., 2:])[:, step, step]
    return Views(
        torch.where(known, depth, 0.0).cpu().numpy(),
        torch.nan_to_num(confidence).cpu().numpy(),
        torch.nan_to_num(rays, 0.0, 0.0, 0.0).cpu().numpy(),
        predicted.world_from_cam[0].double().cpu().numpy(),
    )


def similarity_between(here: Views, there: Views) -> tuple[Similarity, float]:
    """The similarity that brings `there` into the world of `here`, from the same frames in both.

    The scale comes from depth, pixel by pixel, rotation and translation from the cameras; medians throughout, because
    single pixels and frames may be wrong.

    Returns:
        The similarity, and by how much the scale of half of the frames is off at least (logarithm).
    """
    logs = []
    for a, b, sure in zip(here.depth, there.depth, _sure(here, there), strict=True):
        if sure.any():
            logs.append(float(np.median(np.log(a[sure] / b[sure]))))
    log_scale = float(np.median(logs)) if logs else 0.0
    scale = float(np.exp(log_scale))
    one, other = here.world_from_cam, there.world_from_cam
    rotation = mean_rotation(one[:, :3, :3] @ other[:, :3, :3].transpose(0, 2, 1))
    moved = scale * other[:, :3, 3] @ rotation.T
    shift = np.median(one[:, :3, 3] - moved, axis=0)
    spread = float(np.median(np.abs(np.array(logs) - log_scale))) if logs else np.inf
    return Similarity(scale, rotation, shift), spread


def _sure(here: Views, there: Views) -> Iterator[np.ndarray]:
    for frame in range(len(here.depth)):
        least = np.minimum(here.confidence[frame], there.confidence[frame])
        known = (here.depth[frame] > 0) & (there.depth[frame] > 0)
        yield known & (least >= SURE) if (known & (least >= SURE)).any() else known


def _add(views: Views, part: Views, first: int, done: int) -> Notice | None:
    """Put a chunk into the world of those before; of the frames that both have, it gives the later half."""
    if done == 0:
        views.write(0, part)
        return None
    shared = done - first
    similarity, spread = similarity_between(views.of(slice(first, done)), part.of(slice(0, shared)))
    own = part.of(slice(shared // 2, None))
    moved = replace(
        own,
        depth=(similarity.scale * own.depth).astype(np.float32),
        world_from_cam=similarity.poses(own.world_from_cam),
    )
    views.write(first + shared // 2, moved)
    if spread <= MAX_SPREAD:
        return None
    frames = tuple(range(first, done))
    what = "what pi3 says of these frames together with those before and after differs: its depth may jump here"
    return Notice("chunks_do_not_fit", what, frames)


def _empty(question: Question, size: tuple[int, int]) -> Views:
    frames, (width, height) = question.video.num_frames, size
    depth, confidence = (
        create_array(question.folder / f"{name}.npy", np.float32, (frames, height, width))
        for name in ("pi3_depth", "pi3_confidence")
    )
    rows, cols = (len(range(RAY_STEP // 2, side, RAY_STEP)) for side in (height, width))
    rays = np.zeros((frames, rows, cols, 2), np.float32)
    return Views(depth, confidence, rays, np.tile(np.eye(4), (frames, 1, 1)))
