"""The web viewer: the same scene in any browser, by viser."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from recon4d.io.result import read_result
from recon4d.scene import Reconstruction
from recon4d.spread import spread_evenly
from recon4d.viewer.cloud import median_depth, moving_cloud, static_cloud
from recon4d.viewer.frustums import MAX_CAMERAS, SIZE
from recon4d.viewer.packages import import_package

MAX_POINTS = 600_000
"""Points of the static cloud that are sent to the browser: about 9 MB."""
POINT_PX = 1.3
"""Size of a point in pixels of the input at the median depth."""
FRAMES_PER_S = 15.0
"""Playback speed."""


def view_web(result: Path, port: int, tell: Callable[[str], None]) -> None:
    """Serve a result folder until interrupted."""
    page = serve(result, port)
    tell(f"open http://localhost:{page.port} in a browser; Ctrl-C ends it")
    while True:
        time.sleep(1 / FRAMES_PER_S)
        page.play()


def serve(result: Path, port: int) -> "Page":
    """Start the server and fill the scene; returns at once."""
    viser = import_package("viser")
    reconstruction = read_result(result)
    return Page(viser.ViserServer(port=port, verbose=False), reconstruction)


class Page:
    """The served scene and its controls. Mutable: it is what the browsers show."""

    def __init__(self, server: Any, reconstruction: Reconstruction) -> None:
        self._server, self._reconstruction = server, reconstruction
        pose = reconstruction.world_from_cam[0]
        server.scene.set_up_direction(tuple(-pose[:3, 1]))
        self._size = (
            POINT_PX * median_depth(reconstruction) / float(reconstruction.intrinsics[0, 0])
        )
        cloud = static_cloud(reconstruction, max_points=MAX_POINTS)
        self._static = server.scene.add_point_cloud(
            "/static", cloud.points, cloud.colors, point_size=self._size, point_shape="circle"
        )
        self._add_controls()
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

    def _add_movers(self, frame: int) -> Any:
        cloud = moving_cloud(self._reconstruction, frame)
        return self._server.scene.add_point_cloud(
            "/moving",
            cloud.points,
            cloud.colors,
            point_size=self._point_size(),
            point_shape="circle",
        )

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

    def _add_controls(self) -> None:
        gui, last = self._server.gui, len(self._reconstruction.images) - 1
        self._frame = gui.add_slider("frame", min=0, max=last, step=1, initial_value=0)
        self._playing = gui.add_checkbox("play", initial_value=False)
        self._scale = gui.add_slider("point size", min=0.25, max=4.0, step=0.05, initial_value=1.0)

        self._frame.on_update(self._show_frame)
        self._scale.on_update(self._resize)

    def _show_frame(self, _: Any) -> None:
        self._movers = self._add_movers(int(self._frame.value))

    def _resize(self, _: Any) -> None:
        self._static.point_size = self._movers.point_size = self._point_size()

    def _look(self, client: Any) -> None:
        """Start a little behind the first camera."""
        pose, depth = self._reconstruction.world_from_cam[0], median_depth(self._reconstruction)
        client.camera.position = tuple(pose[:3, 3] - 0.3 * depth * pose[:3, 2])
        client.camera.look_at = tuple(pose[:3, 3] + depth * pose[:3, 2])
