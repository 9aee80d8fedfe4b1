"""Projective geometry on batches of torch tensors: SE(3), pinhole cameras, ego-flow.

Poses map points from the second-named frame to the first: `x_a = a_from_b @ x_b`. Twists are (rotation, translation).
Back-projection, projection and transfer of static pixels: nothing but this and `recon4d.core.pinhole`, which has the
same for numpy arrays, divides by a focal length.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from recon4d.core.scene import Scene

MIN_DEPTH_RATIO = 0.05
"""A point nearer to the target camera than this part of its depth in the source is treated as behind it: the derivative
of its pixel by inverse depth grows with the square of the ratio's inverse, here 400. Nothing measured set it."""


def invert_rigid(a_from_b: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Invert rigid transforms without a linear solve."""
    rotation_t = a_from_b[..., :3, :3].transpose(-1, -2)
    translation = -(rotation_t @ a_from_b[..., :3, 3:])
    return rigid(rotation_t, translation[..., 0])


def orthonormal(a_from_b: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Rigid transforms without the rounding errors of the products that they come from.

    Products of many transforms drift off the rotation group, exponentially so when inverses are taken by transposition.
    One Newton step towards the polar factor (Higham, 1986) squares a drift of 1e-8 to below rounding; unlike an SVD it
    makes no device wait.
    """
    rotation = a_from_b[..., :3, :3]
    three = 3 * torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    nearer = 0.5 * rotation @ (three - rotation.transpose(-1, -2) @ rotation)
    return rigid(nearer, a_from_b[..., :3, 3])


def orthonormal_array(matrix: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "3 3"]:
    """The rotation nearest to a matrix (Wahba's problem)."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right)


def rigid(
    rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """Assemble 4x4 rigid transforms from rotation matrices and translations."""
    top = torch.cat((rotation, translation[..., None]), dim=-1)
    bottom = top.new_zeros((*top.shape[:-2], 1, 4))
    bottom[..., 0, 3] = 1
    return torch.cat((top, bottom), dim=-2)


def skew(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Matrix of the cross product: `skew(a) @ b = a x b`."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = (zero, -z, y, z, zero, -x, -y, x, zero)
    return torch.stack(rows, dim=-1).reshape(*vector.shape[:-1], 3, 3)


def exp_se3(twist: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
    """Exponential map of SE(3); the twist is (rotation vector, translation part).

    Exact to rounding for all angles: the coefficients switch to their Taylor series below 1e-4 rad, where the next
    term is under 1e-18 relative.
    """
    omega, upsilon = twist[..., :3], twist[..., 3:]
    angle2 = (omega * omega).sum(-1)[..., None, None]
    small = angle2 < 1e-8
    safe = torch.where(small, torch.ones_like(angle2), angle2)
    angle = safe.sqrt()
    a = torch.where(small, 1 - angle2 / 6, angle.sin() / angle)
    b = torch.where(small, 0.5 - angle2 / 24, (1 - angle.cos()) / safe)
    c = torch.where(small, 1 / 6 - angle2 / 120, (1 - angle.sin() / angle) / safe)
    k = skew(omega)
    k2 = k @ k
    eye = torch.eye(3, dtype=twist.dtype, device=twist.device)
    return rigid(eye + a * k + b * k2, ((eye + b * k + c * k2) @ upsilon[..., None])[..., 0])


def log_so3(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vector of rotations; its length is exact everywhere, its direction is noise near half a turn.

    Without a branch that depends on the data (roma's has one), so that no device makes the host wait.
    """
    odd = 0.5 * (rotation - rotation.transpose(-1, -2))
    axis = torch.stack((odd[..., 2, 1], odd[..., 0, 2], odd[..., 1, 0]), dim=-1)
    sine = axis.norm(dim=-1, keepdim=True)
    cosine = 0.5 * (rotation.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) - 1)
    small = (sine < 1e-6) & (cosine > 0)  # the next term of the series is below 1e-24
    ratio = torch.atan2(sine, cosine) / torch.where(
        small, torch.ones_like(sine), sine.clamp_min(torch.finfo(sine.dtype).tiny)
    )
    return axis * torch.where(small, 1 + sine.square() / 6, ratio)


