"""Projection and its inverse: the ways to move static pixels agree, for arrays, tensors, one camera and many."""

import numpy as np
import torch

from recon4d.core.geometry import (
    MIN_DEPTH_RATIO,
    depth_ratio_plane,
    exp_se3,
    normalised,
    project,
    rays,
    rays_by_column,
    relative_cameras,
    scene_rays,
    static_pixels,
    transfer,
)
from recon4d.core.pinhole import (
    field_of_view,
    length_at,
    project_array,
    rays_array,
    view_angle,
)
from recon4d.core.scene import Scene

FRAMES, POINTS = 4, 50


def small_scene() -> Scene:
    generator = torch.Generator().manual_seed(0)
    twists = 0.1 * torch.randn((FRAMES, 6), dtype=torch.float64, generator=generator)
    intrinsics = np.array([[100.0 + n, 110.0, 64.0, 48.0] for n in range(FRAMES)])
    return Scene(
        world_from_cam=exp_se3(twists).numpy(),
        intrinsics=intrinsics,
        samples_px=np.zeros((FRAMES, 1, 2), np.float32),
        inverse_depth=np.ones((FRAMES, 1), np.float32),
        inverse_depth_std=np.ones((FRAMES, 1), np.float32),
        is_posed=np.ones(FRAMES, bool),
        component=np.zeros(FRAMES, np.int64),
    )


def points() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    uv = torch.rand((POINTS, 2), generator=generator) * 90
    return uv, 0.2 + torch.rand(POINTS, generator=generator)


def test_back_projection_is_the_same_in_every_layout() -> None:
    uv, intrinsics = points()[0].double(), torch.tensor([100.0, 110.0, 64.0, 48.0]).double()
    expected = rays(uv, intrinsics)
    assert torch.equal(rays_by_column(uv.T, intrinsics).T, expected)
    assert torch.equal(normalised(uv.T, intrinsics).T, expected[:, :2])
    assert (rays_array(uv.numpy(), intrinsics.numpy()) == expected.numpy()).all()
    torch.testing.assert_close(project(expected, intrinsics), uv)
    behind = expected.numpy() * np.linspace(-2, 3, POINTS)[:, None]
    found = project_array(behind, intrinsics.numpy())
    assert (found == project(torch.from_numpy(behind), intrinsics).numpy()).all()


def test_lengths_in_pixels_are_lengths_at_a_depth() -> None:
    intrinsics = np.array([100.0, 110.0, 64.0, 48.0])
    ends = rays_array(np.array([(3.0, 7.0), (8.0, 7.0)]), intrinsics) * 4.0
    assert np.isclose(length_at(4.0, 5.0, 100.0), np.linalg.norm(ends[1] - ends[0]))
    assert length_at(1.0, 5.0, 100.0) == view_angle(5.0, 100.0)


def test_the_field_of_view_is_that_between_the_first_and_the_last_row() -> None:
    down, aspect = field_of_view((128, 96), np.array([100.0, 110.0, 64.0, 48.0]))
    upper, lower = rays_array(np.array([(64.0, 0.0), (64.0, 96.0)]), np.array([1e2, 110, 64, 48]))
    cosine = upper @ lower / (np.linalg.norm(upper) * np.linalg.norm(lower))
    assert np.isclose(down, np.arccos(cosine))
    assert np.isclose(aspect, (128 / 100) / (96 / 110))


def test_static_pixels_of_many_frames_are_those_of_transfer() -> None:
    scene, (uv, rho) = small_scene(), points()
    targets = np.array([1, 2, 3])
    found, ratio = static_pixels(
        *relative_cameras(scene, 0, targets), scene_rays(scene, 0, uv), rho
    )
    for at, target in enumerate(targets):
        relative = np.linalg.inv(scene.world_from_cam[target]) @ scene.world_from_cam[0]
        k = torch.from_numpy(scene.intrinsics)
        there, depth_ratio = transfer(
            uv.double(), rho.double(), torch.from_numpy(relative), k[0], k[target]
        )
        torch.testing.assert_close(found[at].T.double(), there, rtol=0, atol=1e-4)
        torch.testing.assert_close(ratio[at].double(), depth_ratio, rtol=0, atol=1e-6)


def test_the_depth_ratio_is_read_off_in_the_target_as_well() -> None:
    scene, (uv, rho) = small_scene(), points()
    targets = np.array([2])
    there, ratio = static_pixels(
        *relative_cameras(scene, 0, targets), scene_rays(scene, 0, uv), rho
    )
    by_u, by_v, constant, by_inverse_depth = depth_ratio_plane(scene, 0, targets).float()
    back = by_u * there[:, 0] + by_v * there[:, 1] + constant + by_inverse_depth * rho / ratio
    torch.testing.assert_close(back * ratio, torch.ones_like(back), rtol=0, atol=1e-5)


def test_points_behind_the_target_are_told_and_stay_finite() -> None:
    turned, moved = torch.eye(3)[None], torch.tensor([[0.0, 0.0, -2.0]])
    there, ratio = static_pixels(turned, moved, torch.ones(1, 3), torch.ones(1))
    assert float(ratio) <= MIN_DEPTH_RATIO and torch.isfinite(there).all()
