"""The Python interface: `recon4d.reconstruct` and `recon4d.load`."""

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np

from recon4d.core.errors import ConfigError
from recon4d.core.progress import Progress, no_progress
from recon4d.io.memory import IN_MEMORY, Frames, Stack, intrinsics_text, is_path, open_array
from recon4d.results.reconstruction import Reconstruction
from recon4d.settings.optim import OptimConfig
from recon4d.settings.text import build, to_toml

IN_FILES = {
    "masks": "the name of a method (d2mif, residual, ...), or the path of a folder with one mask image per frame, was "
    "needed: write the masks as images there, 255 = moving",
    "poses": "the path of a file was needed: write them there, a line 'timestamp tx ty tz qx qy qz qw' for each pose "
    "(world_from_cam, TUM format)",
    "depth": "the path of a folder or a file was needed: save them there as one .npy file (frames, height, width)",
}
"""Options that others give as arrays, and what is taken."""


class RunOptions(TypedDict, total=False):
    """The options of `recon4d run` as keywords; `recon4d.settings.config.RunConfig` says what each means."""

    masks: str | PathLike[str]
    masks_mean: str
    geometry: str
    flow: str
    refine: str
    weights: tuple[str, ...]
    intrinsics: str | PathLike[str] | Sequence[float] | np.ndarray | None
    focal: str
    focal_mm: float | None
    sensor_mm: float | None
    lens: str
    readout: float | None
    poses: str | PathLike[str] | None
    pose_sigma: float | None
    depth: str | PathLike[str] | None
    depth_kind: str
    depth_scale: str
    depth_factor: float | None
    size: int
    fps: float | None
    stride: int
    start: float
    max_frames: int | None
    loop: int
    device: str
    workers: int | None
    executor: str
    seed: int
    tracks: int
    objects: bool
    scene_flow: bool
    optim: OptimConfig


def reconstruct(
    input: str | PathLike[str] | Frames,
    *,
    timestamps: Sequence[float] | np.ndarray | None = None,
    progress: Progress = no_progress,
    **options: Unpack[RunOptions],
) -> Reconstruction:
    """Reconstruct a video, a folder of images, an RGB-D folder, or frames in memory.

    Args:
        input: Path of a video file, a folder of images, or an RGB-D folder in TUM layout; or frames: an array or tensor
            (N, height, width, 3) or a list of images, uint8 RGB, which is read frame by frame.
        timestamps: Of frames in memory: seconds of each, rising; without them, `fps` is their rate (30).
        progress: Told how far each stage is; `recon4d.cli.screen.show_progress` shows it on the screen.
        options: Options of `recon4d run` by the names of `recon4d.settings.config.RunConfig`; `intrinsics` may also be
            numbers: (fx, fy, cx, cy) or K (3, 3), pixels of the input, centre of the first pixel at (0, 0).

    Returns:
        The result in memory. Its `save(folder)` writes a result folder; no other file is left behind.
    """
    if "out" in options:
        raise ConfigError(
            "out is for recon4d run: reconstruct returns the result in memory and leaves no folder; leave it out, and "
            "call save(folder) of the result"
        )
    given: dict[str, object] = {**options, "input": input if is_path(input) else IN_MEMORY}
    camera = options.get("intrinsics")
    if camera is not None and not is_path(camera):
        given["intrinsics"] = intrinsics_text(camera)
    _refuse_arrays(options)
    config = build(given)
    if is_path(input) and timestamps is not None:
        raise ConfigError("timestamps are for frames in memory; a file has its own: leave them out")

    from recon4d.core.parallel import own_torch
    from recon4d.run.options import read_options

    with own_torch():
        from recon4d.run import pipeline  # constants of its modules are tensors

    frames = None if is_path(input) else open_array(input, timestamps, read_options(config))
    with tempfile.TemporaryDirectory(prefix="recon4d-") as folder:
        inside = dataclasses.replace(config, out=Path(folder) / "result")
        pipeline.run(inside, resume=False, overwrite=False, progress=progress, frames=frames)
        result = Reconstruction.load(inside.out_folder)
        return dataclasses.replace(result, config_toml=to_toml(config))


def _refuse_arrays(options: Mapping[str, object]) -> None:
    for name, needed in IN_FILES.items():
        value = options.get(name)
        if value is None or is_path(value):
            continue
        shape = f", shape {tuple(value.shape)}" if isinstance(value, Stack) else ""
        raise ConfigError(f"{name} is of type {type(value).__name__}{shape}; {needed}")


def load(folder: str | PathLike[str]) -> Reconstruction:
    """Read the result folder of a run, or one that `Reconstruction.save` wrote."""
    return Reconstruction.load(folder)
