"""SAM 2 as the segmenter that carries masks through a video (Ravi et al., 2024), by the classes of transformers.

The network is an optional package's, its weights the user's: a folder in the format of Hugging Face, with `config.json`
and `model.safetensors`. Nothing is downloaded. Pictures are prepared here, because that package's own preparation needs
torchvision.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from recon4d.core.errors import InputError
from recon4d.masks.refine.odd_even import Masks, Prompts, Propagate
from recon4d.weights.pretrained import check_pretrained, load_pretrained, transformers_package

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours of ImageNet, by which the network's pictures are normalised."""
CLASSES = ("Sam2VideoModel", "Sam2VideoInferenceSession")
OBJECT = 1
"""Everything that moves is one object to the segmenter."""


def sam2_propagator(
    images: UInt8[np.ndarray, "frames height width 3"],
    weights: Path,
    device: str = "cpu",
    advance: Callable[[], None] = lambda: None,
) -> Propagate:
    """Load SAM 2 and let it carry masks of some frames to all frames of a video.

    Args:
        images: RGB.
        weights: Folder with `config.json` and `model.safetensors` of a SAM 2 or SAM 2.1 of transformers.
        device: Where the network runs; pictures and memories stay in main memory.
        advance: Called after every frame of every propagation.

    Raises:
        MissingDependencyError: transformers 5 is not installed.
        ConfigError: The folder holds no such model, or not all of its weights.
    """
    package = transformers_package("SAM 2", *CLASSES)
    network = load_pretrained(package, CLASSES[0], weights, "SAM 2", device)
    side = int(network.image_size)
    session = package.Sam2VideoInferenceSession(
        video=prepare(images, side),
        video_height=images.shape[1],
        video_width=images.shape[2],
        inference_device=device,
        dtype=torch.float32,
    )

    def propagate(prompts: Prompts) -> Masks:
        return _propagate(network, session, prompts, advance)

    return propagate


def prepare(
    images: UInt8[np.ndarray, "frames height width 3"], side: int
) -> Float[Tensor, "frames 3 side side"]:
    """Resize to a square, whatever the shape was, and normalise the colours."""
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return torch.stack(
        [
            (_resize(torch.from_numpy(image).permute(2, 0, 1) / 255, side) - mean) / deviation
            for image in images
        ]
    )


def _resize(picture: Float[Tensor, "channels height width"], side: int) -> Tensor:
    return torch.nn.functional.interpolate(
        picture[None], (side, side), mode="bilinear", align_corners=False, antialias=True
    )[0]


def check_sam2(weights: Path) -> None:
    """Refuse what is no folder of SAM 2, without loading it; raises as `sam2_propagator`."""
    check_pretrained(transformers_package("SAM 2", *CLASSES), CLASSES[0], weights, "SAM 2")


def _propagate(network: Any, session: Any, prompts: Prompts, advance: Callable[[], None]) -> Masks:
    """Remember every prompt, then go through the video from its first frame."""
    size = (session.video_height, session.video_width)
    session.reset_tracking_data()
    for frame, mask in sorted(prompts.items()):
        _check_prompt(frame, mask, session.num_frames, size)
        session.add_mask_inputs(
            session.obj_id_to_idx(OBJECT), frame, _square(mask, network.image_size)
        )
        session.obj_with_new_inputs = [OBJECT]
        network(session, frame_idx=frame)
    masks = np.zeros((session.num_frames, *size), bool)
    for seen in network.propagate_in_video_iterator(session, start_frame_idx=0):
        logits = torch.nn.functional.interpolate(
            seen.pred_masks.float(), size, mode="bilinear", align_corners=False
        )
        masks[seen.frame_idx] = (logits[0, 0] > 0).cpu().numpy()
        advance()
    return masks


def _check_prompt(
    frame: int, mask: Bool[np.ndarray, "height width"], num_frames: int, size: tuple[int, int]
) -> None:
    if not 0 <= frame < num_frames:
        raise InputError(f"a mask is given for frame {frame}; the video has {num_frames} frames")
    if mask.shape != size:
        raise InputError(
            f"the mask of frame {frame} has the shape {mask.shape}; the images have {size}: resize it"
        )


def _square(mask: Bool[np.ndarray, "height width"], side: int) -> Float[Tensor, "1 1 side side"]:
    """Mask at the network's size."""
    return (_resize(torch.from_numpy(mask.astype(np.float32))[None], side) >= 0.5).float()[None]
