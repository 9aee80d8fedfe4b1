"""Followed points in viewers and exports, and in what is said of a result."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from recon4d import cli
from recon4d.results.folder import write_result
from recon4d.results.motion import MovingObject, Objects, Tracks
from recon4d.results.palette import PALETTE
from recon4d.results.reconstruction import Reconstruction
from recon4d.results.trails import trail_lines
from recon4d.viewer.headless import draw
from tests.ply import read_ply
from tests.results import FRAMES, SIZE, exact_result
from tests.synthetic import make_scene


@pytest.fixture(scope="module")
def followed() -> Reconstruction:
    """An exact result with a static point, and one of object 7 that goes to the right by 5 cm per frame."""
    result = exact_result(make_scene(FRAMES, SIZE, seed=9, mover=True))
    world = np.zeros((FRAMES, 2, 3), np.float32)
    world[:] = (0.0, 0.0, 1.0)
    world[:, 1, 0] = 0.05 * np.arange(FRAMES)
    seen = np.ones((FRAMES, 2), bool)
    seen[0] = False
    tracks = Tracks(
        uv=np.full((FRAMES, 2, 2), 20.0, np.float32),
        is_visible=seen,
        sigma_px=np.full((FRAMES, 2), 0.5, np.float32),
        world=world,
        sigma=np.full((FRAMES, 2), np.inf, np.float32),
        start=np.array([1, 1], np.int32),
        object_id=np.array([0, 7], np.int32),
    )
    item = MovingObject(
        7, (0,), ((1.0, 2.0, 3.0),), (None,), ((0.0, 0.0, 0.0, 2.0, 4.0, 6.0),), 1.5, 0.5, True
    )
    ids = np.zeros(result.depth.shape, np.uint8)
    return dataclasses.replace(result, tracks=tracks, objects=Objects(ids, (item,)))


@pytest.fixture
def folder(followed: Reconstruction, tmp_path: Path) -> Path:
    write_result(followed, tmp_path / "result")
    return tmp_path / "result"


def test_trails_show_where_movers_came_from(followed: Reconstruction) -> None:
    lines, colors = trail_lines(followed, 5, length=3)
    assert lines.shape == (3, 2, 3)
    np.testing.assert_allclose(lines[:, 1, 0], [0.15, 0.2, 0.25], atol=1e-6)
    assert (colors == PALETTE[7]).all()
    assert not len(trail_lines(followed, 0)[0])
    assert not len(trail_lines(dataclasses.replace(followed, tracks=None), 5)[0])


def test_the_picture_has_trails(followed: Reconstruction) -> None:
    without = draw(dataclasses.replace(followed, tracks=None), 5)
    shown = draw(followed, 5)
    changed = (shown != without).any(-1)
    assert 0 < changed.sum() < 5000


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_tables_have_points_and_objects(folder: Path) -> None:
    assert cli.main(["export", str(folder), "--to", "tracks"]) == 0
    rows = table(folder / "export/tracks/tracks.csv")
    assert len(rows) == 2 * FRAMES
    row = rows[FRAMES + 2]
    assert (row["point"], row["frame"], row["object"], row["visible"]) == ("1", "2", "7", "1")
    assert float(row["u"]) == 19.5 and float(row["x"]) == pytest.approx(0.1) and row["sigma"] == ""
    (row,) = table(folder / "export/tracks/objects.csv")
    assert (row["object"], row["y"], row["z1"], row["sigma"]) == ("7", "2", "6", "")


def test_tables_of_nothing_are_refused(
    followed: Reconstruction, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(dataclasses.replace(followed, tracks=None, objects=None), tmp_path / "plain")
    assert cli.main(["export", str(tmp_path / "plain"), "--to", "tracks"]) == 2
    assert "recon4d track RESULT" in capsys.readouterr().err


def test_clouds_of_points_are_coloured_by_their_objects(folder: Path) -> None:
    assert cli.main(["export", str(folder), "--to", "ply"]) == 0
    points, colors = read_ply(folder / "export/ply/tracks/000003.ply")
    np.testing.assert_allclose(points[1], [0.15, 0, 1], atol=1e-6)
    assert (colors[1] == PALETTE[7]).all()
    assert not len(read_ply(folder / "export/ply/tracks/000000.ply")[0])


def test_ways_are_in_the_gltf_file(folder: Path) -> None:
    pytest.importorskip("trimesh", reason="needs pip install 'recon4d[glb]'")
    assert cli.main(["export", str(folder), "--to", "glb", "--out", str(folder / "a.glb")]) == 0
    data = (folder / "a.glb").read_bytes()
    tree = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    names = {node.get("name") for node in tree["nodes"]}
    assert "trails_7" in names and "trails_0" not in names


def test_info_says_what_moves(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(folder)]) == 0
    assert "motion:     1 object (1 rigid), 2 points followed" in capsys.readouterr().out
