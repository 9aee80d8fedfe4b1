"""The Python interface: `recon4d.reconstruct` and `recon4d.load`."""

import dataclasses
import tempfile
from os import PathLike
from pathlib import Path
from typing import TypedDict, Unpack

from recon4d.config import OptimConfig
from recon4d.io.output import check_output, publish
from recon4d.io.result import read_result, write_result
from recon4d.options import build, to_toml
from recon4d.progress import Progress, no_progress
from recon4d.scene import Reconstruction


class RunOptions(TypedDict, total=False):
    """The options of `recon4d run` as keywords; `recon4d.config.RunConfig` says what each means."""

    masks: str | PathLike[str]
    masks_mean: str
    geometry: str
    flow: str
    refine: str
    weights: tuple[str, ...]
    intrinsics: str | PathLike[str] | None
    focal: str
    poses: str | PathLike[str] | None
    pose_sigma: float | None
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
    optim: OptimConfig


def reconstruct(
    input: str | PathLike[str], *, progress: Progress = no_progress, **options: Unpack[RunOptions]
) -> Reconstruction:
    """Reconstruct a video, a folder of images, or an RGB-D folder.

    Args:
        input: Path of a video file, a folder of images, or an RGB-D folder in TUM layout.
        progress: Told how far each stage is; `recon4d.cli_screen.show_progress` shows it on the screen.
        options: Options of `recon4d run` by the names of `recon4d.config.RunConfig`.

    Returns:
        The result in memory. Its `save(folder)` writes a result folder; no other file is left behind.
    """
    config = build({**options, "input": input})

    from recon4d import pipeline

    with tempfile.TemporaryDirectory(prefix="recon4d-") as folder:
        inside = dataclasses.replace(config, out=Path(folder) / "result")
        pipeline.run(inside, resume=False, overwrite=False, progress=progress)
        result = read_result(inside.out_folder)
        return dataclasses.replace(result, config_toml=to_toml(config))


def load(folder: str | PathLike[str]) -> Reconstruction:
    """Read the result folder of a run, or one that `Reconstruction.save` wrote."""
    return read_result(Path(folder))


def save(result: Reconstruction, folder: Path, overwrite: bool) -> None:
    """Write a result folder: `Reconstruction.save`."""
    from recon4d.io.preview import write_preview

    check_output(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
        finished = Path(aside) / "result"
        write_result(result, finished)
        write_preview(result, finished / "preview.png")
        publish(finished, folder, overwrite)
