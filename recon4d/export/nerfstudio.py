"""A data set in nerfstudio's format: transforms.json with images, masks, depth and static points.

nerfstudio's conventions: poses are world_from_cam of a camera with +X right, +Y up, +Z backward (OpenGL); its rays go
through pixel + 0.5, so the centre of the first pixel is (0.5, 0.5), as inside recon4d; masks are 255 where a pixel is
used; depth is z-depth in thousandths of the poses' unit. The world is left as it is: nerfstudio itself turns it upright
(`orientation_method`), and its versions disagree whether an `applied_transform` concerns the points, too.

Numbers here that name no source were set by hand.
"""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon4d.core.arrays import save_array
from recon4d.core.errors import ConfigError
from recon4d.core.files import writing
from recon4d.export.unroll import readout_s, row_poses
from recon4d.export.views import Export, Exporter, View, write_jpeg, write_static_mask
from recon4d.io.camera import Camera
from recon4d.io.pictures.files import write_image
from recon4d.results.cloud import static_cloud
from recon4d.results.ply import write_ply

MAX_POINTS = 500_000
"""Static points that a trainer starts from."""
DEPTH_UNITS = 1000.0
"""nerfstudio multiplies depth files by `depth_unit_scale_factor`, 0.001 unless it is told otherwise."""
GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])
"""Turns a camera's axes from +Y down, +Z forward to +Y up, +Z backward; its own inverse."""


def export_nerfstudio(export: Export, folder: Path) -> None:
    """`transforms.json`, `images/`, `masks/`, `depths/`, `confidence/` and `points.ply`."""
    for name in ("images", "masks", "depths", "confidence"):
        (folder / name).mkdir(parents=True)
    for view in export.views():
        write_jpeg(view, folder / f"images/{view.name}.jpg")
        write_static_mask(view, folder / f"masks/{view.name}.png")
        _write_depth(view, folder)
    write_ply(static_cloud(export.result, max_points=MAX_POINTS), folder / "points.ply")
    text = json.dumps(transforms(export), indent=2) + "\n"
    path = folder / "transforms.json"
    with writing(path):
        path.write_text(text, encoding="utf-8")


def transforms(export: Export) -> dict[str, object]:
    """The content of transforms.json; intrinsics stand at the frames where they differ."""
    shared: dict[str, object] = {
        **_lens(export.camera(0)),
        "applied_transform": np.eye(4)[:3].tolist(),
        "ply_file_path": "points.ply",
    }
    if export.shares_intrinsics:
        shared |= _camera(export, 0)
    roll = readout_s(export.result)
    if roll:
        way = "ROLLING_TOP_TO_BOTTOM" if roll > 0 else "ROLLING_BOTTOM_TO_TOP"
        shared |= {"rolling_shutter_time": abs(roll), "shutter_type": way}
    return shared | {"frames": [_frame(export, row) for row in range(len(export.frames))]}


def gl_pose(world_from_cam: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """world_from_cam of a camera with OpenGL's axes, in the same world."""
    return np.asarray(world_from_cam @ GL_FROM_CV)


def _frame(export: Export, row: int) -> dict[str, object]:
    name = f"{export.frames[row]:06d}"
    times_s = export.result.timestamps_s
    duration_s = float(times_s[-1] - times_s[0])
    frame: dict[str, object] = _shutter(export, row) | {
        "file_path": f"images/{name}.jpg",
        "mask_path": f"masks/{name}.png",
        "depth_file_path": f"depths/{name}.npy",
        "transform_matrix": gl_pose(export.result.world_from_cam[row]).tolist(),
        "time": float(times_s[row] - times_s[0]) / duration_s if duration_s > 0 else 0.0,
        "timestamp_s": float(times_s[row]),
        "source": export.result.sources[row],
    }
    return frame if export.shares_intrinsics else frame | _camera(export, row)


def _shutter(export: Export, row: int) -> dict[str, object]:
    """Poses of the first and of the last row that are read, and the mean velocities between them; of no other shutter.

    Velocities are per second, in the axes of `transform_matrix`'s camera: fields of trainers that know rolling shutters
    (3dgs-deblur). The two poses are the inverses of gsplat's `viewmats` and `viewmats_rs`, but for OpenGL's axes.
    """
    roll = readout_s(export.result)
    if not roll:
        return {}
    first, last = (
        gl_pose(pose) for pose in row_poses(export.result)[row][:: 1 if roll > 0 else -1]
    )
    own = gl_pose(export.result.world_from_cam[row])[:3, :3]
    turned = Rotation.from_matrix(last[:3, :3] @ first[:3, :3].T).as_rotvec()
    return {
        "transform_matrix_first_row": first.tolist(),
        "transform_matrix_last_row": last.tolist(),
        "camera_linear_velocity": (own.T @ (last[:3, 3] - first[:3, 3]) / abs(roll)).tolist(),
        "camera_angular_velocity": (own.T @ turned / abs(roll)).tolist(),
    }


def _camera(export: Export, row: int) -> dict[str, object]:
    seen = export.camera(row)
    width, height = export.size
    place: dict[str, object] = {
        "w": width,
        "h": height,
        "fl_x": seen.fx,
        "fl_y": seen.fy,
        "cx": seen.cx,
        "cy": seen.cy,
    }
    return place if export.lens is None else place | _lens(seen)


def _lens(camera: Camera) -> dict[str, object]:
    """Model and coefficients.

    Raises:
        ConfigError: nerfstudio has none of the kind.
    """
    terms = camera.distortion + (0.0,) * (4 - len(camera.distortion))
    if any(terms[5:]):
        raise ConfigError(
            "the lens of these images has the coefficients k4, k5 and k6, which nerfstudio does not know; leave "
            "--images distorted out"
        )
    if camera.is_fisheye:
        return {"camera_model": "OPENCV_FISHEYE"} | dict(
            zip(("k1", "k2", "k3", "k4"), terms, strict=True)
        )
    names = ("k1", "k2", "p1", "p2", "k3")[: len(terms)]
    return {"camera_model": "OPENCV"} | dict(zip(names, terms, strict=False))


def _write_depth(view: View, folder: Path) -> None:
    with writing(folder):
        depth = (view.layers.depth * np.float32(DEPTH_UNITS)).astype(np.float32)
        save_array(folder / f"depths/{view.name}.npy", depth)
    write_image(folder / f"confidence/{view.name}.png", view.layers.confidence)


def make() -> Exporter:
    """Nerfstudio's data set, for `recon4d export`."""
    return Exporter(export_nerfstudio, has_images=True, is_sparse=True)
