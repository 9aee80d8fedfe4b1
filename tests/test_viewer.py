"""What the viewers show of a real video: a picture, a window on a screen, a page in a browser."""

import base64
import dataclasses
import json
import os
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon4d import cli
from recon4d.core.errors import ConfigError
from recon4d.io.pictures.files import read_rgb
from recon4d.results.cloud import join, median_depth, moving_cloud, static_cloud
from recon4d.results.colours import (
    MOVER_COLOR,
    UNKNOWN_COLOR,
    StdScale,
    missing_uncertainty,
    position_covariance,
    styled,
    viridis,
)
from recon4d.results.folder import write_result
from recon4d.results.frustums import (
    MAX_CAMERAS,
    SIZE,
    ellipsoid_legend,
    ellipsoid_lines,
    magnification,
)
from recon4d.results.reconstruction import Reconstruction
from recon4d.viewer import PLAIN, Address, Style, headless, render_png
from recon4d.viewer.desktop import Playback, explanation, title
from recon4d.viewer.levels import LEVELS, Levels
from recon4d.viewer.web import serve
from tests import needs
from tests.results import FRAMES, exact_result
from tests.results import SIZE as PICTURE_SIZE
from tests.synthetic import make_scene

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0
"""For a window or a page to appear on a busy machine without a graphics card."""


@pytest.fixture(scope="module")
def lady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of some frames of lady-running, small."""
    video = needs.shared("data/videos/lady-running.mp4")
    out = tmp_path_factory.mktemp("viewer") / "lady"
    options = ["--start", "1.5", "--max-frames", "14", "--size", "256", "--loop", "0"]
    options += ["--masks", "residual"]
    # In a process of its own, where nothing checks array shapes: three times as fast.
    command = recon4d("run", str(video), "--out", str(out), *options)
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    return out


def is_colorful(picture: np.ndarray) -> bool:
    """Whether an RGB picture shows coloured things of many shades: not a blank page, a grey window or its frame."""
    saturation = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1]
    levels = np.unique(picture.reshape(-1, 3) // 16, axis=0)
    return bool((saturation > 40).mean() > 0.02 and len(levels) > 60)


def wait_for(look: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """The first true value of `look`, within `PATIENCE_S`; the process must stay alive."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        assert process.poll() is None, process.stderr and process.stderr.read()
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing appeared within {PATIENCE_S:.0f} s")


