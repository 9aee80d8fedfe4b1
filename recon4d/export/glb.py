"""One binary glTF file: static points, moving points frame by frame, cameras. Blender and three.js read it.

glTF has +Y up, and a camera looks along -Z with +Y up; the world is turned by half a turn about X to match. Every
camera is a node whose matrix is in double precision, with its frustum as lines, a glTF camera, and the exact intrinsics
under `extras` (a glTF camera has no principal point). Points are float32, as glTF has nothing longer; their colours are
linear, as glTF wants them: taken for a picture's own values they would look washed out. An animation
shows the moving points of one frame at a time, at the times of the result (`recon4d.export.glb_animation`).

Numbers here that name no source were set by hand.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from recon4d.core.errors import MissingDependencyError
from recon4d.core.files import writing
from recon4d.core.pinhole import field_of_view, rays_array
from recon4d.core.sampling import spread_evenly
from recon4d.export.glb_animation import shown_one_by_one
from recon4d.export.nerfstudio import GL_FROM_CV
from recon4d.export.views import Export, Exporter
from recon4d.results.cloud import FAR, PointCloud, median_depth, moving_cloud, static_cloud
from recon4d.results.frustums import EDGES, SIZE
from recon4d.results.trails import trail_colors

FILE = "scene.glb"
MAX_STATIC = 500_000
"""Static points: 8 MB, which browsers load at once."""
MAX_MOVING = 800_000
"""Moving points of all frames together: 13 MB."""
MAX_MOVING_FRAMES = 60
"""Frames whose moving points are exported, spread evenly: more would be too thin."""
MAX_TRAILS = 100
"""Followed points of an object whose ways are drawn."""
CAMERA_RGBA = (0, 130, 255, 255)
"""Of frustums and of the camera's path."""


def export_glb(export: Export, folder: Path) -> None:
    """`scene.glb` with the nodes `static`, `moving_NNNNNN`, `camera_NNNNNN` and `path`."""
    trimesh = import_trimesh()
    scene = trimesh.Scene(metadata=_description(export))
    _add_points(scene, "static", static_cloud(export.result, max_points=MAX_STATIC))
    clouds = moving_clouds(export)
    for row, cloud in clouds.items():
        _add_points(scene, _moving_name(export, row), cloud)
    _add_cameras(scene, export)
    if export.draws_cameras and len(export.frames) > 1:
        centres = export.result.world_from_cam[:, :3, 3] @ GL_FROM_CV[:3, :3]
        steps = tuple((row, row + 1) for row in range(len(centres) - 1))
        scene.add_geometry(_lines(centres, steps), node_name="path", geom_name="path")
    _add_trails(scene, export)
    data = scene.export(
        file_type="glb", tree_postprocessor=lambda tree: add_gltf_cameras(tree, export)
    )
    rows = moving_rows(export)
    seen = {rows.index(row): _moving_name(export, row) for row in clouds}
    data = shown_one_by_one(data, seen, export.result.timestamps_s[rows])
    with writing(folder / FILE):
        (folder / FILE).write_bytes(data)


def import_trimesh() -> ModuleType:
    """Import trimesh, which writes the file.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module("trimesh")
    except ImportError as error:
        raise MissingDependencyError(
            f'trimesh cannot be imported ({error}); export to glb needs it: pip install "recon4d[glb]"'
        ) from error


def gltf_pose(world_from_cam: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """Matrix of a camera's node: glTF's camera axes in glTF's world."""
    return np.asarray(GL_FROM_CV @ world_from_cam @ GL_FROM_CV)


def linear_colors(colors: UInt8[np.ndarray, "points 3"]) -> UInt8[np.ndarray, "points 3"]:
    """A picture's RGB values (sRGB, IEC 61966-2-1) as light, 0 to 255: off by at most 7 of a picture's levels."""
    share = np.arange(256) / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.rint(255 * light).astype(np.uint8)[colors])


def moving_rows(export: Export) -> list[int]:
    """Places in `export.frames` of the frames whose moving points are exported."""
    return [int(row) for row in spread_evenly(len(export.frames), MAX_MOVING_FRAMES)]


def _moving_name(export: Export, row: int) -> str:
    return f"moving_{export.frames[row]:06d}"


def moving_clouds(export: Export) -> dict[int, PointCloud]:
    """Moving points by place in `export.frames`, at most `MAX_MOVING`; frames without any are left out."""
    rows = moving_rows(export)
    total = int(export.result.is_dynamic[rows].sum())
    stride = max(1, int(np.ceil((total / MAX_MOVING) ** 0.5)))
    clouds = {row: moving_cloud(export.result, row, pixel_stride=stride) for row in rows}
    return {row: cloud for row, cloud in clouds.items() if cloud.num_points > 0}


