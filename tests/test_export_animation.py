"""A GLB shows one moment at a time, at the times of the result."""

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon4d import cli
from recon4d.export.glb_animation import shown_one_by_one
from recon4d.results.folder import write_result
from recon4d.results.reconstruction import Reconstruction
from tests import needs
from tests.results import FRAMES, SIZE, exact_result
from tests.synthetic import make_scene

needs.package("trimesh", "glb")


@pytest.fixture(scope="module")
def exact() -> Reconstruction:
    """A result whose frames come at uneven times, and whose fourth one shows nothing that moves."""
    plain = exact_result(make_scene(FRAMES, SIZE, seed=4, mover=True))
    times = 3.0 + np.cumsum([0.0, 0.1, 0.1, 0.3, 0.1, 0.1, 0.2, 0.1])
    moving = plain.is_dynamic.copy()
    moving[3] = False
    return dataclasses.replace(plain, timestamps_s=times, is_dynamic=moving)


def exported(result: Reconstruction, folder: Path, *words: str) -> "Glb":
    write_result(result, folder)
    assert cli.main(["export", str(folder), "--to", "glb", *words]) == 0
    return Glb((folder / "export/glb/scene.glb").read_bytes())


class Glb:
    """A binary glTF file as a strict reader sees it."""

    def __init__(self, data: bytes) -> None:
        magic, version, size, length, kind = struct.unpack_from("<4sIIII", data)
        assert (magic, version, size, kind) == (b"glTF", 2, len(data), 0x4E4F534A)
        self.tree: dict[str, Any] = json.loads(data[20 : 20 + length])
        binary_size, kind = struct.unpack_from("<II", data, 20 + length)
        assert kind == 0x004E4942 and length % 4 == binary_size % 4 == 0
        self.binary = data[28 + length :]
        assert len(self.binary) == binary_size
        (buffer,) = self.tree["buffers"]
        assert binary_size - 3 <= buffer["byteLength"] <= binary_size

    def numbers(self, accessor: int) -> np.ndarray:
        about = self.tree["accessors"][accessor]
        view = self.tree["bufferViews"][about["bufferView"]]
        assert view["byteOffset"] % 4 == 0 and about["componentType"] == 5126
        width = {"SCALAR": 1, "VEC3": 3}[about["type"]]
        found = np.frombuffer(self.binary, "<f4", about["count"] * width, view["byteOffset"])
        return found.reshape(-1, width)

    def shown_at(self, time_s: float) -> list[str]:
        """Names of the animated nodes that a player shows."""
        (animation,) = self.tree["animations"]
        names = []
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            assert (sampler["interpolation"], channel["target"]["path"]) == ("STEP", "scale")
            keys = self.numbers(sampler["input"])[:, 0]
            scale = self.numbers(sampler["output"])[np.searchsorted(keys, time_s, "right") - 1]
            node = self.tree["nodes"][channel["target"]["node"]]
            assert "matrix" not in node
            if scale.all():
                names.append(node["name"])
            assert scale.all() or not scale.any()
        return names


def test_a_glb_shows_the_movers_of_one_frame_at_every_time(
    exact: Reconstruction, tmp_path: Path
) -> None:
    glb = exported(exact, tmp_path / "r")
    times = exact.timestamps_s - exact.timestamps_s[0]
    for frame, time_s in enumerate(times):
        wanted = [] if frame == 3 else [f"moving_{frame:06d}"]
        assert glb.shown_at(time_s + 0.001) == wanted
        assert glb.shown_at(time_s + 0.09) == wanted
    last = glb.numbers(glb.tree["animations"][0]["samplers"][0]["input"])[-1, 0]
    assert last == pytest.approx(times[-1] + 0.1)  # then it begins again
    assert glb.shown_at(last) == [f"moving_{FRAMES - 1:06d}"]


def test_a_program_that_plays_nothing_shows_the_first_moment(
    exact: Reconstruction, tmp_path: Path
) -> None:
    nodes = exported(exact, tmp_path / "r").tree["nodes"]
    scales = {n["name"]: n["scale"] for n in nodes if n["name"].startswith("moving")}
    assert len(scales) == FRAMES - 1
    assert [name for name, scale in scales.items() if any(scale)] == ["moving_000000"]


def test_a_world_where_nothing_moves_has_no_animation(
    exact: Reconstruction, tmp_path: Path
) -> None:
    still = dataclasses.replace(exact, is_dynamic=np.zeros_like(exact.is_dynamic))
    assert "animations" not in exported(still, tmp_path / "r").tree


def test_cameras_are_drawn_unless_they_are_not_wanted(
    exact: Reconstruction, tmp_path: Path
) -> None:
    drawn = exported(exact, tmp_path / "drawn").tree
    plain = exported(exact, tmp_path / "plain", "--cameras", "no").tree
    lines = [
        {p.get("mode") for mesh in tree["meshes"] for p in mesh["primitives"]}
        for tree in (drawn, plain)
    ]
    assert lines[0] > lines[1] == {0}  # points alone
    cameras = [n for n in plain["nodes"] if n.get("name", "").startswith("camera_0")]
    assert len(cameras) == len(plain["cameras"]) == FRAMES
    assert not any("mesh" in node for node in cameras)


def test_other_formats_draw_no_cameras(
    exact: Reconstruction, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(exact, tmp_path / "r")
    assert cli.main(["export", str(tmp_path / "r"), "--to", "ply", "--cameras", "no"]) == 2
    assert "--cameras no is for the lines that glb draws" in capsys.readouterr().err
    assert not (tmp_path / "r/export").exists()


def test_a_single_moment_stays_as_it_is() -> None:
    tree = json.dumps({"nodes": [{"name": "a"}]}).encode()
    tree += b" " * (-len(tree) % 4)
    data = struct.pack("<4sIIII", b"glTF", 2, 0, len(tree), 0) + tree + struct.pack("<II", 0, 0)
    assert shown_one_by_one(data, {0: "a"}, np.zeros(1)) == data
