"""The page that the web viewer serves: the scene, and the controls beside it.

Numbers here that name no source were set by hand.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from recon4d.core.pinhole import field_of_view, length_at
from recon4d.results.cloud import PointCloud, join, median_depth, moving_cloud, static_cloud
from recon4d.results.colours import (
    COLORS,
    StdScale,
    Style,
    has_known_position,
    missing_uncertainty,
    styled,
)
from recon4d.results.frustums import (
    SIZE,
    camera_lines,
    ellipsoid_legend,
    ellipsoid_lines,
    path_lines,
)
from recon4d.results.result import Result
from recon4d.results.trails import trail_lines
from recon4d.viewer.levels import Levels
from recon4d.viewer.moment import behind_camera, describe_frame

MAX_POINTS = 600_000
"""Points of the static cloud that are sent to the browser: about 9 MB."""
POINT_PX = 1.3
"""Size of a point in pixels of the input at the median depth."""
FRAMES_PER_S = 15.0
"""Playback speed."""
FIELD_OF_VIEW_DEG = 60.0
"""Vertical, of the browser's view."""
LINE_PX, PATH_PX, CURRENT_PX = 1.0, 2.0, 2.0
"""Thickness on the screen, pixels, however near they are, of lines, of the path, and of the current camera."""
CAMERA_COLOR, CURRENT_COLOR, PATH_COLOR = (120, 150, 255), (255, 170, 40), (240, 70, 70)
"""RGB of frustums, of the one of the frame that is shown, and of the camera's path."""
ELLIPSOID_COLOR = (230, 30, 160)
"""RGB of the cameras' uncertainty."""


