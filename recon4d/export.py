"""Results in the formats of other programs."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from recon4d.errors import ConfigError
from recon4d.io.images import write_image
from recon4d.io.output import writing
from recon4d.io.overlay import tint_moving
from recon4d.io.ply import write_ply
from recon4d.io.result import read_result
from recon4d.io.video_file import write_video
from recon4d.scene import Reconstruction
from recon4d.viewer.cloud import moving_cloud, static_cloud

LATER = ("colmap", "nerfstudio", "glb")
"""Formats of the command line's contract that do not exist yet."""
ENCODER = {"crf": "18"}
"""x264, visually lossless."""


def export_result(result: Path, to: str, out: Path | None = None) -> Path:
    """Write a result folder in another format.

    Args:
        result: The result folder.
        to: `ply` or `overlay`.
        out: Where to; `RESULT/export/FORMAT` if not given.

    Returns:
        The folder that was written.
    """
    if to not in EXPORTERS:
        what = "comes with a later version" if to in LATER else "is not known"
        raise ConfigError(f"export to '{to}' {what}; available now: {', '.join(EXPORTERS)}")
    reconstruction = read_result(result)
    folder = result / "export" / to if out is None else out
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        EXPORTERS[to](reconstruction, folder)
    return folder


def export_ply(reconstruction: Reconstruction, folder: Path) -> None:
    """`static.ply`, fused over all frames, and what moves in each frame as `moving/NNNNNN.ply`."""
    write_ply(static_cloud(reconstruction), folder / "static.ply")
    (folder / "moving").mkdir(exist_ok=True)
    for frame in range(len(reconstruction.images)):
        write_ply(moving_cloud(reconstruction, frame), folder / "moving" / f"{frame:06d}.ply")


def export_overlay(reconstruction: Reconstruction, folder: Path) -> None:
    """The images with moving pixels tinted, as `NNNNNN.png` and as `overlay.mp4`."""
    steps = np.diff(reconstruction.timestamps_s)
    fps = Fraction(1 / float(np.median(steps))).limit_denominator(1001)

    def pictures() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        for frame, image in enumerate(reconstruction.images):
            picture = tint_moving(image, reconstruction.is_dynamic[frame])
            write_image(folder / f"{frame:06d}.png", picture[..., ::-1])
            yield picture

    write_video(folder / "overlay.mp4", pictures(), fps, ENCODER)


EXPORTERS: dict[str, Callable[[Reconstruction, Path], None]] = {
    "ply": export_ply,
    "overlay": export_overlay,
}
"""Every format that exists."""
