"""Masks by GeoMotion on a video: squares, flow, then chunk by chunk what moves."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.core.parallel import half, torch_threads
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import Flow, MotionMasks, Scene, Video
from recon4d.flow.raft import load_raft
from recon4d.masks import Features, MaskMethod, Seen, stored_masks
from recon4d.masks.geomotion.flow import flow_magnitude, square_images
from recon4d.masks.geomotion.network import GeoMotion, load_geomotion
from recon4d.networks.pi3.network import IMAGE_MEAN, IMAGE_STD
from recon4d.weights.resolve import Resources

CHUNK_FRAMES = 16
"""Most frames that see each other (the published demo; its evaluation takes 32)."""


def motion_features(
    video: Video,
    flow: Flow,
    weights: tuple[Path, Path],
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = no_progress,
) -> Features:
    """Probability of motion of every `Flow` sample.

    Args:
        video: Consecutive frames.
        flow: Says where the samples are; GeoMotion measures its own.
        weights: Of GeoMotion and of RAFT.
        device: Where both networks run; in half precision on CUDA.
        threads: That they use on the CPU.
        progress: Told about every pair of frames, then about every frame.

    Raises:
        ConfigError: The weights do not fit.
    """
    raft = load_raft(weights[1], torch.device(device))
    network = load_geomotion(weights[0], device)
    images = square_images(np.asarray(video.images), network.side_px)
    moved_px = flow_magnitude(raft, images, threads, progress)
    with torch_threads(threads):
        probability = motion_probability(network, images, moved_px, progress)
    rows, cols = flow.confidence.shape[1:]
    small = [cv2.resize(p, (cols, rows), interpolation=cv2.INTER_AREA) for p in probability]
    return Features(np.stack(small).reshape(len(small), -1).astype(np.float16))


@torch.inference_mode()
def motion_probability(
    network: GeoMotion,
    images: UInt8[np.ndarray, "frames side side 3"],
    moved_px: Float32[np.ndarray, "frames side side"],
    progress: Progress = no_progress,
) -> Float32[np.ndarray, "frames side side"]:
    """What moves in square images.

    Args:
        network: Ready for inference.
        images: Consecutive frames.
        moved_px: Magnitude of their flow.
        progress: Told about every frame.

    Raises:
        ConfigError: The weights make numbers that are not finite.
    """
    device = network.image_mean.device
    out = np.empty(moved_px.shape, np.float32)
    with progress("GeoMotion", total=len(images)) as counter:
        for part in chunks(len(images)):
            with half_on_cuda(device):
                looked = network.look(network_input(images[part], device))
                logits = network.motion(looked, torch.from_numpy(moved_px[part]).to(device))
            if not bool(logits.isfinite().all()):
                raise ConfigError(
                    "GeoMotion's masks are not finite with the weights that were given; give the published weights, "
                    "or other --masks"
                )
            out[part] = logits.sigmoid().cpu().numpy()
            counter.advance(part.stop - part.start)
    return out


def chunks(frames: int, most: int = CHUNK_FRAMES) -> list[slice]:
    """Divide frames into as few parts as `most` allows, as equally long as can be: none is left with a single frame."""
    count = -(-frames // most)
    bounds = [frames * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]


def network_input(
    images: UInt8[np.ndarray, "frames side side 3"], device: torch.device
) -> Float[Tensor, "frames 3 side side"]:
    """Images as the network was trained on them: normalised, although it normalises them itself, once more."""
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    return (pixels.float() / 255 - mean) / std


def half_on_cuda(device: torch.device) -> torch.autocast:
    """Half precision on CUDA, with the range of 32 bits where the device has that."""
    return half(device, device.type == "cuda")


def make(resources: Resources) -> MaskMethod:
    """The method of `--masks geomotion`, which measures flow of its own by RAFT.

    Raises:
        ConfigError: The weights are not there.
    """
    network = resources.weights("geomotion")
    try:
        raft = resources.weights("raft")
    except ConfigError as error:
        raise ConfigError(f"--masks geomotion measures flow by RAFT, but {error}") from error

    def features(seen: Seen, folder: Path) -> Features:
        return motion_features(
            seen.video, seen.flow, (network, raft), resources.device, seen.threads, seen.progress
        )

    def masks(seen: Seen, scene: Scene) -> MotionMasks:
        return stored_masks(seen)

    return MaskMethod(masks, depends_on_scene=False, features=features)