class Page:
    """The served scene and its controls. Mutable: it is what the browsers show."""

    def __init__(self, server: Any, reconstruction: Result, style: Style, frame: int) -> None:
        self._server, self._reconstruction, self._style = server, reconstruction, style
        self._levels = Levels.of(StdScale.of(reconstruction))
        self.missing = missing_uncertainty(reconstruction)
        """What the result does not say; the page says it too."""
        focal_px = float(reconstruction.intrinsics[0, 0])
        self._size = length_at(median_depth(reconstruction), POINT_PX, focal_px)
        server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        self._set_first_view(frame)
        self._add_controls(frame)
        self._add_uncertainty_controls()
        cloud = static_cloud(reconstruction, max_points=MAX_POINTS)
        self._static = self._levels.split(self._limited(cloud))
        self._static_points = self._add_static()
        self._movers = self._add_movers(frame)
        self._add_cameras()
        self._trails = self._add_trails(frame)
        self._current = self._add_current(frame)

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

    def _set_first_view(self, frame: int) -> None:
        """Where a browser looks from first, and after a reset."""
        place, target = behind_camera(self._reconstruction, frame)
        up = tuple(-self._reconstruction.world_from_cam[frame, :3, 1])
        depth, view = median_depth(self._reconstruction), self._server.initial_camera
        self._server.scene.set_up_direction(up)
        self._server.scene.world_axes.visible = False
        view.position, view.look_at, view.up = tuple(place), tuple(target), up
        view.fov = np.radians(FIELD_OF_VIEW_DEG)
        view.near, view.far = 0.005 * depth, 500 * depth

    def _point_size(self) -> float:
        return self._size * float(self._scale.value)

    def _limited(self, cloud: PointCloud) -> PointCloud:
        """Without the points that are hidden for good."""
        return styled(cloud, replace(self._style, color="image"), self._levels.scale)

    def _colored(self, cloud: PointCloud, moves: bool = False) -> PointCloud:
        return styled(cloud, Style(str(self._color.value)), self._levels.scale, moves)

    def _add_points(self, name: str, cloud: PointCloud, is_visible: bool) -> Any:
        return self._server.scene.add_point_cloud(
            name,
            cloud.points,
            cloud.colors,
            point_size=self._point_size(),
            point_shape="circle",
            point_shading="flat",
            precision="float32",
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
        """The moving points of one frame, in the place of those of the frame before."""
        cloud = self._limited(moving_cloud(self._reconstruction, frame))
        parts = self._levels.split(cloud).items()
        shown = join([part for level, part in parts if level <= int(self._shown.value)])
        return self._add_points("/moving", self._colored(shown, moves=True), True)

    def _add_lines(
        self, name: str, lines: np.ndarray, color: tuple[int, int, int], thickness: float = LINE_PX
    ) -> Any:
        return self._server.scene.add_line_segments(
            name, lines, colors=color, thickness=thickness, thickness_units="screen"
        )

    def _add_cameras(self) -> None:
        """Thin frustums, the path, and the ellipsoids of the positions."""
        r = self._reconstruction
        self._camera_lines = self._add_lines("/cameras", camera_lines(r), CAMERA_COLOR)
        self._path = self._add_lines("/path", path_lines(r), PATH_COLOR, PATH_PX)
        self._ellipsoid_lines = self._add_lines("/ellipsoids", ellipsoid_lines(r), ELLIPSOID_COLOR)
        self._ellipsoid_lines.visible = False

    def _add_trails(self, frame: int) -> Any:
        """Where followed points came from, in the place of those of the frame before; None where there are none."""
        lines, colors = trail_lines(self._reconstruction, frame)
        if self._trail is None or not len(lines):
            return None
        trails = self._server.scene.add_line_segments(
            "/trails",
            lines,
            colors=colors[:, None].repeat(2, 1),
            thickness=LINE_PX,
            thickness_units="screen",
        )
        trails.visible = bool(self._trail.value)
        return trails

    def _add_current(self, frame: int) -> Any:
        """The camera of the current frame, in the place of that of the frame before."""
        r = self._reconstruction
        height, width = r.depth.shape[1:]
        pose = r.world_from_cam[frame]
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        fov, aspect = field_of_view((width, height), r.intrinsics[frame])
        return self._server.scene.add_camera_frustum(
            "/current",
            fov=fov,
            aspect=aspect,
            scale=SIZE * median_depth(r),
            thickness=CURRENT_PX,
            thickness_units="screen",
            wxyz=(w, x, y, z),
            position=tuple(pose[:3, 3]),
            color=CURRENT_COLOR,
            cast_shadow=False,
            receive_shadow=False,
            visible=bool(self._cameras.value),
        )

    def _add_controls(self, frame: int) -> None:
        gui, r = self._server.gui, self._reconstruction
        self._told = gui.add_markdown(f"**{describe_frame(r, frame)}**")
        self._image = gui.add_image(r.images[frame], format="jpeg")
        last = len(r.images) - 1
        self._frame = gui.add_slider("frame", min=0, max=last, step=1, initial_value=frame)
        self._playing = gui.add_checkbox("play", initial_value=False)
        self._follows = gui.add_checkbox("follow camera", initial_value=False)
        self._cameras = gui.add_checkbox("cameras", initial_value=True)
        self._trail = None if r.tracks is None else gui.add_checkbox("trails", initial_value=True)
        if self._trail is not None:
            self._trail.on_update(self._show_trails)
        self._scale = gui.add_slider("point size", min=0.25, max=4.0, step=0.05, initial_value=1.0)
        self._frame.on_update(self._show_frame)
        self._follows.on_update(self._follow)
        self._cameras.on_update(self._show_cameras)
        self._scale.on_update(self._resize)

    def _add_uncertainty_controls(self) -> None:
        """Colours, threshold and ellipsoids, and what they mean; without effect where nothing is known."""
        gui, unknown = self._server.gui, self._levels.scale is None
        with gui.add_folder("uncertainty", expand_by_default=self._style.needs_uncertainty):
            color = "image" if unknown else self._style.color
            self._color = gui.add_dropdown("colour", COLORS, initial_value=color, disabled=unknown)
            last = self._levels.last
            marks = ((0, self._levels.name(0)), (last, "all"))
            self._shown = gui.add_slider(
                "certainty", 0, last, 1, last, marks=marks, disabled=unknown
            )
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
        frame = int(self._frame.value)
        with self._server.atomic():
            self._movers = self._add_movers(frame)
            self._trails = self._add_trails(frame)
            self._current = self._add_current(frame)
            self._image.image = self._reconstruction.images[frame]
            self._told.content = f"**{describe_frame(self._reconstruction, frame)}**"
            self._follow(_)

    def _follow(self, _: Any) -> None:
        """Move every browser's view behind the current camera, if the user wants that."""
        if not self._follows.value:
            return
        frame = int(self._frame.value)
        place, target = behind_camera(self._reconstruction, frame)
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.up_direction = -self._reconstruction.world_from_cam[frame, :3, 1]
                client.camera.position = place
                client.camera.look_at = target

    def _show_trails(self, _: Any) -> None:
        self._trails = self._add_trails(int(self._frame.value))

    def _show_cameras(self, _: Any) -> None:
        for drawn in (self._camera_lines, self._path, self._current):
            drawn.visible = bool(self._cameras.value)

    def _resize(self, _: Any) -> None:
        for points in (*self._static_points.values(), self._movers):
            points.point_size = self._point_size()

    def _recolor(self, _: Any) -> None:
        self._static_points = self._add_static()
        self._movers = self._add_movers(int(self._frame.value))

    def _hide(self, _: Any) -> None:
        for level, points in self._static_points.items():
            points.visible = level <= int(self._shown.value)
        self._movers = self._add_movers(int(self._frame.value))
        self._meaning.content = self._explain()

    def _show_ellipsoids(self, _: Any) -> None:
        self._ellipsoid_lines.visible = bool(self._ellipsoids.value)
