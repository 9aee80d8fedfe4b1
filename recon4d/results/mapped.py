"""A result folder as memory maps: what goes through a long result frame by frame needs no more memory than a few."""

from pathlib import Path

import numpy as np

from recon4d.core.arrays import create_array
from recon4d.results.folder import check_files, read_frame
from recon4d.results.result import Result
from recon4d.results.texts import read_cameras


def mapped_result(folder: Path, scratch: Path) -> Result:
    """Read a result folder into files that are mapped.

    Args:
        folder: The result.
        scratch: An empty folder for the maps, as large as the result without compression.
    """
    cameras = read_cameras(folder)
    check_files(folder, cameras)
    count, (width, height) = len(cameras.sources), cameras.size
    shape, has_std = (count, height, width), (folder / "depth_std").exists()
    images = create_array(scratch / "images.npy", np.uint8, (*shape, 3))
    depth = create_array(scratch / "depth.npy", np.float32, shape)
    confidence = create_array(scratch / "confidence.npy", np.uint8, shape)
    is_dynamic = create_array(scratch / "is_dynamic.npy", np.bool_, shape)
    std = create_array(scratch / "depth_std.npy", np.float16, shape if has_std else (0,))
    for index in range(count):
        frame = read_frame(folder, index, cameras.size)
        images[index], depth[index], confidence[index] = frame.image, frame.depth, frame.confidence
        is_dynamic[index] = frame.is_dynamic
        if frame.depth_std is not None:
            std[index] = frame.depth_std
    return Result(
        world_from_cam=cameras.world_from_cam,
        intrinsics=cameras.intrinsics,
        timestamps_s=cameras.timestamps_s,
        sources=cameras.sources,
        images=images,
        depth=depth,
        confidence=confidence,
        is_dynamic=is_dynamic,
        is_metric=cameras.is_metric,
        depth_std=std if has_std else None,
        overlay=cameras.overlay,
        run=cameras.run,
    )