def adjoint_se3(a_from_b: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 6 6"]:
    """Adjoint: `T exp(x) T^-1 = exp(Ad(T) x)` for twists (rotation, translation)."""
    rotation = a_from_b[..., :3, :3]
    top = torch.cat((rotation, torch.zeros_like(rotation)), dim=-1)
    bottom = torch.cat((skew(a_from_b[..., :3, 3]) @ rotation, rotation), dim=-1)
    return torch.cat((top, bottom), dim=-2)


def rays(
    uv_px: Float[Tensor, "*batch points 2"], intrinsics: Float[Tensor, "*batch 4"]
) -> Float[Tensor, "*batch points 3"]:
    """Viewing rays with unit z of pixels `(u, v)`; `ray * z_depth` is the 3D point in the camera frame."""
    focal, centre = intrinsics[..., None, :2], intrinsics[..., None, 2:]
    xy = (uv_px - centre) / focal
    return torch.cat((xy, torch.ones_like(xy[..., :1])), dim=-1)


def rays_by_column(
    uv_px: Float[Tensor, "*#batch 2 samples"], intrinsics: Float[Tensor, "*#batch 4"]
) -> Float[Tensor, "*batch 3 samples"]:
    """`rays` with the samples last, so that every operation runs over contiguous memory."""
    planar = normalised(uv_px, intrinsics)
    return torch.cat((planar, torch.ones_like(planar[..., :1, :])), dim=-2)


def normalised(
    uv_px: Float[Tensor, "*#batch 2 samples"], intrinsics: Float[Tensor, "*#batch 4"]
) -> Float[Tensor, "*batch 2 samples"]:
    """Image coordinates of pixels on the plane z = 1."""
    return (uv_px - intrinsics[..., 2:, None]) / intrinsics[..., :2, None]


def project(
    points: Float[Tensor, "*batch points 3"], intrinsics: Float[Tensor, "*batch 4"]
) -> Float[Tensor, "*batch points 2"]:
    """Pixels `(u, v)` of points in the camera frame; not finite for z = 0, mirrored for z < 0: check z first."""
    focal, centre = intrinsics[..., None, :2], intrinsics[..., None, 2:]
    return points[..., :2] / points[..., 2:] * focal + centre


def transfer(
    uv_px: Float[Tensor, "*batch points 2"],
    inverse_depth: Float[Tensor, "*batch points"],
    target_from_source: Float[Tensor, "*batch 4 4"],
    intrinsics_source: Float[Tensor, "*batch 4"],
    intrinsics_target: Float[Tensor, "*batch 4"],
) -> tuple[Float[Tensor, "*batch points 2"], Float[Tensor, "*batch points"]]:
    """Where static pixels of the source camera appear in the target camera.

    Works with the homogeneous point `ray + t * inverse_depth`, so that points at infinity (inverse depth 0) are exact.

    Returns:
        Pixels `(u, v)` in the target, and the ratio of the point's depth there to its depth in the source (<= 0 means
        behind the target camera; its pixel is then meaningless).
    """
    rotation, translation = target_from_source[..., :3, :3], target_from_source[..., :3, 3]
    moved = rays(uv_px, intrinsics_source) @ rotation.transpose(-1, -2)
    moved = moved + inverse_depth[..., None] * translation[..., None, :]
    return project(moved, intrinsics_target), moved[..., 2]


def relative_cameras(
    scene: Scene, source: int, targets: Int64[np.ndarray, " edges"]
) -> tuple[Float[Tensor, "edges 3 3"], Float[Tensor, "edges 3"]]:
    """Float32 `(K_target R, K_target t)` with `target_from_source = (R, t)`, multiplied out in float64.

    K maps a unit-z ray to pixels, so that `K R ray + inverse_depth * K t` is the homogeneous pixel in the target
    (Hartley and Zisserman, Multiple View Geometry, 2004, Eq. 9.7, times the inverse depth).
    """
    poses = torch.from_numpy(np.ascontiguousarray(scene.world_from_cam)).double()
    target_from_world = poses[torch.from_numpy(targets), :3, :3].transpose(-1, -2)
    centres = poses[:, :3, 3:]
    step = centres[source] - centres[torch.from_numpy(targets)]  # of a still camera exactly 0
    fx, fy, cx, cy = torch.from_numpy(scene.intrinsics[targets]).double().unbind(-1)
    calibration = torch.zeros((len(targets), 3, 3), dtype=torch.float64)
    calibration[:, 0, 0], calibration[:, 0, 2] = fx, cx
    calibration[:, 1, 1], calibration[:, 1, 2] = fy, cy
    calibration[:, 2, 2] = 1
    turned = calibration @ target_from_world @ poses[source, :3, :3]
    moved = (calibration @ target_from_world @ step)[..., 0]
    return turned.float(), moved.float()


def static_pixels(
    turned: Float[Tensor, "*edges 3 3"],
    moved: Float[Tensor, "*edges 3"],
    ray: Float[Tensor, "points 3"],
    inverse_depth: Float[Tensor, " points"],
) -> tuple[Float[Tensor, "*edges 2 points"], Float[Tensor, "*edges points"]]:
    """Where points of the source appear in the targets if they do not move: `transfer` for maps of many frames.

    Args:
        turned: See `relative_cameras`.
        moved: See there.
        ray: With unit z, in the source (`scene_rays`).
        inverse_depth: In the source.

    Returns:
        Pixels (u, v), and depth in the target over that in the source. At `MIN_DEPTH_RATIO` and below the point is
        behind the target; its pixel is then that of a point at this ratio.
    """
    point = torch.matmul(turned, ray.T).addcmul_(moved[..., None], inverse_depth)
    ratio = point[..., 2, :]
    return point[..., :2, :] / ratio.clamp_min(MIN_DEPTH_RATIO)[..., None, :], ratio


def scene_rays(
    scene: Scene, frame: int, uv_px: Float[Tensor, "points 2"]
) -> Float[Tensor, "points 3"]:
    """Float32 viewing rays with unit z of pixels of a frame, on the device of the pixels."""
    return rays(uv_px, torch.from_numpy(scene.intrinsics[frame]).float().to(uv_px.device))


def depth_ratio_plane(
    scene: Scene, source: int, targets: Int64[np.ndarray, " edges"]
) -> Float[Tensor, "4 edges 1"]:
    """Depth in the source over that in the target, of points given in the target; float64.

    It is linear in (u, v, 1, inverse depth) of the target; these are the four factors.
    """
    poses = torch.from_numpy(np.ascontiguousarray(scene.world_from_cam)).double()
    source_from_target = invert_rigid(poses[source]) @ poses[torch.from_numpy(targets)]
    turn_x, turn_y, turn_z, move_z = source_from_target[:, 2, :, None].unbind(1)
    fx, fy, cx, cy = torch.from_numpy(scene.intrinsics[targets][..., None]).double().unbind(1)
    constant = turn_z - turn_x * cx / fx - turn_y * cy / fy
    return torch.stack((turn_x / fx, turn_y / fy, constant, move_z))
