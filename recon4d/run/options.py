"""What the stages are asked, from the options of a run."""

import os
from dataclasses import fields
from pathlib import Path

import torch

from recon4d.core.errors import ConfigError
from recon4d.io.depth_maps import DepthMaps, depth_maps
from recon4d.io.options import ReadOptions
from recon4d.optim.setting import AlignOptions
from recon4d.settings.config import RunConfig
from recon4d.weights.resolve import Resources


def read_options(config: RunConfig) -> ReadOptions:
    """Which frames are read, and at which size."""
    names = {each.name for each in fields(ReadOptions)} - {"with_depth"}
    given = {name: getattr(config, name) for name in names}
    return ReadOptions(**given, with_depth=config.geometry == "rgbd")


def given_depth(config: RunConfig) -> DepthMaps | None:
    """Depth of the user's own, and how it is read; None where there is none.

    Raises:
        InputError: It cannot be read.
    """
    if config.depth is None:
        return None
    return depth_maps(config.depth, config.depth_kind, config.depth_scale, config.depth_factor)


def threads(config: RunConfig) -> int:
    """Threads of a run, or processes."""
    return config.workers or len(os.sched_getaffinity(0))


def device(config: RunConfig) -> str:
    """Where a run computes: `cpu` or `cuda`.

    Raises:
        ConfigError: CUDA is asked for and not there.
    """
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device 'cuda' was asked for, but no CUDA device is there; use --device cpu"
        )
    return config.device


def resources(config: RunConfig) -> Resources:
    """What the methods of a run may use."""
    given = {name: Path(path) for name, path in config.given_weights}
    return Resources(given, config.geometry, device(config), threads(config), config.seed)


def align_options(config: RunConfig) -> AlignOptions:
    """The optimizer's settings of a run."""
    return AlignOptions(
        kernel_px=config.optim.kernel_px,
        grid_px=config.optim.grid_px,
        max_steps=config.optim.max_steps,
        threads=threads(config),
        device=device(config),
        own_focals=config.focal == "per-frame",
        finds_zoom=config.focal == "auto",
    )
