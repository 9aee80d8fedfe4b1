"""Cameras as line drawings."""

import numpy as np
from jaxtyping import Float, Float64

from recon4d.scene import Reconstruction
from recon4d.spread import spread_evenly
from recon4d.viewer.cloud import median_depth

SIZE = 0.05
"""Depth of a drawn frustum as a part of the scene's median depth."""
MAX_CAMERAS = 30
"""More frustums than this would hide the scene; they are spread evenly over the video."""
EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1))
"""Pairs of a frustum's five corners that a line joins: the camera's centre is corner 0."""


def frustum_corners(reconstruction: Reconstruction, frame: int) -> Float64[np.ndarray, "5 3"]:
    """Centre and image corners of one camera in the world, the image plane at `SIZE` of the scene's depth."""
    height, width = reconstruction.depth.shape[1:]
    fx, fy, cx, cy = reconstruction.intrinsics[frame]
    pixels = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    rays = np.concatenate(((pixels - (cx, cy)) / (fx, fy), np.ones((4, 1))), axis=1)
    in_cam = np.concatenate((np.zeros((1, 3)), rays * SIZE * median_depth(reconstruction)))
    pose = reconstruction.world_from_cam[frame]
    return np.asarray(in_cam @ pose[:3, :3].T + pose[:3, 3])


def camera_lines(reconstruction: Reconstruction) -> Float[np.ndarray, "lines 2 3"]:
    """Frustums of cameras spread over the video."""
    chosen = spread_evenly(len(reconstruction.world_from_cam), MAX_CAMERAS)
    corners = [frustum_corners(reconstruction, int(frame)) for frame in chosen]
    return np.stack([c[list(edge)] for c in corners for edge in EDGES])


def path_lines(reconstruction: Reconstruction) -> Float[np.ndarray, "lines 2 3"]:
    """The camera's way from frame to frame."""
    centres = reconstruction.world_from_cam[:, :3, 3]
    return np.stack((centres[:-1], centres[1:]), axis=1)
