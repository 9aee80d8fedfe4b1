"""Batches for the training: random crops of stored samples, changed a little. Every batch follows from its number.

Numbers here that name no source were set by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int8, UInt8
from torch import Tensor

from recon4d.masks.d2mif.feed import Part
from recon4d.masks.d2mif.maps import LIMIT
from recon4d.masks.d2mif.network import MOTION_CHANNELS, Tokens
from recon4d.masks.train.d2mif.samples import LEVELS, Samples

CROP = (192, 256)
"""Height and width of the crops, pixels of the image."""
U_CHANNELS = (0, 2)
"""Maps that change their sign when the image is mirrored: the horizontal parts of the flow."""
GAIN = 0.25
"""Most change of a colour channel's gain."""
GRAY = 0.1
"""Part of the images that lose their colour."""
ON_MOVER = 0.5
"""Part of the crops that are put where something moves, in frames where something does."""
MOVER_STEP = 4
"""Every how many samples such places are looked for."""
ONE_PARTNER = 0.4
"""Part of the batches with one partner per image, as with two frames alone."""

Sample = tuple[np.ndarray, np.ndarray, np.ndarray, Tokens | None, np.ndarray | None]
"""Image (uint8 or float in 0..255), maps (int8), truth (uint8), tokens, where the truth is known (uint8)."""


@dataclass(frozen=True)
class Batch:
    """What one step of the training sees; maps at 1/2 of the image."""

    image: Float[Tensor, "batch 3 height width"]
    """In [-1, 1]."""
    motion: Float[Tensor, "batch partners 6 rows cols"]
    geometry: Float[Tensor, "batch partners 12 rows cols"]
    confidence: Float[Tensor, "batch partners rows cols"]
    """Of the flow to each partner, in [0, 1]."""
    truth: Float[Tensor, "batch rows cols"]
    """Part of each sample that moves."""
    tokens: tuple[Tokens, ...] = ()
    """Of every image, for a network that reads them."""
    known: Float[Tensor, "batch rows cols"] | None = None
    """0 where the truth is not known, 1 elsewhere; None: it is known everywhere."""

    def to(self, device: str) -> "Batch":
        """The same on a device, images and maps with the channels last."""
        last = torch.channels_last
        return Batch(
            self.image.to(device, memory_format=last),
            self.motion.to(device),
            self.geometry.to(device),
            self.confidence.to(device),
            self.truth.to(device),
            tuple(x.to(device) for x in self.tokens),
            None if self.known is None else self.known.to(device),
        )


def random_batch(clips: Sequence[Samples], size: int, rng: np.random.Generator) -> Batch:
    """Crops of frames of random clips, mirrored and recoloured at random.

    Where there are tokens nothing is mirrored, because those are of the images as they are.

    Args:
        clips: To choose from; clips count the same whatever their length.
        size: Crops in the batch.
        rng: Decides everything.
    """
    partners = 1 if rng.random() < ONE_PARTNER else 2
    parts = [_crop(clips[int(rng.integers(len(clips)))], partners, rng) for _ in range(size)]
    return stack(parts)


def whole_frame(clip: Samples, frame: int) -> Batch:
    """One frame as it is, a batch of one."""
    tokens = _tokens(clip, frame, None)
    known = None if clip.known is None else clip.known[frame]
    return stack([(clip.images[frame], clip.maps[frame], clip.truth[frame], tokens, known)])


def stack(parts: Sequence[Sample]) -> Batch:
    """Samples of the same size as a batch."""
    image = np.stack([p[0] for p in parts]).astype(np.float32) / 127.5 - 1
    maps = torch.from_numpy(np.stack([p[1] for p in parts])).float() * (LIMIT / LEVELS)
    truth = torch.from_numpy(np.stack([p[2] for p in parts])).float() / 255
    motion, geometry = maps[:, :, :MOTION_CHANNELS], maps[:, :, MOTION_CHANNELS:]
    confidence = ((motion[:, :, -1] + 1) / 2).clamp(0, 1)
    tokens = tuple(p[3] for p in parts if p[3] is not None)
    images = torch.from_numpy(image).permute(0, 3, 1, 2)
    return Batch(images, motion, geometry, confidence, truth, tokens, _known(parts))


def _known(parts: Sequence[Sample]) -> Float[Tensor, "batch rows cols"] | None:
    """Where the truth of samples is known; None where it is everywhere, as that of rendered clips."""
    if all(p[4] is None for p in parts):
        return None
    found = [np.ones_like(p[2]) if p[4] is None else p[4] for p in parts]
    return torch.from_numpy(np.stack(found)).float()


def _tokens(clip: Samples, frame: int, part: Part | None) -> Tokens | None:
    if clip.tokens is None:
        return None
    height, width = clip.images.shape[1:3]
    values = torch.from_numpy(np.array(clip.tokens[frame], np.float32))
    return Tokens(values, (width, height), part)


def _crop(clip: Samples, partners: int, rng: np.random.Generator) -> Sample:
    frame = int(rng.integers(len(clip.images)))
    top, left = _corner(clip.truth[frame], rng)
    rows, cols = CROP[0] // 2, CROP[1] // 2
    half = slice(top, top + rows), slice(left, left + cols)
    whole = slice(2 * top, 2 * (top + rows)), slice(2 * left, 2 * (left + cols))
    chosen = rng.permutation(clip.maps.shape[1])[:partners]
    image, truth = clip.images[frame][whole], clip.truth[frame][half]
    maps = clip.maps[frame][chosen][:, :, half[0], half[1]]
    known = None if clip.known is None else clip.known[frame][half]
    tokens = _tokens(clip, frame, (2 * left, 2 * top, CROP[1], CROP[0]))
    if rng.random() < 0.5 and tokens is None:
        image, truth, maps = image[:, ::-1], truth[:, ::-1], _mirrored(maps)
        known = None if known is None else known[:, ::-1]
    return _recoloured(image, rng), maps, truth, tokens, known


def _corner(
    truth: UInt8[np.ndarray, "all_rows all_cols"], rng: np.random.Generator
) -> tuple[int, int]:
    """Upper left corner of a crop, samples: anywhere, or such that something that moves is inside."""
    free = truth.shape[0] - CROP[0] // 2, truth.shape[1] - CROP[1] // 2
    found = np.argwhere(truth[::MOVER_STEP, ::MOVER_STEP] > 127) * MOVER_STEP
    if len(found) and rng.random() < ON_MOVER:
        place = found[int(rng.integers(len(found)))]
        at = place - rng.integers(0, (CROP[0] // 2, CROP[1] // 2))
    else:
        at = rng.integers(0, (free[0] + 1, free[1] + 1))
    top, left = (int(np.clip(a, 0, f)) for a, f in zip(at, free, strict=True))
    return top, left


def _mirrored(
    maps: Int8[np.ndarray, "partners channels rows cols"],
) -> Int8[np.ndarray, "partners channels rows cols"]:
    maps = maps[..., ::-1].copy()
    maps[:, list(U_CHANNELS)] *= -1
    return maps


def _recoloured(
    image: np.ndarray, rng: np.random.Generator
) -> Float32[np.ndarray, "height width 3"]:
    gain = 1 + rng.uniform(-GAIN, GAIN) + rng.uniform(-GAIN, GAIN, 3) / 2
    offset = rng.uniform(-20, 20)
    found = image.astype(np.float32) * gain.astype(np.float32) + np.float32(offset)
    if rng.random() < GRAY:
        found = np.repeat(found.mean(-1, keepdims=True), 3, axis=-1)
    return np.asarray(np.clip(found, 0, 255), np.float32)
