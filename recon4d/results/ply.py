"""Point clouds as PLY files, written without Open3D."""

from pathlib import Path

import numpy as np

from recon4d.core.files import writing
from recon4d.results.cloud import PointCloud

_VERTEX = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1")]
)


def write_ply(cloud: PointCloud, path: Path) -> None:
    """Write points and colours, binary little-endian, in the scale that depth and poses share."""
    vertices = np.empty(cloud.num_points, _VERTEX)
    for axis, name in enumerate(("x", "y", "z")):
        vertices[name] = cloud.points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = cloud.colors[:, channel]
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {cloud.num_points}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    )
    with writing(path):
        path.write_bytes(header.encode("ascii") + vertices.tobytes())