def add_gltf_cameras(tree: dict[str, Any], export: Export) -> None:
    """Give every node `camera_NNNNNN` a child with a glTF camera, which trimesh writes for one camera alone."""
    far = float(FAR * median_depth(export.result))
    nodes = {node.get("name"): node for node in tree["nodes"]}
    tree["cameras"] = []
    for row, frame in enumerate(export.frames):
        lens = {"type": "perspective", "perspective": _perspective(export, row, far)}
        nodes[f"camera_{frame:06d}"].setdefault("children", []).append(len(tree["nodes"]))
        tree["nodes"].append({"name": f"lens_{frame:06d}", "camera": len(tree["cameras"])})
        tree["cameras"].append(lens)


def _perspective(export: Export, row: int, far: float) -> dict[str, float]:
    """A glTF camera with the field of view of a frame; its principal point is the centre of the image."""
    down, aspect = field_of_view(export.size, export.intrinsics[row])
    return {
        "yfov": down,
        "aspectRatio": aspect,
        "znear": far * 1e-5,
        "zfar": far,
    }


def _add_cameras(scene: Any, export: Export) -> None:
    for row, frame in enumerate(export.frames):
        name = "frustum" if export.shares_intrinsics else f"frustum_{frame:06d}"
        if export.draws_cameras and name not in scene.geometry:
            scene.geometry[name] = _lines(_frustum(export, row), EDGES)
        fx, fy, cx, cy = export.intrinsics[row].tolist()
        scene.graph.update(
            frame_to=f"camera_{frame:06d}",
            matrix=gltf_pose(export.result.world_from_cam[row]),
            geometry=name if export.draws_cameras else None,
            metadata={
                "fx": fx,
                "fy": fy,
                "cx": cx,
                "cy": cy,
                "width": export.size[0],
                "height": export.size[1],
                "timestamp_s": float(export.result.timestamps_s[row]),
                "source": export.result.sources[row],
            },
        )


def _frustum(export: Export, row: int) -> Float64[np.ndarray, "5 3"]:
    """Centre and image corners in glTF's camera axes, the image plane at `SIZE` of the scene's depth."""
    width, height = export.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    in_cam = rays_array(corners, export.intrinsics[row]) * (SIZE * median_depth(export.result))
    return np.concatenate((np.zeros((1, 3)), in_cam)) @ GL_FROM_CV[:3, :3]


def _lines(
    points: Float64[np.ndarray, "points 3"],
    edges: tuple[tuple[int, int], ...],
    color: tuple[int, ...] = CAMERA_RGBA,
) -> Any:
    trimesh = import_trimesh()
    entities = [trimesh.path.entities.Line(edge, color=color) for edge in edges]
    return trimesh.path.Path3D(entities=entities, vertices=points, process=False)


def _add_points(scene: Any, name: str, cloud: PointCloud) -> None:
    """Add a cloud as a node; a cloud without points is left out, which glTF cannot hold."""
    if cloud.num_points == 0:
        return
    points: Float32[np.ndarray, "points 3"] = cloud.points * np.array([1, -1, -1], np.float32)
    opaque = np.full((cloud.num_points, 1), 255, np.uint8)
    colors = np.concatenate((linear_colors(cloud.colors), opaque), axis=1)
    geometry = import_trimesh().PointCloud(points, colors=colors)
    scene.add_geometry(geometry, node_name=name, geom_name=name)


def _add_trails(scene: Any, export: Export) -> None:
    """The ways of moving followed points over all frames, one node `trails_ID` for each object; without tracks none."""
    last, tracks = len(export.frames) - 1, export.result.tracks
    if tracks is None or last < 1:
        return
    ids = tracks.object_id
    for k in np.unique(ids[ids != 0]).tolist():
        own = np.flatnonzero(ids == k)
        own = own[spread_evenly(len(own), MAX_TRAILS)]
        ends = np.stack((tracks.world[:-1, own], tracks.world[1:, own]), axis=2)
        seen = tracks.is_visible[:-1, own] & tracks.is_visible[1:, own]
        lines = ends[seen & np.isfinite(ends).all((2, 3))]
        if not len(lines):
            continue
        points = lines.reshape(-1, 3).astype(np.float64) @ GL_FROM_CV[:3, :3]
        edges = tuple((2 * at, 2 * at + 1) for at in range(len(lines)))
        color = (*trail_colors(export.result)[own[0]].tolist(), 255)
        scene.add_geometry(
            _lines(points, edges, color), node_name=f"trails_{k}", geom_name=f"trails_{k}"
        )


def _description(export: Export) -> dict[str, object]:
    return {
        "scale": "metres" if export.result.is_metric else "relative",
        "axes": "glTF: +Y up; recon4d's world turned by half a turn about X: (x, y, z) -> (x, -y, -z)",
        "pixels": "fx, fy, cx, cy of the cameras' extras: centre of the first pixel at (0.5, 0.5)",
    }


def make() -> Exporter:
    """One glTF file, for `recon4d export`."""
    return Exporter(export_glb, is_sparse=True, has_lines=True, file=FILE)
