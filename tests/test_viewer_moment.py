"""One moment at a time: which frame the viewers show, the whole path in the picture, and who may open the page."""

import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon4d import cli
from recon4d.io.pictures.files import read_rgb
from recon4d.results.cloud import join, moving_cloud, static_cloud
from recon4d.results.folder import write_result
from recon4d.results.reconstruction import Reconstruction
from recon4d.viewer import Address, render_png
from recon4d.viewer.headless import MARGIN, draw, path_view
from recon4d.viewer.moment import behind_camera, describe_frame
from recon4d.viewer.page import Page
from recon4d.viewer.screen_text import before_eye, text_rows
from recon4d.viewer.web import serve
from tests import needs
from tests.results import FRAMES, exact_result
from tests.results import SIZE as PICTURE_SIZE
from tests.synthetic import make_scene


@pytest.fixture(scope="module")
def exact() -> Reconstruction:
    return exact_result(make_scene(FRAMES, PICTURE_SIZE, seed=9, mover=True))


@pytest.fixture(scope="module")
def folder(exact: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("moment") / "result"
    write_result(exact, out)
    return out


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What a refused command says, which is one sentence."""
    assert cli.main(list(argv)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_picture_shows_the_frame_that_was_asked_for(
    exact: Reconstruction, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, middle, default = (tmp_path / name for name in ("0.png", "4.png", "default.png"))
    assert cli.main(["view", str(folder), "--png", str(first), "--frame", "0"]) == 0
    assert "shown is" not in capsys.readouterr().err
    assert cli.main(["view", str(folder), "--png", str(middle), "--frame", "4"]) == 0
    assert cli.main(["view", str(folder), "--png", str(default)]) == 0
    said = capsys.readouterr().err
    assert f"shown is {describe_frame(exact, FRAMES // 2)}; --frame N shows another one" in said
    np.testing.assert_array_equal(read_rgb(middle), read_rgb(default))
    assert (read_rgb(first) != read_rgb(middle)).any()


def test_a_picture_has_the_moving_points_of_one_frame_alone(exact: Reconstruction) -> None:
    drawn: list[int] = []

    def count(cloud: Any, view: Any, focal: float, size: tuple[int, int]) -> np.ndarray:
        drawn.append(cloud.num_points)
        return np.zeros((size[1], size[0], 3), np.uint8)

    draw(exact, 3, draw_points=count)
    assert drawn == [static_cloud(exact).num_points + moving_cloud(exact, 3).num_points]


@pytest.mark.parametrize("way", [["--web"], ["--png", "picture.png"]])
@pytest.mark.parametrize("frame", [FRAMES, 10**9])
def test_a_frame_that_is_not_there_is_refused(
    folder: Path, way: list[str], frame: int, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "view", str(folder), *way, "--frame", str(frame))
    assert f"--frame {frame} is not in the result, whose frames are 0 to {FRAMES - 1}" in said
    assert not Path("picture.png").exists()


@pytest.mark.parametrize("step", [(0.0, 0.0, 5.0), (3.0, 0.0, 0.0), (0.0, -2.0, -4.0)])
def test_the_whole_path_is_in_the_picture(
    exact: Reconstruction, step: tuple[float, float, float]
) -> None:
    poses = exact.world_from_cam.copy()
    poses[:, :3, 3] += np.arange(FRAMES)[:, None] * np.array(step)
    result = dataclasses.replace(exact, world_from_cam=poses)
    cloud = join([static_cloud(result), moving_cloud(result, 0)])
    view, reach = path_view(result, cloud, (0.5, 0.4)), np.array((0.5, 0.4))
    seen = poses[:, :3, 3] @ view[:3, :3].T + view[:3, 3]
    assert (seen[:, 2] > 0).all()
    assert (np.abs(seen[:, :2] / seen[:, 2:]) <= MARGIN * reach).all()


# The page


@pytest.fixture
def page(folder: Path) -> Iterator[Page]:
    needs.package("viser", "view")
    page = serve(folder, Address(port=0), frame=2)
    yield page
    page.stop()


def test_lines_of_the_page_are_thin_on_the_screen(page: Page) -> None:
    for lines in (page._camera_lines, page._path, page._ellipsoid_lines, page._current):
        assert lines.thickness_units == "screen" and lines.thickness <= 2.5


def test_the_page_shows_number_time_image_and_movers_of_the_frame(
    page: Page, exact: Reconstruction, folder: Path
) -> None:
    assert page._told.content == f"**{describe_frame(exact, 2)}**"
    np.testing.assert_allclose(page._movers.points, moving_cloud(exact, 2).points, rtol=1e-6)
    page._frame.value = 5
    page._show_frame(None)
    assert page._told.content == f"**{describe_frame(exact, 5)}**"
    np.testing.assert_allclose(page._movers.points, moving_cloud(exact, 5).points, rtol=1e-6)
    np.testing.assert_array_equal(page._image.image, read_rgb(folder / "images/000005.jpg"))
    np.testing.assert_allclose(page._current.position, exact.world_from_cam[5, :3, 3])


def test_cameras_of_the_page_can_be_hidden(page: Page) -> None:
    page._cameras.value = False
    page._show_cameras(None)
    page._frame.value = 3
    page._show_frame(None)
    assert not any(drawn.visible for drawn in (page._camera_lines, page._path, page._current))


def test_the_view_follows_the_camera_if_asked(
    page: Page, exact: Reconstruction, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FakeClient()
    monkeypatch.setattr(page._server, "get_clients", lambda: {0: client})
    page._frame.value = 3
    page._show_frame(None)
    assert client.camera.position is None
    page._follows.value = True
    page._follow(None)
    place, target = behind_camera(exact, 3)
    assert np.abs(client.camera.position - place).max() < 1e-6
    assert np.abs(client.camera.look_at - target).max() < 1e-6


class FakeCamera:
    position: Any = None
    look_at: Any = None
    up_direction: Any = None


class FakeClient:
    """A browser that only remembers where it looks from."""

    def __init__(self) -> None:
        self.camera = FakeCamera()

    def atomic(self) -> "FakeClient":
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def listening(port: int) -> set[str]:
    """Local addresses at which this machine listens on a port."""
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    places = [row[1].rpartition(":") for row in rows if row[3] == "0A"]
    return {address for address, _, hexadecimal in places if int(hexadecimal, 16) == port}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens")
def test_the_page_is_for_this_machine_alone(page: Page, folder: Path) -> None:
    assert listening(page.port) == {"0100007F"}
    everybody = serve(folder, Address("0.0.0.0", 0))
    try:
        assert listening(everybody.port) == {"00000000"}
    finally:
        everybody.stop()


def test_a_port_in_use_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs.package("viser", "view")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refused(capsys, "view", str(folder), "--web", "--port", str(port))
    assert f"port {port} of 127.0.0.1 cannot be used (Address already in use)" in said


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--web", "--port", "70000"], "--port must be from 0 (any free one) to 65535"),
        (["--web", "--port", "-1"], "--port must be a whole number of at least 0"),
        (["--web", "--host", "203.0.113.7"], "--host 203.0.113.7 cannot be listened on"),
        (["--web", "--host", "a" * 70], "is not known"),
        (["--web", "--host", ""], "--host is empty"),
        (["--port", "8090"], "--port is the address of the page of --web"),
        (["--host", "127.0.0.1", "--png", "p.png"], "--host is the address of the page of --web"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(
    folder: Path, words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needs.package("viser", "view")
    assert part in refused(capsys, "view", str(folder), *words)


def test_the_address_that_is_told_is_the_one_that_is_served() -> None:
    assert Address().invitation(8080).startswith("open http://127.0.0.1:8080 in a browser")
    assert Address("::1").invitation(1).startswith("open http://[::1]:1 ")
    assert "everybody in the network" in Address("0.0.0.0").invitation(8080)


# The window


def test_text_of_the_window_is_seen_at_its_pixels() -> None:
    rows = text_rows("frame 3")
    assert len(text_rows("frame 38")) > len(rows)
    pixels = np.array([[700.0, 0, 640], [0, 710, 400], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    pose[:3, 3] = 0.3, -0.2, 0.5
    ends = before_eye(rows, pixels, pose, 0.02).reshape(-1, 3)
    in_cam = ends @ pose[:3, :3].T + pose[:3, 3]
    seen = (in_cam / in_cam[:, 2:]) @ pixels.T
    np.testing.assert_allclose(seen[:, :2], rows.reshape(-1, 2), atol=1e-9)
    np.testing.assert_allclose(in_cam[:, 2], 0.02)


def test_a_frame_can_be_given_to_python_too(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert render_png(folder, tmp_path / "p.png", said.append, frame=1).is_file()
    assert [line.split()[0] for line in said] == ["points"]
