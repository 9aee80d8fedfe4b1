"""What the viewers draw beside the points: where the eye starts, the cameras' outlines, and the pace of time."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64, Int64, UInt8

from recon4d.scene import Reconstruction
from recon4d.viewer.cloud import median_depth

CAMERA_SIZE = 0.12
"""Depth of a drawn camera as a share of the median depth: seen well, and hides little."""
MAX_CAMERAS = 40
"""Cameras that are drawn; more of them hide one another."""
BACK, UP = 0.55, 0.22
"""Where the eye starts behind and above the middle camera, as shares of the median depth."""
INTERVAL_S = (1 / 30, 1.0)
"""Shortest and longest time that a frame is shown."""


@dataclass(frozen=True)
class Eye:
    """Where a view starts, in the world."""

    position: Float64[np.ndarray, "3"]
    target: Float64[np.ndarray, "3"]
    up: Float64[np.ndarray, "3"]

    @property
    def world_from_eye(self) -> Float64[np.ndarray, "4 4"]:
        """Pose with OpenCV axes."""
        forward = _unit(self.target - self.position)
        right = _unit(np.cross(forward, self.up))
        pose = np.eye(4)
        pose[:3] = np.stack((right, np.cross(forward, right), forward, self.position), axis=1)
        return pose


def first_eye(reconstruction: Reconstruction) -> Eye:
    """Look at the scene from behind and above the middle camera."""
    pose = reconstruction.world_from_cam[len(reconstruction.world_from_cam) // 2]
    scale = median_depth(reconstruction)
    _, down, forward, position = pose[:3].T
    eye = position - scale * (BACK * forward + UP * down)
    return Eye(eye, position + scale * forward, -down)


def drawn_cameras(count: int) -> Int64[np.ndarray, " cameras"]:
    """Indices of the frames whose cameras are drawn."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_CAMERAS)).round().astype(np.int64))


def camera_outline(reconstruction: Reconstruction, frame: int) -> Float64[np.ndarray, "lines 2 3"]:
    """Segments of a pyramid from a camera's centre to the corners of its image, with a tick on the upper side."""
    height, width = reconstruction.depth.shape[1:]
    fx, fy, cx, cy = reconstruction.intrinsics[frame]
    roof = -0.12 * height
    image_px = np.array(
        [[0, 0], [width, 0], [width, height], [0, height], [0.4 * width, 0], [0.6 * width, 0]]
    )
    image_px = np.concatenate((image_px, [[0.5 * width, roof]]))
    rays = np.column_stack(((image_px - (cx, cy)) / (fx, fy), np.ones(len(image_px))))
    in_cam = np.concatenate((np.zeros((1, 3)), rays)) * CAMERA_SIZE * median_depth(reconstruction)
    pose = reconstruction.world_from_cam[frame]
    corners = in_cam @ pose[:3, :3].T + pose[:3, 3]
    ends = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1), (5, 7), (6, 7)]
    return np.asarray(corners[np.array(ends)])


def time_colors(count: int) -> UInt8[np.ndarray, "frames 3"]:
    """RGB per frame: blue at the beginning, through green, to orange at the end."""
    hue = np.linspace(110, 12, count)  # of 180, as in OpenCV
    hsv = np.stack((hue, np.full(count, 170), np.full(count, 255)), axis=-1)
    return np.asarray(cv2.cvtColor(hsv[None].round().astype(np.uint8), cv2.COLOR_HSV2RGB)[0])


def frame_interval_s(timestamps_s: Float64[np.ndarray, " frames"]) -> float:
    """Time for which a frame is shown: as it was filmed, where an eye can follow."""
    if len(timestamps_s) < 2:
        return INTERVAL_S[1]
    return float(np.clip(np.median(np.diff(timestamps_s)), *INTERVAL_S))


def _unit(vector: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    return np.asarray(vector / np.linalg.norm(vector))
