"""The published objectives of DUSt3R and MonST3R with recon4d's terms, where they differ from recon4d's own objective.

Only `benchmarks.parity` uses this. Poses are world_from_cam, pixels integer, the principal point the centre plus ten
times its parameter; parameters are what the official optimisers step on (README of the parity fixtures).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import roma
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from recon4d.core.geometry import invert_rigid
from recon4d.optim.objective.flow_term import flow_consistency
from recon4d.optim.objective.terms import pointmap_alignment

EPSILON = 1e-6
"""Added to depths that divide."""
MASK_ABOVE = 0.35
"""Mean error map above which MonST3R calls a pixel dynamic."""
DROPPED_ABOVE = 50.0
"""Components whose smooth-L1 loss is so large do not count."""
SMOOTH_WEIGHT = FLOW_WEIGHT = 0.01
"""Of the smoothness of the path and of the flow, beside the alignment of pointmaps."""
FLOW_STARTS = 0.1
"""Part of the iterations without a flow term."""
ITERATIONS = 300
"""Steps of Adam."""
FIRST_RATE, LAST_RATE = 0.01, 1e-6
"""Learning rates of the first and the last of them."""
BASE_SCALE = 0.5
"""Geometric mean of the scales of pairs."""

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "log": torch.log,
    "sqrt": torch.sqrt,
    "m1": lambda confidence: confidence - 1,
    "id": lambda confidence: confidence,
}
"""From confidence to weight."""


@dataclass(frozen=True)
class Parameters:
    """What the optimisers step on."""

    pw_poses: Float[Tensor, "edges 8"]
    """Quaternion xyzw, sign * log1p |translation|, log scale."""
    pw_adaptors: Float[Tensor, "edges 2"]
    im_depthmaps: Float[Tensor, "frames samples"]
    """Log depth."""
    im_poses: Float[Tensor, "frames 7"]
    im_focals: Float[Tensor, "cameras 1"]
    """20 log f; of one camera where frames share it."""
    im_pp: Float[Tensor, "frames 2"]

    def named(self) -> dict[str, Tensor]:
        """Every parameter by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def free(self) -> "Parameters":
        """A copy that gradients are taken of."""
        return Parameters(
            **{k: v.detach().clone().requires_grad_() for k, v in self.named().items()}
        )


