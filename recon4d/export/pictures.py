"""The images with their masks over them, as pictures and as a video."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from recon4d.export.views import Export, Exporter
from recon4d.io.pictures.files import write_image
from recon4d.io.video import write_video
from recon4d.results.overlay import tint_moving

ENCODER = {"crf": "18"}
"""x264, visually lossless."""


def export_overlay(export: Export, folder: Path) -> None:
    """The images with moving pixels tinted, as `NNNNNN.png` and as `overlay.mp4`."""
    steps = np.diff(export.result.timestamps_s)
    fps = Fraction(1 / float(np.median(steps))).limit_denominator(1001)

    def pictures() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        for view in export.views():
            picture = tint_moving(view.image, view.layers.is_dynamic)
            write_image(folder / f"{view.name}.png", picture[..., ::-1])
            height, width = picture.shape[:2]  # the encoder takes even sides alone
            yield np.ascontiguousarray(picture[: height // 2 * 2, : width // 2 * 2])

    write_video(folder / "overlay.mp4", pictures(), fps, ENCODER)


def make() -> Exporter:
    """Pictures, for `recon4d export`."""
    return Exporter(export_overlay, has_images=True, has_space=False)
