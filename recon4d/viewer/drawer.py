"""What draws the points of a picture: a GPU by PyTorch3D where both are there, else the CPU."""

import importlib.util
from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, UInt8

from recon4d.core.errors import MissingDependencyError
from recon4d.results.cloud import PointCloud

PointDrawer = Callable[
    [PointCloud, Float64[np.ndarray, "4 4"], float, tuple[int, int]],
    UInt8[np.ndarray, "height width 3"],
]
"""Draws a cloud: seen with `view_from_world`, a focal length in pixels, and the picture's (width, height)."""


def point_drawer(
    otherwise: PointDrawer, background: tuple[int, int, int], tell: Callable[[str], None]
) -> PointDrawer:
    """What draws points here; every call tells in one line what drew, and why it was not PyTorch3D.

    Args:
        otherwise: Draws them where PyTorch3D cannot.
        background: RGB colour where there are no points.
        tell: Shows the user a line.
    """

    def draw(
        cloud: PointCloud,
        view_from_world: Float64[np.ndarray, "4 4"],
        focal: float,
        size: tuple[int, int],
    ) -> UInt8[np.ndarray, "height width 3"]:
        try:
            gpu = _gpu()
            from recon4d.viewer.gpu_points import draw_points

            picture = draw_points(cloud, view_from_world, focal, size, background, "cuda")
        except (MissingDependencyError, RuntimeError) as error:  # e.g. the GPU's memory is short
            reason, *_ = str(error).split("\n")
            tell(f"points drawn on the CPU: {reason}")
            return otherwise(cloud, view_from_world, focal, size)
        tell(f"points drawn by PyTorch3D on {gpu}")
        return picture

    return draw


def _gpu() -> str:
    """Name of the CUDA device.

    Raises:
        MissingDependencyError: There is none, or no PyTorch3D.
    """
    if importlib.util.find_spec("pytorch3d") is None:  # do not import torch, which takes a second
        raise MissingDependencyError("PyTorch3D is not installed")
    import torch

    if not torch.cuda.is_available():
        raise MissingDependencyError("there is no CUDA device for PyTorch3D")
    return torch.cuda.get_device_name()
