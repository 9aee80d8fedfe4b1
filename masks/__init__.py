"""Motion masks: which pixels move relative to the static world."""

if __name__ == "masks":  # found through the working directory, not through the package
    raise ImportError("import recon4d.masks, not masks")

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from jaxtyping import Bool, Float16

from recon4d.core.errors import ConfigError
from recon4d.core.progress import Progress, no_progress
from recon4d.core.scene import FLOW_STRIDE, Flow, MotionMasks, Notice, Scene, Video
from recon4d.masks.d2mif import d2mif_masks, scene_free_features
from recon4d.masks.d2mif.network import NetworkConfig
from recon4d.masks.d2mif.weights import load_weights
from recon4d.masks.features import Features, stored_masks
from recon4d.masks.refine.edges import refine_edges, refine_none
from recon4d.masks.refine.sam2_refine import UNITED as UNITED
from recon4d.masks.refine.sam2_refine import Sam2Options as Sam2Options
from recon4d.masks.refine.sam2_refine import refine_sam2
from recon4d.masks.residual import residual_masks
from recon4d.weights.resolve import Backbone, Mono


@dataclass(frozen=True)
class Observed:
    """What masks are found from, besides the current scene."""

    video: Video
    flow: Flow
    features: Features | None = None
    """Of the method that asks; None where it has none."""
    threads: int = 1
    device: str = "cpu"
    """Where large networks compute."""
    raft_weights: Path | None = None
    """Of RAFT, for a method that measures flow of its own."""
    progress: Progress = no_progress
    mono: Callable[[], Mono | None] = lambda: None
    """Finds what says the depth of single images, for a network that needs it."""
    backbone: Callable[[str], Backbone] | None = None
    """Finds the checkpoints of a network whose tokens masks are found from."""


@dataclass(frozen=True)
class MaskMethod:
    """A way to find moving pixels."""

    masks: Callable[[Observed, Scene], MotionMasks]
    depends_on_scene: bool
    """Whether better geometry gives better masks, so that rounds of the loop make sense."""
    features: Callable[[Observed, Path], Features] | None = None
    """What is computed once, before the rounds, with memory maps in a folder; None where nothing is."""


def method(
    name: str,
    given: Bool[np.ndarray, "frames height width"] | None = None,
    weights: Path | None = None,
) -> MaskMethod:
    """Find a method by its name on the command line.

    Args:
        name: A name, or anything where `given` is there.
        given: The user's own masks at working size.
        weights: File of the method's weights; its shipped ones if not given.
    """
    if given is not None:
        return MaskMethod(lambda seen, scene: given_masks(given), False)
    if name not in METHODS:
        raise ConfigError(f"masks '{name}' is not there; available: {', '.join(METHODS)}")
    return METHODS[name](weights)


def _d2mif(weights: Path | None) -> MaskMethod:
    trained = load_weights(weights)

    def features(seen: Observed, folder: Path) -> Features:
        with TemporaryDirectory(dir=folder) as scratch:
            tokens = frame_tokens(trained.network.config, seen, Path(scratch))
            return scene_free_features(
                seen.video, seen.flow, trained, folder, seen.threads, seen.progress, tokens
            )

    def masks(seen: Observed, scene: Scene) -> MotionMasks:
        assert seen.features is not None, "d2mif has features"
        return d2mif_masks(
            seen.video,
            seen.flow,
            scene,
            seen.features,
            trained,
            seen.threads,
            seen.progress,
        )

    return MaskMethod(masks, depends_on_scene=True, features=features)


def needed_backbone(name: str, weights: Path | None) -> str | None:
    """The network whose tokens the weights of a method were trained with; None where there is none."""
    if name != "d2mif" or weights is None:
        return None
    return load_weights(weights).network.config.backbone or None  # all of it is checked


def frame_tokens(
    config: NetworkConfig, seen: Observed, folder: Path
) -> Float16[np.ndarray, "frames rows cols values"] | None:
    """Tokens that the weights of D2MIF were trained with, of every frame; None for weights that read none.

    Raises:
        ConfigError: The backbone or its weights are not those.
    """
    if not config.backbone:
        return None
    from recon4d.networks.tokens import token_source, video_tokens

    if seen.backbone is None:
        raise ConfigError(
            f"these weights of D2MIF read tokens of {config.backbone}, which are there in recon4d run alone; give "
            "weights that read none"
        )
    backbone = seen.backbone(config.backbone)
    source = token_source(backbone, seen.device)
    if source.fingerprint != config.fingerprint:
        raise ConfigError(
            f"the weights of D2MIF were trained with tokens of other weights of {config.backbone} than "
            f"{backbone.weights}; give those with --weights {config.backbone}=PATH"
        )
    return video_tokens(source, seen.video.images, folder / "tokens.npy", seen.progress)