@contextmanager
def running(argv: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        argv,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def recon4d(*argv: str) -> list[str]:
    return [sys.executable, "-m", "recon4d", *argv]


def test_png_shows_the_cloud(lady: Path, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    assert cli.main(["view", str(lady), "--png", str(file)]) == 0
    picture = read_rgb(file)
    assert picture.shape == (960, 1280, 3)
    assert is_colorful(picture)


def test_a_folder_that_is_no_result_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for way in ([], ["--web"], ["--png", str(tmp_path / "p.png")]):
        assert cli.main(["view", str(tmp_path), *way]) == 2
        assert "is not a result of recon4d" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# Uncertainty

MOVING_STD = 0.3


@pytest.fixture(scope="module")
def plain() -> Reconstruction:
    """A result that says nothing about its uncertainty."""
    return exact_result(make_scene(FRAMES, PICTURE_SIZE, seed=9, mover=True))


@pytest.fixture(scope="module")
def uncertain(plain: Reconstruction) -> Reconstruction:
    """The same with confidence that falls downwards, deviations that follow it, and covariances of the steps."""
    height = plain.depth.shape[1]
    rows = np.linspace(255, 64, height).astype(np.uint8)
    confidence = np.broadcast_to(rows[:, None], plain.confidence.shape).copy()
    sigma = np.array([0.002, 0.001, 0.003, 0.01, 0.02, 0.005])
    covariance = np.repeat(np.diag(sigma**2)[None], FRAMES, axis=0)
    covariance[0] = 0
    relative = np.where(plain.is_dynamic, MOVING_STD, np.geomspace(0.2, 0.002, 256)[confidence])
    return dataclasses.replace(
        plain,
        confidence=confidence,
        depth_std=(plain.depth * relative).astype(np.float16),
        pose_covariance=covariance,
    )


def with_std(result: Reconstruction, std: np.ndarray | float) -> Reconstruction:
    """The same with other standard deviations, as parts of the depth."""
    return dataclasses.replace(result, depth_std=(result.depth * std).astype(np.float16))


@pytest.fixture
def folder(uncertain: Reconstruction, tmp_path: Path) -> Path:
    write_result(uncertain, tmp_path / "uncertain")
    return tmp_path / "uncertain"


def scale_of(result: Reconstruction) -> StdScale:
    scale = StdScale.of(result)
    assert scale is not None
    return scale


def test_colours_follow_the_standard_deviation(uncertain: Reconstruction) -> None:
    scale, cloud = scale_of(uncertain), static_cloud(uncertain)
    std = cloud.relative_std
    wanted = np.geomspace(0.2, 0.002, 256)[cloud.confidence]
    np.testing.assert_allclose(std, wanted, rtol=1e-3)  # half precision
    shown = styled(cloud, Style("uncertainty"), scale)
    purple, yellow = viridis(np.array([0.0, 1.0]))
    np.testing.assert_array_equal(
        shown.colors[std <= scale.low], [purple] * (std <= scale.low).sum()
    )
    np.testing.assert_array_equal(
        shown.colors[std >= scale.high], [yellow] * (std >= scale.high).sum()
    )
    np.testing.assert_array_equal(shown.points, cloud.points)
    assert 0.001999 <= scale.low < scale.high <= 0.2001  # half precision


def test_points_of_unknown_deviation_are_grey(uncertain: Reconstruction) -> None:
    assert uncertain.depth_std is not None
    std = np.where(uncertain.is_dynamic, np.float16(np.inf), uncertain.depth_std)
    result = dataclasses.replace(uncertain, depth_std=std)
    mover = moving_cloud(result, 0)
    assert mover.num_points
    shown = styled(mover, Style("uncertainty"), scale_of(result))
    assert (shown.colors == UNKNOWN_COLOR).all()
    assert styled(mover, Style(max_std=10.0), scale_of(result)).num_points == 0


def test_moving_points_have_a_colour_that_is_none_of_the_scale(uncertain: Reconstruction) -> None:
    mover = moving_cloud(uncertain, 0)
    shown = styled(mover, Style("uncertainty"), scale_of(uncertain), moves=True)
    assert mover.num_points and (shown.colors == MOVER_COLOR).all()
    ramp = viridis(np.linspace(0, 1, 256)).astype(int)
    assert np.abs(ramp - MOVER_COLOR).sum(axis=1).min() > 100
    assert "red: moving" in scale_of(uncertain).legend
    assert styled(mover, PLAIN, scale_of(uncertain), moves=True) is mover
    pictures = [
        headless.draw(uncertain, 0, (320, 240), style) for style in (Style("uncertainty"), PLAIN)
    ]
    in_red, not_in_red = ((picture == MOVER_COLOR).all(axis=2).sum() for picture in pictures)
    assert in_red > 20 and not_in_red == 0


def test_a_scale_of_equal_deviations_has_two_ends(plain: Reconstruction) -> None:
    for std in (0.0, 0.01):
        scale = scale_of(with_std(plain, std))
        assert 0 < scale.low < scale.high
        assert np.isfinite(scale.share(np.array([0.0, std, np.inf]))).all()


def test_points_above_the_threshold_are_hidden(uncertain: Reconstruction) -> None:
    scale, cloud = scale_of(uncertain), static_cloud(uncertain)
    shown = styled(cloud, Style(max_std=0.01), scale)
    assert 0 < shown.num_points < cloud.num_points
    assert shown.relative_std.max() <= 0.01
    assert styled(cloud, PLAIN, scale) is cloud


@pytest.mark.parametrize("bad", [{"color": "depth"}, {"max_std": 0.0}, {"max_std": float("nan")}])
def test_a_style_that_cannot_be_shown_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Style(**bad)


def test_positions_add_up_the_steps_as_sampling_does(uncertain: Reconstruction) -> None:
    poses, covariance = uncertain.world_from_cam, uncertain.pose_covariance
    assert covariance is not None
    rng, count = np.random.default_rng(3), 4000
    pose = np.repeat(poses[:1], count, axis=0)
    for step, of_step in enumerate(covariance[1:]):
        twist = rng.multivariate_normal(np.zeros(6), of_step, count)
        error = np.repeat(np.eye(4)[None], count, axis=0)
        error[:, :3, :3] = Rotation.from_rotvec(twist[:, :3]).as_matrix()
        error[:, :3, 3] = twist[:, 3:]
        pose = pose @ np.linalg.inv(poses[step]) @ poses[step + 1] @ error
    sampled, stated = np.cov(pose[:, :3, 3].T), position_covariance(uncertain)[-1]
    # 4000 samples tell a variance to sqrt(2 / 4000) = 2.2 %; four of those.
    assert np.abs(sampled - stated).max() < 0.09 * np.linalg.eigvalsh(stated).max()


def test_ellipsoids_are_one_sigma_enlarged(uncertain: Reconstruction) -> None:
    lines = ellipsoid_lines(uncertain).reshape(FRAMES - 1, -1, 3)
    times = magnification(uncertain)
    reach = np.linalg.norm(lines - uncertain.world_from_cam[1:, None, :3, 3], axis=-1).max(axis=1)
    half_axes = np.sqrt(np.linalg.eigvalsh(position_covariance(uncertain)[1:])[:, -1])
    np.testing.assert_allclose(reach, times * half_axes, rtol=0.01)  # circles have 24 corners
    assert times == 1 or reach.max() <= SIZE * median_depth(uncertain) * (1 + 1e-9)
    assert f"drawn {times}x" in ellipsoid_legend(uncertain)
    assert FRAMES <= MAX_CAMERAS


def test_positions_after_a_step_that_was_not_measured_are_unknown(
    uncertain: Reconstruction,
) -> None:
    assert uncertain.pose_covariance is not None
    covariance = uncertain.pose_covariance.copy()
    covariance[4] = np.inf
    result = dataclasses.replace(uncertain, pose_covariance=covariance)
    known = np.isfinite(position_covariance(result)).all(axis=(1, 2))
    assert known.tolist() == [True] * 4 + [False] * (FRAMES - 4)
    missing = missing_uncertainty(result)
    assert missing is not None
    assert "its cameras from frame 4 on" in missing.message
    assert missing_uncertainty(uncertain) is None


def test_the_picture_shows_uncertainty(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    pictures = [
        read_rgb(render_png(folder, tmp_path / f"{index}.png", said.append, style))
        for index, style in enumerate((PLAIN, Style("uncertainty"), Style(max_std=0.01)))
    ]
    assert {picture.shape for picture in pictures} == {(960, 1280, 3)}
    empty = [(picture == picture[0, 0]).all(-1).mean() for picture in pictures]
    assert empty[2] > empty[0]
    yellow = (pictures[1] == viridis(np.array([1.0]))[0]).all(-1)
    assert yellow[:890].any()
    assert yellow[890:].any()  # the legend
    assert {line.split()[0] for line in said} == {"shown", "points"}  # and nothing else
    assert len(said) == 6


def test_a_result_that_says_nothing_is_shown_with_one_notice(
    plain: Reconstruction, tmp_path: Path
) -> None:
    write_result(plain, tmp_path / "plain")
    said: list[str] = []
    style = Style("uncertainty", 0.01)
    picture = read_rgb(render_png(tmp_path / "plain", tmp_path / "p.png", said.append, style))
    moment, line, drawn = said
    assert moment.startswith("shown is frame ")
    assert drawn.startswith("points drawn ")
    assert "how uncertain its depth is" in line
    assert "how uncertain its camera positions are" in line
    assert is_colorful(picture)
    said.clear()
    render_png(tmp_path / "plain", tmp_path / "q.png", said.append)
    assert [line.split()[0] for line in said] == ["shown", "points"]  # nobody asked for more


def test_the_window_names_its_colours(uncertain: Reconstruction, plain: Reconstruction) -> None:
    assert scale_of(uncertain).legend in title(Path("r"), uncertain)
    assert title(Path("r"), plain) == "recon4d: r"
    keys, colors, ellipsoids = explanation(uncertain)
    assert "U colours by uncertainty" in keys
    assert colors.startswith("U: relative std of depth")
    assert ellipsoids.startswith("E: one-sigma ellipsoids")
    assert len(explanation(plain)) == 2
    state = Playback(3, style=Style(max_std=0.1))
    assert state.recolored().style == Style("uncertainty", 0.1)
    assert state.recolored().recolored() == state


def test_levels_of_the_slider_hold_every_point_once(
    uncertain: Reconstruction, plain: Reconstruction
) -> None:
    levels, cloud = Levels.of(scale_of(uncertain)), static_cloud(uncertain)
    parts = levels.split(cloud)
    assert join(list(parts.values())).num_points == cloud.num_points
    assert levels.last == LEVELS
    assert levels.name(LEVELS) == "all"
    for level, part in parts.items():
        if level < LEVELS:
            assert part.relative_std.max() <= levels.upper[level]
    assert list(levels.split(moving_cloud(uncertain, 0))) == [LEVELS]
    assert list(Levels.of(None).split(static_cloud(plain))) == [0]


def test_the_page_recolours_and_hides(folder: Path) -> None:
    needs.package("viser", "view")
    page = serve(folder, Address(port=0))
    try:
        image = {level: points.colors.copy() for level, points in page._static_points.items()}
        page._color.value = "uncertainty"
        page._recolor(None)
        assert all(
            (points.colors != image[level]).any() for level, points in page._static_points.items()
        )
        page._shown.value = 3
        page._hide(None)
        visible = {level for level, points in page._static_points.items() if points.visible}
        assert visible == {level for level in image if level <= 3}
        assert len(page._movers.points) == 0
        assert "up to" in page._meaning.content
        page._ellipsoids.value = True
        page._show_ellipsoids(None)
        assert page._ellipsoid_lines.visible
    finally:
        page.stop()


# A window


def read_screen(framebuffer: Path) -> np.ndarray:
    """RGB picture of Xvfb's screen file (X window dump, 32 bits per pixel, blue first)."""
    data = framebuffer.read_bytes()
    header = struct.unpack(">25I", data[:100])
    size, width, height, bytes_per_line, colors = (header[i] for i in (0, 4, 5, 12, 19))
    first = size + 12 * colors
    pixels = np.frombuffer(data, np.uint8, bytes_per_line * height, first)
    return np.ascontiguousarray(pixels.reshape(height, -1, 4)[:, :width, 2::-1])


@contextmanager
def screen(folder: Path) -> Iterator[tuple[str, Path]]:
    """A virtual screen: its name and the file that holds its picture."""
    xvfb = needs.program("Xvfb")
    read_end, write_end = os.pipe()
    argv = [
        xvfb,
        "-screen",
        "0",
        "1280x800x24",
        "-fbdir",
        str(folder),
        "-displayfd",
        str(write_end),
    ]
    server = subprocess.Popen(argv, pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    try:
        with os.fdopen(read_end) as number:
            yield f":{number.readline().strip()}", folder / "Xvfb_screen0"
    finally:
        server.kill()
        server.wait()


def test_a_window_opens_plays_and_closes(lady: Path, tmp_path: Path) -> None:
    needs.open3d()
    xdotool, yellow = needs.program("xdotool"), viridis(np.array([1.0]))[0].astype(int)
    with (
        screen(tmp_path) as (display, framebuffer),
        running(recon4d("view", str(lady)), DISPLAY=display) as viewer,
    ):

        def press(key: str) -> None:
            subprocess.run(
                [xdotool, "search", "--name", "recon4d", "windowfocus", "key", key],
                env=os.environ | {"DISPLAY": display},
                check=True,
                stdout=subprocess.DEVNULL,
            )

        def shown() -> np.ndarray:
            return read_screen(framebuffer)

        wait_for(lambda: is_colorful(shown()), viewer)
        first = shown()
        press("Right")
        wait_for(lambda: (shown() != first).any(), viewer)
        press("u")
        wait_for(lambda: (np.abs(shown().astype(int) - yellow).max(-1) < 12).any(), viewer)
        press("e")  # they lie behind where the window first looks from
        press("q")
        out, err = viewer.communicate(timeout=PATIENCE_S)
        assert viewer.returncode == 0, err
        assert "space play/pause" in out


def test_without_a_screen_the_other_ways_are_named(lady: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        recon4d("view", str(lady)),
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2
    assert "use --web for a browser or --png FILE for a picture" in done.stderr


# A page


class Browser:
    """A page of headless Chromium, by the DevTools protocol."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._sent = connection, 0

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._sent += 1
        self._connection.send(
            json.dumps({"id": self._sent, "method": method, "params": parameters})
        )
        while True:
            answer = json.loads(self._connection.recv(timeout=PATIENCE_S))
            if answer.get("id") == self._sent:
                result: dict[str, Any] = answer["result"]
                return result

    def picture(self) -> np.ndarray:
        data = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return np.ascontiguousarray(picture[..., ::-1])


@contextmanager
def browser(url: str, folder: Path) -> Iterator[tuple[Browser, subprocess.Popen[str]]]:
    from websockets.sync.client import connect

    argv = [
        needs.program("chromium"),
        "--headless=new",
        "--no-sandbox",
        "--enable-unsafe-swiftshader",
    ]
    argv += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=800,600", url]
    port_file = folder / "DevToolsActivePort"
    with running(argv) as process:
        wait_for(lambda: port_file.is_file() and port_file.read_text(), process)
        port = int(port_file.read_text().split()[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
            (page,) = [tab for tab in json.load(answer) if tab["type"] == "page"]
        with connect(page["webSocketDebuggerUrl"], max_size=None) as connection:
            yield Browser(connection), process


def test_a_page_shows_the_cloud_in_a_browser(lady: Path, tmp_path: Path) -> None:
    needs.program("chromium")
    with running(recon4d("view", str(lady), "--web")) as server:
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        line = next(line for line in lines if line.startswith("open http://127.0.0.1:"))
        with browser(line.split()[1], tmp_path / "profile") as (page, process):
            wait_for(lambda: is_colorful(page.picture()), process)
