"""What the stages are asked, from the options of a run."""

import os

import torch

from recon4d.core.errors import ConfigError
from recon4d.io.options import ReadOptions
from recon4d.optim.setting import AlignOptions
from recon4d.settings.config import RunConfig


def read_options(config: RunConfig) -> ReadOptions:
    """Which frames are read, and at which size."""
    return ReadOptions(
        size=config.size,
        fps=config.fps,
        stride=config.stride,
        start=config.start,
        max_frames=config.max_frames,
        intrinsics=config.intrinsics,
        with_depth=config.geometry == "rgbd",
        depth_factor=config.depth_factor,
    )


def align_options(config: RunConfig) -> AlignOptions:
    """The optimizer's settings of a run."""
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device 'cuda' was asked for, but no CUDA device is there; use --device cpu"
        )
    return AlignOptions(
        kernel_px=config.optim.kernel_px,
        grid_px=config.optim.grid_px,
        max_steps=config.optim.max_steps,
        threads=config.workers or len(os.sched_getaffinity(0)),
        device=device,
        own_focals=config.focal == "per-frame",
    )
