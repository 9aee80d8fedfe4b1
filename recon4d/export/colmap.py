"""A COLMAP project: images, masks, and a sparse model that COLMAP, pycolmap and Gaussian-splatting trainers read.

The model is binary, which is what all of them read and what keeps every digit. COLMAP's conventions: poses are
cam_from_world with the scalar of the quaternion first; the centre of the first pixel is (0.5, 0.5), as inside recon4d.

Numbers here that name no source were set by hand.
"""

import logging
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon4d.core.files import writing
from recon4d.export.tracks import Tracks, find_tracks
from recon4d.export.views import Export, Exporter, write_depth, write_jpeg, write_static_mask
from recon4d.io.camera import Camera
from recon4d.results.cloud import PointCloud, static_cloud

MAX_POINTS = 100_000
"""Points of the sparse model: as many as trainers start from; each is seen by several frames."""
PINHOLE, SIMPLE_RADIAL, OPENCV, OPENCV_FISHEYE, FULL_OPENCV = 1, 2, 4, 5, 6
"""COLMAP's numbers of camera models."""
SAME_FOCAL = 1e-9
"""Relative difference of fx and fy below which one number says both."""
OBSERVATION = np.dtype([("u", "<f8"), ("v", "<f8"), ("point", "<u8")])
"""An image's entry for a point, in images.bin."""
LINK = np.dtype([("image", "<u4"), ("row", "<u4")])
"""A point's entry for an image, in points3D.bin: the image, and which of its entries is the point's."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SparsePoints:
    """Static points and the frames that see them."""

    cloud: PointCloud
    tracks: Tracks


def export_colmap(export: Export, folder: Path) -> None:
    """`images/`, `masks/NAME.jpg.png`, `sparse/0/`, and beyond what COLMAP reads, `depth/` and `confidence/`."""
    for name in ("images", "masks", "depth", "confidence", "sparse/0"):
        (folder / name).mkdir(parents=True)
    for view in export.views():
        write_jpeg(view, folder / f"images/{view.name}.jpg")
        write_static_mask(view, folder / f"masks/{view.name}.jpg.png")
        write_depth(view, folder)
    sparse = sparse_points(export)
    _write(folder / "sparse/0/cameras.bin", cameras_bin(export))
    _write(folder / "sparse/0/images.bin", images_bin(export, sparse.tracks))
    _write(folder / "sparse/0/points3D.bin", points_bin(export, sparse))


def sparse_points(export: Export) -> SparsePoints:
    """Static points that at least two exported frames see."""
    cloud = static_cloud(export.result, max_points=MAX_POINTS)
    tracks = find_tracks(export.result, cloud.points.astype(np.float64))
    seen, point = np.unique(tracks.point, return_inverse=True)
    if len(seen) == 0:
        _log.warning(
            "the result has no static points that two frames see: sparse/0/points3D.bin is empty, and tools that "
            "start from points cannot use it"
        )
    is_seen = np.zeros(cloud.num_points, np.bool_)
    is_seen[seen] = True
    return SparsePoints(cloud.select(is_seen), Tracks(tracks.frame, point, tracks.place_px))


def cameras_bin(export: Export) -> bytes:
    """`cameras.bin`: one camera, or one per frame where their intrinsics differ; pinholes unless images have a lens."""
    count = 1 if export.shares_intrinsics else len(export.frames)
    rows = []
    for row in range(count):
        model, values = colmap_camera(export.camera(row))
        head = struct.pack("<IiQQ", row + 1, model, *export.size)
        rows.append(head + struct.pack(f"<{len(values)}d", *values))
    return struct.pack("<Q", count) + b"".join(rows)


def colmap_camera(camera: Camera) -> tuple[int, tuple[float, ...]]:
    """The simplest of COLMAP's models that a camera is, and its parameters."""
    place, terms = (camera.cx, camera.cy), camera.distortion
    if camera.is_fisheye:
        return OPENCV_FISHEYE, (camera.fx, camera.fy, *place, *(terms or (0.0,) * 4))
    if not any(terms):
        return PINHOLE, (camera.fx, camera.fy, *place)
    if not any(terms[1:]) and abs(camera.fx / camera.fy - 1) < SAME_FOCAL:
        return SIMPLE_RADIAL, (camera.fx, *place, terms[0])
    padded = terms + (0.0,) * (8 - len(terms))
    if any(padded[4:]):
        return FULL_OPENCV, (camera.fx, camera.fy, *place, *padded)
    return OPENCV, (camera.fx, camera.fy, *place, *padded[:4])


def images_bin(export: Export, tracks: Tracks) -> bytes:
    """`images.bin`: pose, camera, name and observations of each frame; image identifiers are index + 1."""
    scale = np.array(export.size) / np.array(export.result.images.shape[2:0:-1])
    begin = np.searchsorted(tracks.frame, np.arange(len(export.frames) + 1))
    parts = [struct.pack("<Q", len(export.frames))]
    for row, frame in enumerate(export.frames):
        camera = 1 if export.shares_intrinsics else row + 1
        pose = colmap_pose(export.result.world_from_cam[row])
        parts.append(struct.pack("<I7dI", frame + 1, *pose, camera))
        parts.append(f"{frame:06d}.jpg".encode() + b"\0")
        own = slice(begin[row], begin[row + 1])
        observations = np.empty(own.stop - own.start, OBSERVATION)
        places = tracks.place_px[own] * scale
        seen = places if export.lens is None else export.lens.bent(places)
        observations["u"], observations["v"] = seen.T
        observations["point"] = tracks.point[own] + 1
        parts.append(struct.pack("<Q", len(observations)) + observations.tobytes())
    return b"".join(parts)


def points_bin(export: Export, sparse: SparsePoints) -> bytes:
    """`points3D.bin`: places, colours and tracks; the reprojection error is 0, as observations are projections."""
    cloud, tracks = sparse.cloud, sparse.tracks
    first = np.searchsorted(tracks.frame, np.arange(len(export.frames)))
    order = np.argsort(tracks.point, kind="stable")
    links = np.empty(len(order), LINK)
    links["image"] = np.array(export.frames)[tracks.frame] + 1
    links["row"] = np.arange(len(order)) - first[tracks.frame]
    links = links[order]
    ends = np.searchsorted(tracks.point[order], np.arange(cloud.num_points + 1))
    parts = [struct.pack("<Q", cloud.num_points)]
    for point in range(cloud.num_points):
        own = links[ends[point] : ends[point + 1]]
        place, color = cloud.points[point].tolist(), cloud.colors[point].tolist()
        parts.append(struct.pack("<Q3d3BdQ", point + 1, *place, *color, 0.0, len(own)))
        parts.append(own.tobytes())
    return b"".join(parts)


def colmap_pose(world_from_cam: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "7"]:
    """Quaternion (w >= 0, scalar first, unit length) and translation of cam_from_world."""
    turn = Rotation.from_matrix(world_from_cam[:3, :3]).inv()
    quaternion_wxyz = turn.as_quat(canonical=True)[[3, 0, 1, 2]]
    return np.concatenate((quaternion_wxyz, -turn.apply(world_from_cam[:3, 3])))


def _write(path: Path, content: bytes) -> None:
    with writing(path):
        path.write_bytes(content)


def make() -> Exporter:
    """A COLMAP project, for `recon4d export`."""
    return Exporter(export_colmap, has_images=True, is_sparse=True)
