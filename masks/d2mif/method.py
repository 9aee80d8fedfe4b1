"""D2MIF as a method of masks: its weights, and the tokens of a network that they may have been trained with."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Float16

from recon4d.core.errors import ConfigError
from recon4d.core.scene import MotionMasks, Scene
from recon4d.masks import Features, MaskMethod, Seen
from recon4d.masks.d2mif import d2mif_masks, scene_free_features
from recon4d.masks.d2mif.config import NetworkConfig
from recon4d.masks.d2mif.salience import whole_objects
from recon4d.masks.d2mif.weights import Trained, load_weights
from recon4d.networks.tokens import token_source, video_tokens
from recon4d.weights.resolve import Backbone, Resources


def make(resources: Resources) -> MaskMethod:
    """The method of `--masks d2mif`: with the shipped weights, or those of `--weights d2mif=PATH`.

    Raises:
        ConfigError: The weights cannot be read, or those of the network whose tokens they read are not there.
    """
    own = resources.own("d2mif")
    backbone = None if own is None else _backbone(load_weights(own).network.config, resources)

    @cache
    def trained() -> Trained:
        return load_weights(own)

    def features(seen: Seen, folder: Path) -> Features:
        with TemporaryDirectory(dir=folder) as scratch:
            config = trained().network.config
            tokens = frame_tokens(config, backbone, resources.device, seen, Path(scratch))
            return scene_free_features(
                seen.video, seen.flow, trained(), folder, seen.threads, seen.progress, tokens
            )

    def masks(seen: Seen, scene: Scene) -> MotionMasks:
        assert seen.features is not None, "d2mif has features"
        return d2mif_masks(
            seen.video, seen.flow, scene, seen.features, trained(), seen.threads, seen.progress
        )

    def whole(seen: Seen, scene: Scene, motion: MotionMasks) -> MotionMasks:
        sees = "appearance" in trained().network.config.branches
        return whole_objects(seen, scene, motion) if sees else motion

    return MaskMethod(masks, depends_on_scene=True, features=features, whole=whole)


def _backbone(config: NetworkConfig, resources: Resources) -> Backbone | None:
    return resources.backbone(config.backbone) if config.backbone else None


def frame_tokens(
    config: NetworkConfig, backbone: Backbone | None, device: str, seen: Seen, folder: Path
) -> Float16[np.ndarray, "frames rows cols values"] | None:
    """Tokens that the weights of D2MIF were trained with, of every frame; None for weights that read none.

    Args:
        config: Of the weights.
        backbone: The network whose tokens are read.
        device: Where it computes.
        seen: The frames.
        folder: For their memory map.

    Raises:
        ConfigError: The weights of the network are others than those of the training.
    """
    if backbone is None:
        return None
    source = token_source(backbone, device)
    if source.fingerprint != config.fingerprint:
        raise ConfigError(
            f"the weights of D2MIF were trained with tokens of other weights of {config.backbone} than "
            f"{backbone.weights}; give those with --weights {config.backbone}=PATH"
        )
    return video_tokens(source, seen.video.images, folder / "tokens.npy", seen.progress)