@dataclass(frozen=True)
class Pointmaps:
    """Predictions for directed pairs, both in the frame of the first image."""

    edges: Int[Tensor, "edges 2"]
    points: tuple[Float[Tensor, "edges height width 3"], Float[Tensor, "edges height width 3"]]
    confidence: tuple[Float[Tensor, "edges height width"], Float[Tensor, "edges height width"]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.confidence[0].shape[1:]
        return height, width


@dataclass(frozen=True)
class FlowSeen:
    """Estimated flow of every directed pair, from its first image to its second and back."""

    forth: Float[Tensor, "edges 2 height width"]
    back: Float[Tensor, "edges 2 height width"]
    is_dynamic: Bool[Tensor, "frames height width"]


def pixel_grid(size: tuple[int, int]) -> Float64[Tensor, "2 samples"]:
    """Integer pixels (u, v), rows first."""
    v, u = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return torch.stack((u, v)).flatten(1).double()


def poses_of(parameters: Float[Tensor, "count channels"]) -> Float[Tensor, "count 4 4"]:
    """Rigid motions; the quaternions need not be of length one."""
    rotation = roma.unitquat_to_rotmat(torch.nn.functional.normalize(parameters[:, :4], dim=1))
    stored = parameters[:, 4:7]
    top = torch.cat((rotation, (stored.sign() * torch.expm1(stored.abs()))[..., None]), -1)
    bottom = torch.tensor([0, 0, 0, 1.0], dtype=top.dtype).expand(len(top), 1, 4)
    return torch.cat((top, bottom), 1)


def pair_scales(parameters: Parameters, is_normalised: bool = True) -> Float[Tensor, " edges"]:
    """Scale of every pair; normalised: their geometric mean is `BASE_SCALE`."""
    log_scale = parameters.pw_poses[:, 7]
    gauge = math.log(BASE_SCALE) - log_scale.mean() if is_normalised else 0.0
    return (log_scale + gauge).exp()


def adaptors(parameters: Parameters, is_normalised: bool = True) -> Float[Tensor, "edges 3"]:
    """Factors of x, y and z of every pair; normalised: their geometric mean is 1."""
    across = torch.cat((parameters.pw_adaptors[:, :1], parameters.pw_adaptors), 1)
    mean = across.mean(1, keepdim=True) if is_normalised else 0.0
    return ((across - mean) / 20).exp()


def intrinsics(parameters: Parameters, size: tuple[int, int]) -> Float[Tensor, "frames 4"]:
    """(fx, fy, cx, cy) of every frame."""
    centre = torch.tensor([size[1] / 2, size[0] / 2], dtype=torch.float64) + 10 * parameters.im_pp
    focal = (parameters.im_focals / 20).exp().expand(len(centre), 1)
    return torch.cat((focal, focal, centre), 1)


def world_points(
    parameters: Parameters, size: tuple[int, int]
) -> Float[Tensor, "frames 3 samples"]:
    """The scene that the depth maps show."""
    cameras = intrinsics(parameters, size)
    planar = (pixel_grid(size) - cameras[:, 2:, None]) / cameras[:, :2, None]
    ray = torch.cat((planar, torch.ones_like(planar[:, :1])), 1)
    pose = poses_of(parameters.im_poses)
    return pose[:, :3, :3] @ (ray * parameters.im_depthmaps.exp()[:, None]) + pose[:, :3, 3:]


def alignment_loss(
    parameters: Parameters,
    pairs: Pointmaps,
    weight: str = "log",
    is_squared: bool = False,
    is_normalised: bool = True,
) -> Float[Tensor, ""]:
    """DUSt3R's global alignment: weighted distances between the scene and the pairs' moved points."""
    world = world_points(parameters, pairs.size)
    pose, scale = poses_of(parameters.pw_poses), pair_scales(parameters, is_normalised)
    factors, total = adaptors(parameters, is_normalised), torch.zeros((), dtype=torch.float64)
    for side in (0, 1):
        points = (pairs.points[side].flatten(1, 2) * factors[:, None]).mT
        off = pointmap_alignment(
            points,
            world[pairs.edges[:, side]],
            scale,
            pose[:, :3, :3],
            scale[:, None] * pose[:, :3, 3],
        )
        distance = off.square().sum(1) if is_squared else off.norm(dim=1)
        total = total + (WEIGHTS[weight](pairs.confidence[side].flatten(1)) * distance).mean()
    return total


def ego_flow(
    depth: Float[Tensor, "pairs samples"],
    target_from_source: Float[Tensor, "pairs 4 4"],
    source: Float[Tensor, "pairs 4"],
    target: Float[Tensor, "pairs 4"],
    size: tuple[int, int],
) -> tuple[Float[Tensor, "pairs 3 samples"], Float[Tensor, "pairs 3 samples"]]:
    """Flow that the camera causes, and where pixels land; the third component is left of their depth's ratio."""
    uv = pixel_grid(size)
    origin = torch.zeros_like(uv).expand(len(depth), 2, -1)
    inverse = 1 / (depth + EPSILON)
    term = flow_consistency(uv, origin, inverse, target_from_source, source, target)
    shrink = 1 / (1 + EPSILON * term.inverse_z)
    landed = torch.cat((term.residual_px, torch.ones_like(term.residual_px[:, :1])), 1)
    landed = landed * shrink[:, None]
    return landed - torch.cat((uv, torch.ones_like(uv[:1]))), landed


def mean_error_maps(
    edges: Int[Tensor, "pairs 2"],
    errors: tuple[Float[Tensor, "pairs height width"], Float[Tensor, "pairs height width"]],
    num_frames: int,
) -> Float[Tensor, "frames height width"]:
    """MonST3R's motion maps: every error map stretched into 0 to 1, then the mean over the pairs of a frame.

    Args:
        edges: Each pair once.
        errors: Camera-induced minus estimated flow, pixels: on the first image of every pair, and on the second.
        num_frames: Number of frames.
    """
    low, high = (torch.cat([e.flatten(1).aminmax(dim=1)[k] for e in errors]) for k in (0, 1))
    stretched = (torch.cat(errors) - low[:, None, None]) / (high - low)[:, None, None]
    frame = edges.T.flatten()
    return torch.stack([stretched[frame == index].mean(0) for index in range(num_frames)])


def smooth_l1(
    off: Float[Tensor, "... 2 samples"], keep: Bool[Tensor, "... samples"]
) -> Float[Tensor, ""]:
    """Mean over the components of kept pixels whose loss is below `DROPPED_ABOVE`."""
    loss = _huber(off)
    kept = keep[..., None, :].expand_as(loss) & (loss < DROPPED_ABOVE)
    return loss[kept].mean()


def smooth_l1_per_pixel(
    off: Float[Tensor, "... 2 samples"], keep: Bool[Tensor, "... samples"]
) -> Float[Tensor, ""]:
    """Sum over all components of kept pixels, over the number of those pixels."""
    return (_huber(off) * keep[..., None, :]).sum() / keep.sum()


def _huber(off: Tensor) -> Tensor:
    size = off.abs()
    return torch.where(size < 1, 0.5 * size.square(), size - 0.5)


def smoothness(
    poses: Float[Tensor, "frames 4 4"], translation_weight: float = 1.0
) -> Float[Tensor, " steps"]:
    """How far each frame's camera moves: norm of the rotation minus the identity, and of the translation."""
    step = invert_rigid(poses[:-1]) @ poses[1:]
    turned = (step[:, :3, :3] - torch.eye(3, dtype=step.dtype)).flatten(1).norm(dim=1)
    moved: Tensor = turned + translation_weight * step[:, :3, 3].norm(dim=1)
    return moved


def flow_residuals(
    parameters: Parameters, pairs: Pointmaps, seen: FlowSeen
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Per direction: flow of the camera of every pair, and that minus the estimated flow, (edges, 2, samples)."""
    cameras, poses = intrinsics(parameters, pairs.size), poses_of(parameters.im_poses)
    found = []
    for (source, target), flow in ((pairs.edges.T, seen.forth), (pairs.edges.flip(1).T, seen.back)):
        relative = invert_rigid(poses[target]) @ poses[source]
        depth = parameters.im_depthmaps.exp()[source]
        ego, _ = ego_flow(depth, relative, cameras[source], cameras[target], pairs.size)
        found.append((ego[:, :2], ego[:, :2] - flow.flatten(2)))
    return found[0], found[1]


def flow_loss(
    parameters: Parameters, pairs: Pointmaps, seen: FlowSeen, is_batched: bool = True
) -> Float[Tensor, ""]:
    """MonST3R's flow term on pixels that are static where the flow starts; not batched: mean of the pairs' means."""
    static = ~seen.is_dynamic.flatten(1)
    total = torch.zeros((), dtype=torch.float64)
    for side, (_, off) in enumerate(flow_residuals(parameters, pairs, seen)):
        keep = static[pairs.edges[:, side]]
        each = [smooth_l1(*one) for one in zip(off, keep, strict=True)]
        total = total + (smooth_l1(off, keep) if is_batched else torch.stack(each).mean())
    return total


def depth_loss(
    depth: Float[Tensor, "frames samples"],
    initial: Float[Tensor, "frames samples"],
    is_dynamic: Bool[Tensor, "frames samples"],
) -> Float[Tensor, ""]:
    """Squared difference of log depths up to each frame's scale; dynamic pixels count twice."""
    ours, wanted = depth.clamp_min(EPSILON).log(), initial.clamp_min(EPSILON).log()
    shift = (wanted - ours).mean(1, keepdim=True)
    return ((is_dynamic + 1) * (ours - wanted + shift).square()).mean()


def monst3r_loss(
    parameters: Parameters,
    pairs: Pointmaps,
    seen: FlowSeen,
    epoch: int = ITERATIONS,
    flow_limit: float = 50.0,
    is_batched: bool = True,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The whole objective, and its flow term, which is 0 early on and wherever it exceeds its limit."""
    shared = replace(parameters, im_focals=parameters.im_focals[:1])
    smooth = smoothness(poses_of(shared.im_poses)).sum()
    loss = alignment_loss(shared, pairs) + SMOOTH_WEIGHT * smooth
    flow = torch.zeros_like(loss)
    if epoch >= FLOW_STARTS * ITERATIONS:
        flow = flow_loss(shared, pairs, seen, is_batched)
        flow = torch.where(flow > flow_limit, torch.zeros_like(flow), flow)
    return loss + FLOW_WEIGHT * flow, flow


def cosine_rate(step: int) -> float:
    """Learning rate of a step."""
    return LAST_RATE + (FIRST_RATE - LAST_RATE) * (1 + math.cos(math.pi * step / ITERATIONS)) / 2


def adam_steps(
    parameters: Parameters, loss: Callable[[Parameters], Tensor], steps: int
) -> tuple[list[float], Parameters]:
    """Losses before each of the first steps of the official schedule, and the parameters after them."""
    free = parameters.free()
    adam = torch.optim.Adam(list(free.named().values()), lr=FIRST_RATE, betas=(0.9, 0.9))
    losses = []
    for step in range(steps):
        adam.param_groups[0]["lr"] = cosine_rate(step)
        adam.zero_grad()
        value = loss(free)
        value.backward()  # type: ignore[no-untyped-call]
        adam.step()
        losses.append(value.item())
    return losses, free


def gradients(parameters: Parameters, loss: Callable[[Parameters], Tensor]) -> dict[str, Tensor]:
    """Derivatives of a loss by every parameter."""
    free = parameters.free().named()
    found = torch.autograd.grad(loss(Parameters(**free)), list(free.values()))
    return dict(zip(free, found, strict=True))
