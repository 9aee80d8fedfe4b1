"""Results without any error, as tests of exports and viewers want them."""

import dataclasses
from pathlib import Path
from typing import TypeVar

import numpy as np

from recon4d.results.reconstruction import Reconstruction
from recon4d.results.result import Result
from tests.synthetic import SyntheticScene

R = TypeVar("R", bound=Result)
SIZE = (160, 120)
FRAMES = 8


def exact_result(scene: SyntheticScene) -> Reconstruction:
    """The result that a run without any error would have."""
    video, truth = scene.video, scene.scene
    sure = np.full(scene.depth.shape, 255, np.uint8)
    sure[:, :, : scene.depth.shape[2] // 4] = 10  # the left quarter is a guess
    return Reconstruction(
        world_from_cam=truth.world_from_cam,
        intrinsics=truth.intrinsics,
        timestamps_s=video.timestamps_s,
        sources=video.sources,
        images=video.images,
        depth=scene.depth,
        confidence=sure,
        is_dynamic=scene.is_dynamic,
        is_metric=False,
        run={"format": 1, "scale": "relative"},
        config_toml='input = "in"\n',
    )


def with_unposed(result: R, frames: list[int]) -> R:
    """The same with a warning that frames were lost."""
    warning = {"code": "lost_frames", "message": "lost", "frames": frames}
    return dataclasses.replace(result, run={**result.run, "warnings": [warning]})


def listing(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and what it holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
