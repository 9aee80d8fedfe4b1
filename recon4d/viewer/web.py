"""The web viewer: the same scene in any browser, by viser."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon4d.io.result import read_result
from recon4d.scene import Reconstruction
from recon4d.spread import spread_evenly
from recon4d.viewer.cloud import PointCloud, join, median_depth, moving_cloud, static_cloud
from recon4d.viewer.frustums import MAX_CAMERAS, SIZE, ellipsoid_legend, ellipsoid_lines
from recon4d.viewer.packages import import_package
from recon4d.viewer.uncertainty import (
    COLORS,
    PLAIN,
    StdScale,
    Style,
    has_known_position,
    missing_uncertainty,
    percent,
    styled,
)

MAX_POINTS = 600_000
"""Points of the static cloud that are sent to the browser: about 9 MB."""
POINT_PX = 1.3
"""Size of a point in pixels of the input at the median depth."""
FRAMES_PER_S = 15.0
"""Playback speed."""
LEVELS = 16
"""Steps of the slider that hides uncertain points; the points of each are sent once."""


def view_web(
    result: Path, port: int, tell: Callable[[str], None] = print, style: Style = PLAIN
) -> None:
    """Serve a result folder until interrupted."""
    page = serve(result, port, style)
    if page.missing is not None:
        tell(page.missing.message)
    tell(f"open http://localhost:{page.port} in a browser; Ctrl-C ends it")
    while True:
        time.sleep(1 / FRAMES_PER_S)
        page.play()


def serve(result: Path, port: int, style: Style = PLAIN) -> "Page":
    """Start the server and fill the scene; returns at once."""
    viser = import_package("viser")
    reconstruction = read_result(result)
    return Page(viser.ViserServer(port=port, verbose=False), reconstruction, style)


@dataclass(frozen=True)
class Levels:
    """Points by their standard deviation: what the slider shows and hides together."""

    scale: StdScale | None
    upper: Float64[np.ndarray, " levels"]
    """Largest relative standard deviation of each level but the last, which has all that is above or not known."""

    @classmethod
    def of(cls, scale: StdScale | None) -> "Levels":
        """Levels even in the logarithm; a single one where nothing is known."""
        ends = np.zeros(0) if scale is None else np.geomspace(scale.low, scale.high, LEVELS)
        return cls(scale, ends)

    @property
    def last(self) -> int:
        """The level up to which everything is shown; at least 1, because a slider has two ends."""
        return max(len(self.upper), 1)

    def name(self, level: int) -> str:
        """What is shown up to a level."""
        return "all" if level >= len(self.upper) else f"up to {percent(self.upper[level])}"

    def split(self, cloud: PointCloud) -> dict[int, PointCloud]:
        """The points of every level that has any."""
        if self.scale is None:
            return {0: cloud}
        level = np.searchsorted(self.upper, cloud.relative_std)
        return {int(one): cloud.select(level == one) for one in np.unique(level)}


class Page:
    """The served scene and its controls. Mutable: it is what the browsers show."""

    def __init__(self, server: Any, reconstruction: Reconstruction, style: Style) -> None:
        self._server, self._reconstruction, self._style = server, reconstruction, style
        self._levels = Levels.of(StdScale.of(reconstruction))
        self.missing = missing_uncertainty(reconstruction)
        """What the result does not say; the page says it too."""
        pose = reconstruction.world_from_cam[0]
        server.scene.set_up_direction(tuple(-pose[:3, 1]))
        self._size = (
            POINT_PX * median_depth(reconstruction) / float(reconstruction.intrinsics[0, 0])
        )
        self._add_controls()
        self._add_uncertainty_controls()
        cloud = static_cloud(reconstruction, max_points=MAX_POINTS)
        self._static = self._levels.split(self._limited(cloud))
        self._static_points = self._add_static()
        self._movers = self._add_movers(0)
        self._add_cameras()
        server.on_client_connect(self._look)

    @property
    def port(self) -> int:
        """Port that the server listens on."""
        return int(self._server.get_port())

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def play(self) -> None:
        """Show the next frame if the user wants it to play."""
        if self._playing.value:
            self._frame.value = (self._frame.value + 1) % len(self._reconstruction.images)

    def _point_size(self) -> float:
        return self._size * float(self._scale.value)

    def _limited(self, cloud: PointCloud) -> PointCloud:
        """Without the points that are hidden for good."""
        return styled(cloud, replace(self._style, color="image"), self._levels.scale)

    def _colored(self, cloud: PointCloud) -> PointCloud:
        return styled(cloud, Style(str(self._color.value)), self._levels.scale)

    def _add_points(self, name: str, cloud: PointCloud, is_visible: bool) -> Any:
        return self._server.scene.add_point_cloud(
            name,
            cloud.points,
            cloud.colors,
            point_size=self._point_size(),
            point_shape="circle",
            visible=is_visible,
        )

    def _add_static(self) -> dict[int, Any]:
        """The static points of every step of the slider."""
        shown = int(self._shown.value)
        return {
            level: self._add_points(f"/static/{level:02d}", self._colored(cloud), level <= shown)
            for level, cloud in self._static.items()
        }

    def _add_movers(self, frame: int) -> Any:
        cloud = self._limited(moving_cloud(self._reconstruction, frame))
        parts = self._levels.split(cloud).items()
        shown = join([part for level, part in parts if level <= int(self._shown.value)])
        return self._add_points("/moving", self._colored(shown), True)

    def _add_cameras(self) -> None:
        """Frustums with their images, and the path."""
        r = self._reconstruction
        count, height, width = r.depth.shape
        for frame in spread_evenly(count, MAX_CAMERAS):
            pose = r.world_from_cam[frame]
            x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
            self._server.scene.add_camera_frustum(
                f"/cameras/{frame:06d}",
                fov=float(2 * np.arctan2(height / 2, r.intrinsics[frame, 1])),
                aspect=width / height,
                scale=SIZE * median_depth(r),
                wxyz=(w, x, y, z),
                position=tuple(pose[:3, 3]),
                image=r.images[frame, ::4, ::4],
                color=(80, 115, 255),
            )
        centres = r.world_from_cam[:, :3, 3]
        self._server.scene.add_line_segments(
            "/path", np.stack((centres[:-1], centres[1:]), axis=1), colors=(240, 70, 70)
        )
        self._ellipsoid_lines = self._server.scene.add_line_segments(
            "/ellipsoids", ellipsoid_lines(r), colors=(230, 30, 160), visible=False
        )

    def _add_controls(self) -> None:
        gui, last = self._server.gui, len(self._reconstruction.images) - 1
        self._frame = gui.add_slider("frame", min=0, max=last, step=1, initial_value=0)
        self._playing = gui.add_checkbox("play", initial_value=False)
        self._scale = gui.add_slider("point size", min=0.25, max=4.0, step=0.05, initial_value=1.0)

        self._frame.on_update(self._show_frame)
        self._scale.on_update(self._resize)

    def _add_uncertainty_controls(self) -> None:
        """Colours, threshold and ellipsoids, and what they mean; without effect where nothing is known."""
        gui, unknown = self._server.gui, self._levels.scale is None
        color = "image" if unknown else self._style.color
        self._color = gui.add_dropdown("colour", COLORS, initial_value=color, disabled=unknown)
        last = self._levels.last
        marks = ((0, self._levels.name(0)), (last, "all"))
        self._shown = gui.add_slider("certainty", 0, last, 1, last, marks=marks, disabled=unknown)
        self._meaning = gui.add_markdown(self._explain())
        drawn = has_known_position(self._reconstruction).any()
        self._ellipsoids = gui.add_checkbox("ellipsoids", False, disabled=not drawn)
        gui.add_markdown(ellipsoid_legend(self._reconstruction))
        if self.missing is not None:
            gui.add_markdown(f"**{self.missing.message}**")
        self._color.on_update(self._recolor)
        self._shown.on_update(self._hide)
        self._ellipsoids.on_update(self._show_ellipsoids)

    def _explain(self) -> str:
        scale = self._levels.scale
        if scale is None:
            return "the uncertainty of depth is not known"
        return f"{scale.legend}; shown: {self._levels.name(int(self._shown.value))}"

    def _show_frame(self, _: Any) -> None:
        self._movers = self._add_movers(int(self._frame.value))

    def _resize(self, _: Any) -> None:
        for points in (*self._static_points.values(), self._movers):
            points.point_size = self._point_size()

    def _recolor(self, _: Any) -> None:
        self._static_points = self._add_static()
        self._show_frame(_)

    def _hide(self, _: Any) -> None:
        for level, points in self._static_points.items():
            points.visible = level <= int(self._shown.value)
        self._show_frame(_)
        self._meaning.content = self._explain()

    def _show_ellipsoids(self, _: Any) -> None:
        self._ellipsoid_lines.visible = bool(self._ellipsoids.value)

    def _look(self, client: Any) -> None:
        """Start a little behind the first camera."""
        pose, depth = self._reconstruction.world_from_cam[0], median_depth(self._reconstruction)
        client.camera.position = tuple(pose[:3, 3] - 0.3 * depth * pose[:3, 2])
        client.camera.look_at = tuple(pose[:3, 3] + depth * pose[:3, 2])
