"""Exports for COLMAP, nerfstudio and glTF programs, read back by pycolmap, by the format's rules, and by trimesh."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from jaxtyping import Float64
from scipy.spatial import cKDTree

from recon4d import cli
from recon4d.io.pictures.files import read_image, read_rgb
from recon4d.results.folder import read_result, write_result
from recon4d.results.result import Result
from tests import needs
from tests.ply import read_ply
from tests.results import FRAMES, SIZE, exact_result, listing, with_unposed
from tests.synthetic import make_scene

EXACT = 1e-9
"""Poses and intrinsics go through files with every digit of a double."""
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def exact() -> Result:
    return exact_result(make_scene(FRAMES, SIZE, seed=9, mover=True))


def written(result: Result, folder: Path) -> Path:
    write_result(result, folder)
    return folder


@pytest.fixture
def result(exact: Result, tmp_path: Path) -> Path:
    return written(exact, tmp_path / "result")


def exported(result: Path, to: str, *words: str) -> Path:
    assert cli.main(["export", str(result), "--to", to, *words]) == 0
    return result / "export" / to


def read_colmap(folder: Path) -> Any:
    pycolmap = needs.package("pycolmap", "dev")
    return pycolmap.Reconstruction(str(folder / "sparse/0"))


def centres(result: Result) -> Float64[np.ndarray, "frames 3"]:
    return result.world_from_cam[:, :3, 3]


def test_pycolmap_reads_the_same_cameras(result: Path) -> None:
    model = read_colmap(exported(result, "colmap"))
    wanted = read_result(result)
    assert model.is_valid() and len(model.cameras) == 1 and len(model.images) == FRAMES
    for image in model.images.values():
        frame = int(image.name.removesuffix(".jpg"))
        camera = model.cameras[image.camera_id]
        assert camera.model.name == "PINHOLE" and (camera.width, camera.height) == SIZE
        assert np.abs(camera.params - wanted.intrinsics[frame]).max() < EXACT
        assert np.abs(image.projection_center() - centres(wanted)[frame]).max() < EXACT
        turn = image.cam_from_world().rotation
        assert np.abs(turn.matrix() - wanted.world_from_cam[frame, :3, :3].T).max() < EXACT
        assert turn.quat[3] >= 0 and abs(np.linalg.norm(turn.quat) - 1) < EXACT


def test_a_colmap_project_has_images_masks_and_depth(result: Path) -> None:
    folder = exported(result, "colmap")
    wanted = read_result(result)
    for frame in range(FRAMES):
        name = f"{frame:06d}"
        stored = (result / f"images/{name}.jpg").read_bytes()
        assert (folder / f"images/{name}.jpg").read_bytes() == stored
        mask = read_image(folder / f"masks/{name}.jpg.png", cv2.IMREAD_UNCHANGED)
        assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
        assert ((mask == 0) == wanted.is_dynamic[frame]).all()
        assert (np.load(folder / f"depth/{name}.npy") == wanted.depth[frame]).all()


def test_points_seen_by_pycolmaps_cameras_have_the_pictures_colours_and_depth(result: Path) -> None:
    folder = exported(result, "colmap")
    model, wanted = read_colmap(folder), read_result(result)
    assert model.num_points3D() > 2000
    for image in model.images.values():
        frame, camera = int(image.name.removesuffix(".jpg")), model.cameras[image.camera_id]
        points = [model.points3D[p.point3D_id] for p in image.points2D if p.has_point3D()]
        assert len(points) > 500
        in_cam = np.stack([image.cam_from_world() * point.xyz for point in points])
        places = np.stack([camera.img_from_cam(place) for place in in_cam])
        assert np.abs(places - np.stack([p.xy for p in image.points2D])).max() < 1e-6
        col, row = np.floor(places).astype(int).T
        assert not wanted.is_dynamic[frame][row, col].any()
        depth = wanted.depth[frame][row, col]
        assert np.median(np.abs(in_cam[:, 2] / depth - 1)) < 0.003
        colors = np.stack([point.color for point in points]).astype(float)
        assert np.abs(colors - wanted.images[frame][row, col]).mean() < 20  # voxels blur


def test_every_point_is_seen_by_some_frames_and_every_frame_sees_some(result: Path) -> None:
    model = read_colmap(exported(result, "colmap"))
    lengths = [point.track.length() for point in model.points3D.values()]
    assert min(lengths) >= 2 and max(lengths) <= 10
    assert min(image.num_points3D for image in model.images.values()) > 500


def test_long_tracks_are_cut_to_frames_all_over_the_video(exact: Result) -> None:
    from recon4d.export.tracks import MAX_TRACK, find_tracks

    per_frame_names = (
        *("world_from_cam", "intrinsics", "timestamps_s"),
        *("images", "depth", "confidence", "is_dynamic"),
    )
    repeated: dict[str, Any] = {
        name: np.repeat(getattr(exact, name)[:1], 40, axis=0) for name in per_frame_names
    }
    still = dataclasses.replace(exact, **repeated)
    rays = np.random.default_rng(0).uniform((0, 0), SIZE, (500, 2))
    col, row = np.floor(rays).astype(int).T
    fx, fy, cx, cy = exact.intrinsics[0]
    z = exact.depth[0][row, col].astype(float)
    in_cam = np.stack(((rays[:, 0] - cx) / fx * z, (rays[:, 1] - cy) / fy * z, z), axis=1)
    pose = exact.world_from_cam[0]
    tracks = find_tracks(still, in_cam @ pose[:3, :3].T + pose[:3, 3])
    seen = np.bincount(tracks.point, minlength=500)
    assert set(np.unique(seen)) == {0, MAX_TRACK}  # 0: on what moves
    per_frame = np.bincount(tracks.frame, minlength=40)
    assert per_frame.min() > 0.5 * per_frame.mean()
    spans = [np.ptp(tracks.frame[tracks.point == point]) for point in np.flatnonzero(seen)]
    assert min(spans) >= 30


def test_intrinsics_that_differ_are_one_camera_per_frame(exact: Result, tmp_path: Path) -> None:
    factors = np.linspace(1, 1.1, FRAMES)[:, None]
    differing = dataclasses.replace(exact, intrinsics=exact.intrinsics * factors)
    result = written(differing, tmp_path / "result")
    wanted = read_result(result).intrinsics
    model = read_colmap(exported(result, "colmap"))
    assert len(model.cameras) == FRAMES
    for image in model.images.values():
        frame = int(image.name.removesuffix(".jpg"))
        assert np.abs(model.cameras[image.camera_id].params - wanted[frame]).max() < EXACT
    transforms = json.loads((exported(result, "nerfstudio") / "transforms.json").read_text())
    assert "fl_x" not in transforms
    found = [[f[key] for key in ("fl_x", "fl_y", "cx", "cy")] for f in transforms["frames"]]
    assert np.abs(np.array(found) - wanted).max() < EXACT
    trimesh = needs.package("trimesh", "glb")
    scene = trimesh.load(exported(result, "glb") / "scene.glb")
    assert {f"frustum_{frame:06d}" for frame in range(FRAMES)} <= set(scene.geometry)


def test_nerfstudios_transforms_give_the_same_cameras_and_files(result: Path) -> None:
    folder = exported(result, "nerfstudio")
    wanted = read_result(result)
    transforms = json.loads((folder / "transforms.json").read_text())
    assert (transforms["w"], transforms["h"]) == SIZE
    assert transforms["camera_model"] == "OPENCV" and transforms["k1"] == 0
    found = [transforms[key] for key in ("fl_x", "fl_y", "cx", "cy")]
    assert np.abs(np.array(found) - wanted.intrinsics[0]).max() < EXACT
    assert transforms["applied_transform"] == np.eye(4)[:3].tolist()
    assert len(transforms["frames"]) == FRAMES
    for frame, entry in enumerate(transforms["frames"]):
        pose = np.array(entry["transform_matrix"])
        assert np.abs(pose[:3, 3] - centres(wanted)[frame]).max() < EXACT
        assert np.abs(pose @ FLIP - wanted.world_from_cam[frame]).max() < EXACT
        assert read_rgb(folder / entry["file_path"]).shape[1::-1] == SIZE
        mask = read_image(folder / entry["mask_path"], cv2.IMREAD_UNCHANGED)
        assert ((mask == 255) == ~wanted.is_dynamic[frame]).all()
        depth = np.load(folder / entry["depth_file_path"]) * 0.001  # depth_unit_scale_factor
        assert np.allclose(depth, wanted.depth[frame], rtol=1e-6)
    times = [entry["time"] for entry in transforms["frames"]]
    assert times[0] == 0 and times[-1] == 1 and times == sorted(times)


def test_a_nerfstudio_camera_sees_the_points_where_the_picture_has_them(result: Path) -> None:
    """The rules of nerfstudio: a ray goes through (column + 0.5, row + 0.5), along (x, -y, -1) in OpenGL's axes."""
    folder = exported(result, "nerfstudio")
    transforms = json.loads((folder / "transforms.json").read_text())
    points, _ = read_ply(folder / transforms["ply_file_path"])
    tree = cKDTree(points)
    entry = transforms["frames"][3]
    pose = np.array(entry["transform_matrix"])
    depth = np.load(folder / entry["depth_file_path"]) * 0.001
    mask = read_image(folder / entry["mask_path"], cv2.IMREAD_UNCHANGED) > 0
    row, col = np.nonzero(mask & (np.arange(SIZE[0]) > SIZE[0] // 3))
    x = (col + 0.5 - transforms["cx"]) / transforms["fl_x"]
    y = (row + 0.5 - transforms["cy"]) / transforms["fl_y"]
    rays = np.stack((x, -y, -np.ones_like(x)), axis=1) * depth[row, col][:, None]
    distance = np.asarray(tree.query(rays @ pose[:3, :3].T + pose[:3, 3])[0])
    assert np.median(distance) < 0.015  # voxels of 1.3 pixels, 2 cm each


def test_trimesh_reads_the_cameras_and_points_of_a_glb(result: Path) -> None:
    trimesh = needs.package("trimesh", "glb")
    scene = trimesh.load(exported(result, "glb") / "scene.glb")
    wanted = read_result(result)
    parents = scene.graph.transforms.parents
    for frame in range(FRAMES):
        name = f"camera_{frame:06d}"
        matrix, geometry = scene.graph.get(name)
        assert np.abs(FLIP @ matrix @ FLIP - wanted.world_from_cam[frame]).max() < EXACT
        extras = scene.graph.transforms.edge_data[(parents[name], name)]["metadata"]
        found = [extras[key] for key in ("fx", "fy", "cx", "cy")]
        assert np.abs(np.array(found) - wanted.intrinsics[frame]).max() < EXACT
        assert (extras["width"], extras["height"]) == SIZE
        fx, fy, cx, cy = wanted.intrinsics[frame]
        corners = np.asarray(scene.geometry[geometry].vertices) * (1, -1, -1)
        corners = corners[corners[:, 2] > 0]
        places = corners[:, :2] / corners[:, 2:] * (fx, fy) + (cx, cy)
        assert np.abs(places / SIZE - np.rint(places / SIZE)).max() < 1e-6
    static = np.asarray(scene.geometry["static"].vertices)
    assert len(static) > 3000 and static[:, 2].max() < 0  # glTF's first camera looks along -z


def test_a_glbs_points_lie_on_the_surfaces_and_have_their_colours(result: Path) -> None:
    trimesh = needs.package("trimesh", "glb")
    scene = trimesh.load(exported(result, "glb") / "scene.glb")
    wanted = read_result(result)
    frame = 2
    matrix, _ = scene.graph.get(f"camera_{frame:06d}")
    moving = scene.geometry[f"moving_{frame:06d}"]
    in_cam = (np.asarray(moving.vertices) - matrix[:3, 3]) @ matrix[:3, :3] * (1, -1, -1)
    fx, fy, cx, cy = wanted.intrinsics[frame]
    places = in_cam[:, :2] / in_cam[:, 2:] * (fx, fy) + (cx, cy)
    col, row = np.floor(places).astype(int).T
    assert wanted.is_dynamic[frame][row, col].all()
    assert np.allclose(wanted.depth[frame][row, col], in_cam[:, 2], rtol=1e-5)
    light = np.asarray(moving.colors)[:, :3] / 255
    shown = np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(255 * shown - wanted.images[frame][row, col]).max() < 7.5  # 8 bits of light


def test_a_glb_has_real_cameras_for_programs_that_look_through_them(result: Path) -> None:
    data = (exported(result, "glb") / "scene.glb").read_bytes()
    tree = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    lenses = [node for node in tree["nodes"] if "camera" in node]
    assert len(tree["cameras"]) == len(lenses) == FRAMES
    lens = tree["cameras"][0]["perspective"]
    _, fy, _, _ = read_result(result).intrinsics[0]
    assert np.isclose(np.tan(lens["yfov"] / 2), SIZE[1] / 2 / fy)


def test_the_moving_points_of_many_frames_keep_a_glb_small(
    exact: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimesh = needs.package("trimesh", "glb")
    monkeypatch.setattr("recon4d.export.glb.MAX_MOVING", 1000)
    monkeypatch.setattr("recon4d.export.glb.MAX_MOVING_FRAMES", 4)
    scene = trimesh.load(exported(written(exact, tmp_path / "r"), "glb") / "scene.glb")
    moving = [name for name in scene.geometry if name.startswith("moving")]
    assert 2 <= len(moving) <= 4
    assert sum(len(scene.geometry[name].vertices) for name in moving) <= 1000


def test_frames_without_a_measured_pose_are_left_out_and_named(
    exact: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = written(with_unposed(exact, [2, 5]), tmp_path / "result")
    left = [frame for frame in range(FRAMES) if frame not in (2, 5)]
    model = read_colmap(exported(result, "colmap"))
    said = capsys.readouterr().err
    assert f"2 of {FRAMES} frames have no measured pose" in said and "2 (" in said and "5 (" in said
    assert sorted(image.name for image in model.images.values()) == [f"{f:06d}.jpg" for f in left]
    wanted = read_result(result)
    for image in model.images.values():
        frame = int(image.name.removesuffix(".jpg"))
        assert np.abs(image.projection_center() - centres(wanted)[frame]).max() < EXACT
    files = sorted(path.name for path in (result / "export/colmap/images").iterdir())
    assert files == [f"{frame:06d}.jpg" for frame in left]
    transforms = json.loads((exported(result, "nerfstudio") / "transforms.json").read_text())
    assert [f["file_path"] for f in transforms["frames"]] == [f"images/{f:06d}.jpg" for f in left]
    about = json.loads((result / "export/nerfstudio/recon4d_export.json").read_text())
    assert list(about["left_out"]) == ["2", "5"]


@pytest.mark.parametrize("to", ["ply", "overlay"])
def test_a_format_that_keeps_frames_without_a_measured_pose_names_them_where_it_has_points(
    to: str, exact: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = written(with_unposed(exact, [2, 5]), tmp_path / "result")
    folder = exported(result, to)
    said = capsys.readouterr().err
    sentence = f"2 of {FRAMES} frames have no measured pose and are placed by guess"
    assert (sentence in said) == (to == "ply")
    assert list(json.loads((folder / "recon4d_export.json").read_text())["left_out"]) == []


@pytest.mark.parametrize("to", ["colmap", "ply"])
def test_depth_that_was_not_measured_is_said(
    to: str, exact: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = {"code": "no_parallax", "message": "", "frames": []}
    turning = dataclasses.replace(exact, run={**exact.run, "warnings": [warning]})
    exported(written(turning, tmp_path / "result"), to)
    assert "does not translate" in capsys.readouterr().err


def test_a_result_without_any_depth_gives_cameras_and_says_that_points_are_missing(
    exact: Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trimesh = needs.package("trimesh", "glb")
    unknown = dataclasses.replace(exact, depth=np.zeros_like(exact.depth))
    result = written(unknown, tmp_path / "result")
    model = read_colmap(exported(result, "colmap"))
    assert len(model.images) == FRAMES and model.num_points3D() == 0
    assert "points3D.bin is empty" in capsys.readouterr().err
    exported(result, "nerfstudio")
    scene = trimesh.load(exported(result, "glb") / "scene.glb")
    assert "camera_000001" in scene.graph.nodes and "static" not in scene.geometry


def test_a_missing_trimesh_is_named_with_its_command(
    result: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "trimesh", None)
    assert cli.main(["export", str(result), "--to", "glb"]) == 2
    said = capsys.readouterr().err
    assert 'pip install "recon4d[glb]"' in said and said.count("\n") == 1
    assert not (result / "export").exists()


def test_a_glb_can_be_given_its_file_name(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs.package("trimesh", "glb")
    file = tmp_path / "world.glb"
    words = ["export", str(result), "--to", "glb", "--out", str(file)]
    assert cli.main(words) == 0
    assert file.read_bytes()[:4] == b"glTF"
    assert cli.main(words) == 2
    assert "world.glb exists and is never overwritten" in capsys.readouterr().err


def test_what_is_not_an_export_is_never_replaced(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = listing(result)
    (tmp_path / "file").write_text("mine")
    for out, said in (
        (result, "not an export of recon4d"),
        (tmp_path / "file", "is a file, a folder was needed"),
        (tmp_path / "file" / "below", "is a file, a folder was needed"),
    ):
        assert cli.main(["export", str(result), "--to", "colmap", "--out", str(out)]) == 2
        assert said in capsys.readouterr().err
    assert listing(result) == before and (tmp_path / "file").read_text() == "mine"


def test_an_earlier_export_is_replaced_as_a_whole(result: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["export", str(result), "--out", str(out), "--to"]
    assert cli.main([*words, "colmap"]) == 0 and (out / "sparse/0").is_dir()
    assert cli.main([*words, "nerfstudio"]) == 0
    assert (out / "transforms.json").is_file() and not (out / "sparse").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "result"]


def test_a_failed_export_leaves_the_earlier_one(
    result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported(result, "colmap")
    before = listing(folder)

    def fail(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("recon4d.export.colmap.points_bin", fail)
    assert cli.main(["export", str(result), "--to", "colmap"]) == 130
    assert listing(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["colmap"]


@pytest.mark.slow
def test_exports_of_an_exact_crowd_run_read_back(shared_data: Path, tmp_path: Path) -> None:
    trimesh = needs.package("trimesh", "glb")
    result = tmp_path / "result"
    words = ["--masks", "residual", "--max-frames", "8", "--size", "256", "--loop", "0"]
    source = str(shared_data / "exact_crowd")
    assert cli.main(["run", source, *words, "--out", str(result)]) == 0
    wanted = read_result(result)
    for size, factor in (("working", 1.0), ("original", 2.5)):
        model = read_colmap(exported(result, "colmap", "--depth-size", size))
        assert len(model.images) == 8 and model.num_points3D() > 1000
        for image in model.images.values():
            frame = int(image.name.removesuffix(".jpg"))
            camera = model.cameras[image.camera_id]
            assert np.abs(image.projection_center() - centres(wanted)[frame]).max() < 1e-6
            assert np.abs(camera.params - factor * wanted.intrinsics[frame]).max() < 1e-6
        folder = exported(result, "nerfstudio", "--depth-size", size)
        transforms = json.loads((folder / "transforms.json").read_text())
        found = [transforms[key] for key in ("fl_x", "fl_y", "cx", "cy")]
        assert np.abs(np.array(found) - factor * wanted.intrinsics[0]).max() < 1e-6
        for frame, entry in enumerate(transforms["frames"]):
            pose = np.array(entry["transform_matrix"])
            assert np.abs(pose[:3, 3] - centres(wanted)[frame]).max() < 1e-6
            shape = (transforms["h"], transforms["w"])
            assert read_rgb(folder / entry["file_path"]).shape[:2] == shape
            assert read_image(folder / entry["mask_path"], -1).shape == shape
    scene = trimesh.load(exported(result, "glb") / "scene.glb")
    for frame in range(8):
        matrix, _ = scene.graph.get(f"camera_{frame:06d}")
        assert np.abs(matrix[:3, 3] * (1, -1, -1) - centres(wanted)[frame]).max() < 1e-6
