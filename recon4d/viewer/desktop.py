"""The desktop window: static cloud, moving points frame by frame, cameras and their path, by Open3D.

Numbers here that name no source were set by hand.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from recon4d.core.errors import InputError
from recon4d.results.cloud import PointCloud, median_depth, moving_cloud, static_cloud
from recon4d.results.colours import (
    PLAIN,
    StdScale,
    Style,
    has_known_position,
    missing_uncertainty,
    styled,
)
from recon4d.results.folder import read_result
from recon4d.results.frustums import camera_lines, ellipsoid_legend, ellipsoid_lines, path_lines
from recon4d.results.result import Result
from recon4d.results.trails import trail_lines
from recon4d.viewer.moment import checked_frame, describe_frame
from recon4d.viewer.packages import import_package
from recon4d.viewer.screen_text import before_eye, text_rows

FRAMES_PER_S = 15.0
"""Playback speed."""
HELP = (
    "keys: space play/pause, right/left step, Home first frame, +/- point size, "
    "C cameras, M moving points, T path, R trails, U colours by uncertainty, E ellipsoids of camera positions, Q quit"
)
NEAR = 0.004
"""Distance of the nearest thing that is drawn, in median depths of the scene; text is just behind it."""
INK = (0.12, 0.12, 0.14)
"""RGB of what is written, of 1."""
NO_WINDOW = (
    "no window could be opened (no display?); use --web for a browser or --png FILE for a picture"
)
KEY_RIGHT, KEY_LEFT, KEY_HOME, KEY_SPACE = 262, 263, 268, 32
"""GLFW's key codes."""


@dataclass(frozen=True)
class Playback:
    """What the window shows."""

    num_frames: int
    frame: int = 0
    playing: bool = False
    point_size: float = 3.0
    cameras: bool = True
    moving: bool = True
    path: bool = True
    ellipsoids: bool = False
    trails: bool = True
    style: Style = PLAIN

    def stepped(self, by: int) -> "Playback":
        """Another frame, around the end to the beginning."""
        return replace(self, frame=(self.frame + by) % self.num_frames)

    def resized(self, factor: float) -> "Playback":
        """Larger or smaller points, from 1 to 10 pixels."""
        return replace(self, point_size=float(np.clip(self.point_size * factor, 1.0, 10.0)))

    def recolored(self) -> "Playback":
        """The other one of the two colourings."""
        color = "image" if self.style.color == "uncertainty" else "uncertainty"
        return replace(self, style=replace(self.style, color=color))


def view_desktop(
    result: Path,
    tell: Callable[[str], None] = print,
    style: Style = PLAIN,
    frame: int | None = None,
) -> None:
    """Open a window and return when it is closed."""
    reconstruction = read_result(result)  # what was asked for is judged before what is installed
    state = Playback(len(reconstruction.images), style=style)
    state = replace(state, frame=checked_frame(frame, state.num_frames, 0))
    _check_screen()
    o3d = import_package("open3d")
    window = _Window(o3d, reconstruction, title(result, reconstruction), state)
    for line in explanation(reconstruction):
        tell(line)
    window.run()


def title(result: Path, reconstruction: Result) -> str:
    """The window's title, with what the colours mean."""
    scale = StdScale.of(reconstruction)
    return f"recon4d: {result}" + ("" if scale is None else f"   U: {scale.legend}")


def explanation(reconstruction: Result) -> list[str]:
    """The keys, what they show, and what the result does not say."""
    scale, missing = StdScale.of(reconstruction), missing_uncertainty(reconstruction)
    legend = [] if scale is None else [f"U: {scale.legend}"]
    drawn = has_known_position(reconstruction).any()
    ellipsoids = [f"E: {ellipsoid_legend(reconstruction)}"] if drawn else []
    return [HELP, *legend, *ellipsoids, *([] if missing is None else [missing.message])]