def _easi3r(weights: Path | None) -> MaskMethod:
    from recon4d.masks.easi3r.features import attention_features

    assert weights is not None, "the configuration has refused that"

    def features(seen: Observed, folder: Path) -> Features:
        return attention_features(
            seen.video, seen.flow, weights, seen.device, seen.progress, seen.mono
        )

    def masks(seen: Observed, scene: Scene) -> MotionMasks:
        assert seen.features is not None, "easi3r has features"
        return stored_masks(seen.features, seen.flow)

    return MaskMethod(masks, depends_on_scene=False, features=features)


def _geomotion(weights: Path | None) -> MaskMethod:
    from recon4d.masks.geomotion import motion_features

    assert weights is not None, "the configuration has checked that there are weights"

    def features(seen: Observed, folder: Path) -> Features:
        assert seen.raft_weights is not None, "the configuration has checked that there are weights"
        both = (weights, seen.raft_weights)
        return motion_features(
            seen.video, seen.flow, both, seen.device, seen.threads, seen.progress
        )

    def masks(seen: Observed, scene: Scene) -> MotionMasks:
        assert seen.features is not None, "geomotion has features"
        return stored_masks(seen.features, seen.flow)

    return MaskMethod(masks, depends_on_scene=False, features=features)


def _residual(weights: Path | None) -> MaskMethod:
    def masks(seen: Observed, scene: Scene) -> MotionMasks:
        return residual_masks(seen.video, seen.flow, scene, seen.threads, seen.progress)

    return MaskMethod(masks, depends_on_scene=True)


def _none(weights: Path | None) -> MaskMethod:
    return MaskMethod(lambda seen, scene: no_masks(seen.video, seen.flow), depends_on_scene=False)


def no_masks(video: Video, flow: Flow) -> MotionMasks:
    """Everything is static."""
    return MotionMasks(np.zeros((video.num_frames, *flow.confidence.shape[1:]), np.float32))


def given_masks(is_dynamic: Bool[np.ndarray, "frames height width"]) -> MotionMasks:
    """The user's masks as probabilities at the sampling of `Flow`: 1 where any part of a sample moves."""
    return MotionMasks((outlines(is_dynamic).probability > 0).astype(np.float32))


def outlines(is_dynamic: Bool[np.ndarray, "frames height width"]) -> MotionMasks:
    """Finished masks at the sampling of `Flow`: the part of each sample that moves."""
    height, width = is_dynamic.shape[1:]
    size = (width // FLOW_STRIDE, height // FLOW_STRIDE)
    small = [
        cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        for frame in is_dynamic
    ]
    return MotionMasks(np.stack(small))


@dataclass(frozen=True)
class FinalMasks:
    """The masks that are written."""

    is_dynamic: Bool[np.ndarray, "frames height width"]
    notices: tuple[Notice, ...] = ()


def finish(
    refine: str | Sam2Options,
    video: Video,
    motion: MotionMasks,
    given: Bool[np.ndarray, "frames height width"] | None,
    threads: int,
    progress: Progress = no_progress,
) -> FinalMasks:
    """The masks that are written: the user's own as they are, others thresholded, snapped to edges, or SAM 2's."""
    if given is not None:
        return FinalMasks(given)
    if isinstance(refine, Sam2Options):
        return FinalMasks(*refine_sam2(video, motion, refine, threads, progress))
    if refine == "edges":
        return FinalMasks(refine_edges(video, motion, threads, progress))
    return FinalMasks(refine_none(video, motion))


METHODS: dict[str, Callable[[Path | None], MaskMethod]] = {
    "d2mif": _d2mif,
    "residual": _residual,
    "none": _none,
    "easi3r": _easi3r,
    "geomotion": _geomotion,
}
"""Every method that exists, the default first; each gets the file of its weights, None for its own."""
