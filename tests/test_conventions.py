"""The conversions in docs/CONVENTIONS.md are right: each is taken from the page and tried on a camera."""

import re
from pathlib import Path

import numpy as np
import torch

from recon4d.core import geometry

PAGE = (Path(__file__).parents[1] / "docs/CONVENTIONS.md").read_text()
RIGHT_DOWN_FRONT = np.array([1.0, 2.0, 5.0])
"""A point in a camera with our axes."""


def some_pose() -> np.ndarray:
    twist = torch.tensor([0.3, -0.5, 0.2, 1.0, -2.0, 0.5], dtype=torch.float64)
    pose: np.ndarray = geometry.exp_se3(twist).numpy()
    return pose


def in_world(world_from_cam: np.ndarray) -> np.ndarray:
    point: np.ndarray = world_from_cam @ np.append(RIGHT_DOWN_FRONT, 1.0)
    return point[:3]


def row_of(tool: str) -> list[str]:
    """Return the pieces of code in the last column of a tool's row."""
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {tool}"))
    return re.findall(r"`([^`]+)`", row.split("|")[5])


def test_the_nerfstudio_camera_looks_along_minus_z_with_y_up() -> None:
    world_from_cam = some_pose()
    world_from_gl = eval(row_of("nerfstudio")[0], {"np": np, "world_from_cam": world_from_cam})
    seen = np.linalg.inv(world_from_gl) @ np.append(in_world(world_from_cam), 1.0)
    np.testing.assert_allclose(seen[:3], [1.0, -2.0, -5.0], atol=1e-12)


def test_the_pytorch3d_camera_has_x_left_and_y_up() -> None:
    names = {"np": np, "cam_from_world": np.linalg.inv(some_pose())}
    for code in row_of("PyTorch3D"):
        exec(code, names)
    seen = in_world(some_pose()) @ names["R"] + names["T"]
    np.testing.assert_allclose(seen, [-1.0, -2.0, 5.0], atol=1e-12)


def test_a_pixel_with_depth_is_the_world_point_of_the_page() -> None:
    formula = re.search(r"^    (world_from_cam @ \[.*\])$", PAGE, flags=re.MULTILINE)
    assert formula is not None
    fx, fy, cx, cy = 500.0, 480.0, 320.0, 240.0
    intrinsics = torch.tensor([fx, fy, cx, cy], dtype=torch.float64)
    pixel = geometry.project(torch.tensor(RIGHT_DOWN_FRONT)[None], intrinsics)[0].numpy()
    names = {"fx": fx, "fy": fy, "cx": cx, "cy": cy, "u": pixel[0], "v": pixel[1], "z": 5.0}
    point = eval(formula[1], {**names, "world_from_cam": some_pose()})
    np.testing.assert_allclose(point[:3], in_world(some_pose()), atol=1e-12)


def test_rotation_vectors_of_rotations_come_back() -> None:
    axes = torch.nn.functional.normalize(
        torch.randn((6, 3), generator=torch.Generator().manual_seed(0)).double(), dim=1
    )
    angles = torch.tensor([0.0, 1e-9, 1e-5, 0.5, 2.0, 3.1]).double()
    vectors = axes * angles[:, None]
    rotations = geometry.exp_se3(torch.cat((vectors, 0 * vectors), dim=1))[:, :3, :3]
    # near half a turn the sine loses digits: 3.1 rad keeps 14 of 16
    torch.testing.assert_close(geometry.log_so3(rotations), vectors, rtol=1e-12, atol=1e-15)
    half = torch.diag(torch.tensor([1.0, -1.0, -1.0]).double())
    assert geometry.log_so3(half).isfinite().all()
