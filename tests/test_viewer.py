"""What the viewers show of a real video: a picture, a window on a screen, a page in a browser."""

import base64
import json
import os
import shutil
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

from recon4d import cli
from recon4d.errors import MissingDependencyError
from recon4d.io.images import read_rgb
from recon4d.viewer.packages import import_package

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0
"""For a window or a page to appear on a busy machine without a graphics card."""


@pytest.fixture(scope="module")
def lady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of some frames of lady-running, small."""
    video = ROOT / "../shared/data/videos/lady-running.mp4"
    if not video.is_file():
        pytest.skip("the test material is not on this machine")
    out = tmp_path_factory.mktemp("viewer") / "lady"
    options = ["--start", "1.5", "--max-frames", "14", "--size", "256", "--loop", "0"]
    # In a process of its own, where nothing checks array shapes: three times as fast.
    command = recon4d("run", str(video), "--out", str(out), *options)
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    return out


def require(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed; .ci/run installs it")
    return path


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
    return [sys.executable, "-m", "recon4d.cli", *argv]


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
    xvfb = require("Xvfb")
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
    xdotool = require("xdotool")
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

    argv = [require("chromium"), "--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader"]
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
    require("chromium")
    with running(recon4d("view", str(lady), "--web")) as server:
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        line = next(line for line in lines if line.startswith("open http://localhost:"))
        with browser(line.split()[1], tmp_path / "profile") as (page, process):
            wait_for(lambda: is_colorful(page.picture()), process)


# What is missing


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            "libusb-1.0.so.0: cannot open shared object file",
            "system library libusb-1.0.so.0, which is not installed; on Debian and Ubuntu: "
            "apt-get install libusb-1.0-0",
        ),
        ("No module named 'open3d'", 'pip install "recon4d[view]"'),
    ],
)
def test_what_is_missing_is_named(found: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(found)

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(MissingDependencyError, match="open3d") as raised:
        import_package("open3d")
    assert said in str(raised.value)
