"""Motion masks by the D2MIF network (`recon4d.masks.d2mif.network`), from appearance, flow and the current geometry.

What the network sees of images and flow does not change while the geometry does: it is computed once per video
(`scene_free_features`). Every round of the loop adds the evidence of the current geometry, decodes the sum, and gathers
it over the pair graph along the flow.

Numbers here that name no source were set by hand.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, UInt8
from torch import Tensor

from recon4d.core.arrays import create_array
from recon4d.core.parallel import each
from recon4d.core.progress import Progress, no_progress
from recon4d.core.sampling import image_size, shrink
from recon4d.core.scene import Flow, MotionMasks, Scene, Video
from recon4d.flow.overlay import hidden_samples
from recon4d.masks import Features
from recon4d.masks.d2mif.maps import geometry_maps, motion_maps, partner_edges
from recon4d.masks.d2mif.network import Tokens, add, over_partners
from recon4d.masks.d2mif.weights import Trained
from recon4d.masks.evidence import Surroundings, look_around
from recon4d.masks.evidence.filters import along_time
from recon4d.networks.lite0 import Pyramid

NETWORK_SIDE = 512
"""Longest side of an image that the network sees, pixels: what it was trained on."""
BORDER = 3
"""How far the network's outlines may be off, `Flow` samples: it decides at 1/2 of the image what it knows at 1/4."""
NO_PARTNER_LOG_ODDS = -4.0
"""Of motion in a frame that is compared with no other."""


def scene_free_features(
    video: Video,
    flow: Flow,
    trained: Trained,
    folder: Path,
    threads: int = 1,
    progress: Progress = no_progress,
    tokens: Float16[np.ndarray, "frames token_rows token_cols values"] | None = None,
) -> Features:
    """Evidence of image and flow, and of tokens, for every frame, summed; a memory map in `folder`.

    Args:
        video: Images at working size.
        flow: Edges in both directions.
        trained: The network.
        folder: Where the map is written.
        threads: Frames that are looked at at the same time.
        progress: Told about every finished frame.
        tokens: Of every frame (`recon4d.networks.tokens.video_tokens`), for a network that reads them.
    """
    shapes = _shapes(trained, _network_size(video))
    values = sum(int(np.prod(shape)) for shape in shapes)
    evidence = create_array(folder / "evidence.npy", np.float16, (video.num_frames, values))

    def one(frame: int) -> None:
        seen = None if tokens is None else tokens[frame]
        found = _features_of(video, flow, frame, trained, seen)
        if found is not None:
            evidence[frame] = _flat(found)

    with progress("features", total=video.num_frames) as counter:
        for _ in each(one, range(video.num_frames), threads):
            counter.advance()
    return Features(evidence)


def d2mif_masks(
    video: Video,
    flow: Flow,
    scene: Scene,
    features: Features,
    trained: Trained,
    threads: int = 1,
    progress: Progress = no_progress,
) -> MotionMasks:
    """Probability of motion at every `Flow` sample, from the current cameras.

    Args:
        video: Its images tell what the background looks like.
        flow: Edges in both directions.
        scene: Current cameras; its depth is not used.
        features: Of the same video, flow and network.
        trained: The network.
        threads: Frames that are looked at at the same time.
        progress: Told about every finished frame, three times.
    """
    images = np.stack([shrink(image) for image in video.images])
    log_odds = np.empty(images.shape[:3], np.float32)
    hidden = None if video.overlay is None else hidden_samples(video.overlay)
    with progress("masks", total=3 * video.num_frames) as counter:
        around = look_around(images, flow, scene, threads, counter, hidden)

        def one(frame: int) -> Float32[np.ndarray, "rows cols"]:
            return _decode(frame, images, flow, scene, (around, features, trained))

        for frame, odds in enumerate(each(one, range(video.num_frames), threads)):
            log_odds[frame] = odds
            counter.advance()
    fused = along_time(log_odds, flow, threads)
    evidence = np.stack([a.log_odds for a in around])
    return MotionMasks(1 / (1 + np.exp(-trained.calibration(fused, evidence))), BORDER)


