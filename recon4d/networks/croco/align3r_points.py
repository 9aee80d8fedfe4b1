"""The point maps that Align3R gets with the images of a video, from the depth of single images."""

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import Notice
from recon4d.networks.croco.align3r import normalised_points, resized_points
from recon4d.networks.croco.network import Croco
from recon4d.networks.mono import MonoNetwork, load_mono
from recon4d.weights.resolve import MONO, NO_MONO, Mono

NAMES = {"depth-pro": "Depth Pro", "depth-anything": "Depth Anything V2"}


def point_maps(
    network: Croco,
    images: UInt8[np.ndarray, "frames height width 3"],
    size: tuple[int, int],
    mono: Mono | None,
    progress: Progress = no_progress,
) -> Float[Tensor, "frames rows cols 3"] | None:
    """Point maps of all images at the size of the network's; None for a network that takes none.

    Args:
        network: Of the CroCo family.
        images: Whole, of any size.
        size: (width, height) of the images that the network gets, not cropped.
        mono: Says the depth.
        progress: Told about every image.

    Raises:
        ConfigError: The network needs them, and there is no depth.
        DegenerateError: The depth of an image is the same everywhere.
    """
    if not network.config.point_cloud:
        return None
    if mono is None:
        raise ConfigError(NO_MONO + MONO[0])
    device = str(network.decoder_embed.weight.device)
    depth_of = load_mono(mono.name, mono.weights, device)
    found = np.empty((len(images), size[1], size[0], 3), np.float32)
    with progress("depth of images", total=len(images)) as counter:
        for frame, image in enumerate(images):
            found[frame] = points_of(depth_of, image, size)
            counter.advance()
    return torch.from_numpy(found)


def points_of(
    mono: MonoNetwork, image: UInt8[np.ndarray, "height width 3"], size: tuple[int, int]
) -> Float32[np.ndarray, "rows cols 3"]:
    """Point map of one image, as the official weights got it in training.

    Depth Pro's depth in metres; of Depth Anything its answer as it is, which is inverse depth: the official weights
    were trained with that in the place of depth.
    """
    answer = mono(image).inverse_depth
    points = normalised_points(1 / answer if mono.is_pro else answer)
    if (image.shape[1], image.shape[0]) == size:
        return points
    return resized_points(points, size, max(image.shape[:2]) > max(size))


def mono_notice(mono: Mono) -> Notice:
    """Say which depth Align3R got, because its checkpoint does not say which one it was trained with."""
    return Notice(
        "align3r_depth",
        f"Align3R got the depth of {NAMES[mono.name]}; its weights must be those that were trained with it, which the "
        "file does not say",
    )