class _Window:
    """Keeps Open3D's objects in step with a `Playback`. Mutable: it is what the screen shows."""

    def __init__(
        self, o3d: ModuleType, reconstruction: Result, title: str, state: Playback
    ) -> None:
        self._o3d, self._reconstruction, self._state = o3d, reconstruction, state
        self._scale = StdScale.of(reconstruction)
        self._window: Any = o3d.visualization.VisualizerWithKeyCallback()
        if not self._window.create_window(title, width=1280, height=800):
            raise InputError(NO_WINDOW)
        self._static_cloud = static_cloud(reconstruction)
        self._static, self._movers = self._draw_static(), self._draw_movers()
        self._cameras = _lines(o3d, camera_lines(reconstruction), (0.3, 0.45, 1.0))
        self._path = _lines(o3d, path_lines(reconstruction), (0.95, 0.25, 0.25))
        self._ellipsoids = _lines(o3d, ellipsoid_lines(reconstruction), (0.9, 0.12, 0.63))
        self._trails = self._draw_trails()
        for geometry in (self._static, self._movers, self._cameras, self._path, self._trails):
            self._window.add_geometry(geometry)
        self._bind()
        self._look()
        self._window.get_render_option().point_size = self._state.point_size
        self._near = NEAR * median_depth(reconstruction)
        self._window.get_view_control().set_constant_z_near(self._near)
        self._text, self._written = _lines(o3d, np.zeros((0, 2, 3)), INK), b""
        self._write()
        self._window.add_geometry(self._text, reset_bounding_box=False)

    def run(self) -> None:
        """Show it until the user closes it."""
        shown = time.monotonic()
        while self._window.poll_events():
            self._write()
            self._window.update_renderer()
            if self._state.playing and time.monotonic() - shown >= 1 / FRAMES_PER_S:
                shown = time.monotonic()
                self._set(self._state.stepped(1))
        self._window.destroy_window()

    def _write(self) -> None:
        """Number and time of the frame into the corner of the view, wherever that looks from."""
        view = self._window.get_view_control().convert_to_pinhole_camera_parameters()
        pixels, pose = np.array(view.intrinsic.intrinsic_matrix), np.array(view.extrinsic)
        state = pixels.tobytes() + pose.tobytes() + bytes(str(self._state.frame), "ascii")
        if state == self._written:
            return
        rows = text_rows(describe_frame(self._reconstruction, self._state.frame))
        fresh = _lines(self._o3d, before_eye(rows, pixels, pose, 1.5 * self._near), INK)
        self._text.points, self._text.lines = fresh.points, fresh.lines
        self._text.colors, self._written = fresh.colors, state
        self._window.update_geometry(self._text)

    def _draw_static(self) -> Any:
        cloud = styled(self._static_cloud, self._state.style, self._scale)
        return _points(self._o3d, cloud)

    def _draw_movers(self) -> Any:
        cloud = moving_cloud(self._reconstruction, self._state.frame)
        return _points(self._o3d, styled(cloud, self._state.style, self._scale, moves=True))

    def _draw_trails(self) -> Any:
        """Where followed points came from; nothing in a result without."""
        lines, colors = trail_lines(self._reconstruction, self._state.frame)
        drawn = _lines(self._o3d, lines, INK)
        drawn.colors = self._o3d.utility.Vector3dVector(colors / 255.0)
        return drawn

    def _bind(self) -> None:
        """Connect keys with changes of the state."""

        def on(key: int, change: Any) -> None:
            def pressed(_: Any) -> bool:
                self._set(change(self._state))
                return False

            self._window.register_key_callback(key, pressed)

        on(KEY_SPACE, lambda s: replace(s, playing=not s.playing))
        on(KEY_RIGHT, lambda s: s.stepped(1))
        on(KEY_LEFT, lambda s: s.stepped(-1))
        on(KEY_HOME, lambda s: replace(s, frame=0))
        on(ord("="), lambda s: s.resized(1.25))
        on(ord("-"), lambda s: s.resized(0.8))
        on(ord("C"), lambda s: replace(s, cameras=not s.cameras))
        on(ord("M"), lambda s: replace(s, moving=not s.moving))
        on(ord("T"), lambda s: replace(s, path=not s.path))
        on(ord("R"), lambda s: replace(s, trails=not s.trails))
        on(ord("U"), Playback.recolored)
        on(ord("E"), lambda s: replace(s, ellipsoids=not s.ellipsoids))

    def _set(self, state: Playback) -> None:
        """Show a new state."""
        before, self._state = self._state, state
        if state.style != before.style:
            self._static.colors = self._draw_static().colors
            self._window.update_geometry(self._static)
        if (state.frame, state.style) != (before.frame, before.style):
            fresh = self._draw_movers()
            self._movers.points, self._movers.colors = fresh.points, fresh.colors
            self._window.update_geometry(self._movers)
        if state.frame != before.frame:
            trails = self._draw_trails()
            self._trails.points, self._trails.lines = trails.points, trails.lines
            self._trails.colors = trails.colors
            self._window.update_geometry(self._trails)
        self._window.get_render_option().point_size = state.point_size
        for was, now, geometry in (
            (before.cameras, state.cameras, self._cameras),
            (before.moving, state.moving, self._movers),
            (before.path, state.path, self._path),
            (before.ellipsoids, state.ellipsoids, self._ellipsoids),
            (before.trails, state.trails, self._trails),
        ):
            if now and not was:
                self._window.add_geometry(geometry, reset_bounding_box=False)
            if was and not now:
                self._window.remove_geometry(geometry, reset_bounding_box=False)

    def _look(self) -> None:
        """Start behind the first camera that is shown, looking along it."""
        pose = self._reconstruction.world_from_cam[self._state.frame]
        depth = median_depth(self._reconstruction)
        control = self._window.get_view_control()
        control.set_lookat(pose[:3, 3] + depth * pose[:3, 2])
        control.set_front(-pose[:3, 2])
        control.set_up(-pose[:3, 1])
        control.set_zoom(0.25)


def _check_screen() -> None:
    """Refuse where there is no display: there Open3D opens a window that nobody sees and nobody can close."""
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform == "linux" and not shown:
        raise InputError(NO_WINDOW)


def _points(o3d: ModuleType, cloud: PointCloud) -> Any:
    points = o3d.geometry.PointCloud()
    points.points = o3d.utility.Vector3dVector(cloud.points.astype(np.float64))
    points.colors = o3d.utility.Vector3dVector(cloud.colors / 255.0)
    return points


def _lines(o3d: ModuleType, lines: np.ndarray, color: tuple[float, float, float]) -> Any:
    drawn = o3d.geometry.LineSet()
    drawn.points = o3d.utility.Vector3dVector(lines.reshape(-1, 3))
    drawn.lines = o3d.utility.Vector2iVector(np.arange(2 * len(lines)).reshape(-1, 2))
    drawn.paint_uniform_color(color)
    return drawn