@torch.inference_mode()
def _features_of(
    video: Video,
    flow: Flow,
    frame: int,
    trained: Trained,
    tokens: Float16[np.ndarray, "token_rows token_cols values"] | None,
) -> Pyramid | None:
    """Evidence of image, flow and tokens of one frame; None where no branch of the network gives any."""
    size = _network_size(video)
    branches = trained.network.config.branches
    parts = []
    if "motion" in branches:
        edges = partner_edges(flow, frame)
        if len(edges):
            maps, confidence = zip(*(motion_maps(flow, int(e)) for e in edges), strict=True)
            evidence = trained.network.features("motion", _at_size(torch.stack(maps), size))
            weight = _at_size(torch.stack(confidence)[None], size)
            parts.append(over_partners(evidence, weight, len(edges)))
    if "appearance" in branches:
        parts.append(trained.network.features("appearance", _image(video.images[frame], size)))
    if trained.network.tokens is not None:
        assert tokens is not None, "the method has asked for them"
        given = Tokens(torch.from_numpy(np.array(tokens, np.float32)), size)
        parts.append(trained.network.token_features([given]))
    return add(parts) if parts else None


@torch.inference_mode()
def _decode(
    frame: int,
    images: UInt8[np.ndarray, "frames rows cols 3"],
    flow: Flow,
    scene: Scene,
    known: tuple[tuple[Surroundings, ...], Features, Trained],
) -> Float32[np.ndarray, "rows cols"]:
    """Log-odds of motion of one frame alone."""
    around, features, trained = known
    rows, cols = images.shape[1:3]
    edges = partner_edges(flow, frame)
    if len(edges) == 0:
        return np.full((rows, cols), NO_PARTNER_LOG_ODDS, np.float32)
    size = _network_size_of(*image_size(rows, cols))
    shapes = _shapes(trained, size)
    evidence = _unflat(features.evidence[frame], shapes)
    if "geometry" in trained.network.config.branches:
        maps = [
            geometry_maps(
                flow,
                int(edge),
                scene,
                around[frame],
                around[int(flow.edges[edge, 1])].inverse_depth,
                images[frame],
            )
            for edge in edges
        ]
        pairs = trained.network.features("geometry", _at_size(torch.stack(maps), size))
        sure = torch.from_numpy(np.ascontiguousarray(flow.confidence[edges])).float() / 255
        geometry = over_partners(pairs, _at_size(sure[None], size), len(edges))
        evidence = add((evidence, geometry))
    odds = trained.network.decode(evidence)[0].numpy()
    return np.asarray(cv2.resize(odds, (cols, rows), interpolation=cv2.INTER_LINEAR), np.float32)


def _network_size(video: Video) -> tuple[int, int]:
    return _network_size_of(*video.size)


def _network_size_of(width: int, height: int) -> tuple[int, int]:
    """(width, height) at which the network works: even, at most `NETWORK_SIDE` long."""
    factor = min(NETWORK_SIDE / max(width, height), 1.0)
    return 2 * round(width * factor / 2), 2 * round(height * factor / 2)


def _image(
    image: UInt8[np.ndarray, "height width 3"], size: tuple[int, int]
) -> Float[Tensor, "1 3 rows cols"]:
    resized = np.ascontiguousarray(image)
    if (image.shape[1], image.shape[0]) != size:
        resized = np.asarray(cv2.resize(resized, size, interpolation=cv2.INTER_AREA))
    values = torch.from_numpy(resized)[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    return values.contiguous(memory_format=torch.channels_last)


def _at_size(
    maps: Float[Tensor, "batch channels _ _"], size: tuple[int, int]
) -> Float[Tensor, "batch channels rows cols"]:
    """Maps at half of the network's size."""
    shape = size[1] // 2, size[0] // 2
    if maps.shape[-2:] != shape:
        maps = torch.nn.functional.interpolate(
            maps, shape, mode="bilinear", antialias=True, align_corners=False
        )
    return maps.contiguous(memory_format=torch.channels_last)


def _shapes(trained: Trained, size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(channels, rows, cols) of the evidence at all scales."""
    config = trained.network.config
    rows, cols = size[1] // 2, size[0] // 2
    shapes = [(config.head, rows, cols)]
    for _ in range(4):
        rows, cols = (rows + 1) // 2, (cols + 1) // 2
        shapes.append((config.width, rows, cols))
    return shapes


def _flat(evidence: Pyramid) -> Float16[np.ndarray, " values"]:
    return np.concatenate([x.half().contiguous().view(-1).numpy() for x in evidence])


def _unflat(values: Float16[np.ndarray, " values"], shapes: list[tuple[int, int, int]]) -> Pyramid:
    found, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        part = torch.from_numpy(np.ascontiguousarray(values[at : at + size])).float()
        found.append(part.reshape(1, *shape).contiguous(memory_format=torch.channels_last))
        at += size
    half, quarter, eighth, sixteenth, last = found
    return half, quarter, eighth, sixteenth, last
