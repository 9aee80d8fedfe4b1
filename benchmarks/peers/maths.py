"""The maths of DUSt3R and MonST3R: recon4d's functions against the official numbers.

Numbers here that name no source were set by hand.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.parity import Compared, Fixture
from benchmarks.peers import objective as peers
from benchmarks.peers import two_views
from benchmarks.peers.measures import METRIC_TOLERANCE
from benchmarks.peers.objective import FlowSeen, Parameters, Pointmaps

Array = NDArray[Any]
FLOW_ATOL = 2e-5
"""Pixels; of golden/README.md."""
LOSS_RTOL = LOSS_ATOL = 1e-6
"""Of golden/README.md."""
POSE_ATOL = 2e-2
"""Of PnP: depends on the solver's version."""
GRADIENT_RTOL, GRADIENT_ATOL = 1e-4, 2e-6
"""Theirs are float32 sums over thousands of terms, ours float64."""
L2_RTOL = 2e-6
"""The fixture's own re-derivation is 5e-6 off 44 with squared distances."""
MISSING_CENTRE = (13.0, 11.0)
"""Principal point of one case, which is not stored: the integers at which all three focal lengths agree."""


def _wide(array: Array) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float64))


def _losses(fixture: Fixture, ours: Mapping[str, Tensor]) -> list[Compared]:
    found = {name: value.detach() for name, value in ours.items()}
    return fixture.against(found, LOSS_ATOL, LOSS_RTOL)


def _inputs(fixture: Fixture, prefix: str) -> tuple[Parameters, Pointmaps]:
    a = {k.removeprefix(prefix): v for k, v in fixture.arrays.items() if k.startswith(prefix)}
    names = [field.name for field in dataclasses.fields(Parameters)]
    pairs = Pointmaps(
        torch.from_numpy(a["edges"]).long(),
        (_wide(a["pred_i"]), _wide(a["pred_j"])),
        (_wide(a["conf_i"]), _wide(a["conf_j"])),
    )
    return Parameters(**{name: _wide(a[name]) for name in names}), pairs


def _gradients(
    fixture: Fixture, prefix: str, parameters: Parameters, loss: Callable[[Parameters], Tensor]
) -> list[Compared]:
    found = peers.gradients(parameters, loss)
    named = {f"{prefix}/grad_{name}": value for name, value in found.items()}
    return fixture.against(named, GRADIENT_ATOL, GRADIENT_RTOL)


# ---------------------------------------------------------------- DUSt3R's alignment


def compare_alignment(fixture: Fixture) -> list[Compared]:
    """Compare DUSt3R's global alignment: loss, its variants, gradients, quantities in between, first steps."""
    parameters, pairs = _inputs(fixture, "in/")

    def loss(free: Parameters) -> Tensor:
        return peers.alignment_loss(free, pairs)

    return (
        _alignment_losses(fixture, parameters, pairs)
        + _gradients(fixture, "dust3r", parameters, loss)
        + _quantities(fixture, parameters, pairs)
        + _first_steps(fixture, parameters, loss)
    )


def _alignment_losses(fixture: Fixture, parameters: Parameters, pairs: Pointmaps) -> list[Compared]:
    plain = peers.alignment_loss(parameters, pairs)
    free_scale = peers.alignment_loss(parameters, pairs, is_normalised=False)
    found = {
        "dust3r/loss": plain,
        "dust3r/loss_base_class_loop": plain,
        "dust3r/loss_no_pw_scale_norm": free_scale,
    }
    for weight in peers.WEIGHTS:
        name = f"dust3r/loss_dist-l1_conf-{weight}"
        found[name] = peers.alignment_loss(parameters, pairs, weight)
    squared = {
        f"dust3r/loss_dist-l2_conf-{weight}": peers.alignment_loss(parameters, pairs, weight, True)
        for weight in peers.WEIGHTS
    }
    return _losses(fixture, found) + fixture.against(squared, LOSS_ATOL, L2_RTOL)


def _quantities(fixture: Fixture, parameters: Parameters, pairs: Pointmaps) -> list[Compared]:
    size, scale = pairs.size, peers.pair_scales(parameters)
    moved = peers.poses_of(parameters.pw_poses)
    moved[:, :3] *= scale[:, None, None]
    matrix = torch.eye(3).double().repeat(len(parameters.im_poses), 1, 1)
    cameras = peers.intrinsics(parameters, size)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, :2, 2] = *cameras[:, :2].T, cameras[:, 2:]
    best = torch.stack(
        [
            torch.cat([pairs.confidence[s][pairs.edges[:, s] == n] for s in (0, 1)]).amax(0)
            for n in range(len(matrix))
        ]
    )
    found = {
        "mid/pw_poses_4x4": moved,
        "mid/pw_scale": scale,
        "mid/adaptors": peers.adaptors(parameters),
        "mid/im_poses_c2w": peers.poses_of(parameters.im_poses),
        "mid/intrinsics": matrix,
        "mid/depthmaps": parameters.im_depthmaps.exp().reshape(-1, *size),
        "mid/pts3d_world": peers.world_points(parameters, size).mT.reshape(-1, *size, 3),
        "mid/im_conf": best,
        "mid/weight_i": pairs.confidence[0].log(),
    }
    return fixture.against(found, LOSS_ATOL)


def _first_steps(
    fixture: Fixture, parameters: Parameters, loss: Callable[[Parameters], Tensor]
) -> list[Compared]:
    steps = len(fixture.arrays["adam/loss"])
    losses, after = peers.adam_steps(parameters, loss, steps)
    rates = np.array([peers.cosine_rate(step) for step in range(steps)])
    named = after.named()
    kept = {f"adam/{name}_after": named[name].detach() for name in STEPPED}
    return (
        fixture.against({"adam/loss": np.array(losses)}, LOSS_ATOL, GRADIENT_RTOL)
        + fixture.against({"adam/lr": rates}, 1e-9)
        + fixture.against(kept, STEP_ATOL)
    )


STEPPED = ("im_poses", "im_depthmaps", "pw_poses")
"""Parameters that are stored after the first steps."""
STEP_ATOL = 1e-5
"""A thousandth of the first step: Adam divides by the gradients' size, so that rounding of small ones counts."""


# ---------------------------------------------------------------- MonST3R


def compare_monst3r(fixture: Fixture) -> list[Compared]:
    """Compare MonST3R's motion masks, focal lengths, two-view cameras and whole objective."""
    return [
        *_ego_flow(fixture),
        *_motion_mask(fixture),
        *_focal(fixture),
        *_two_views(fixture),
        *_objective(fixture),
        *_smooth_l1(fixture),
        *_depth_loss(fixture),
    ]


def _cameras(matrices: Array) -> Tensor:
    wide = _wide(matrices)
    return torch.stack((wide[:, 0, 0], wide[:, 1, 1], wide[:, 0, 2], wide[:, 1, 2]), 1)


def _ego(
    depth: Array, source: tuple[Array, Array], target: tuple[Array, Array]
) -> tuple[Tensor, Tensor]:
    """Flow and landing pixels from (pose, intrinsics) to (pose, intrinsics)."""
    size = (depth.shape[-2], depth.shape[-1])
    relative = torch.linalg.inv(_wide(target[0])) @ _wide(source[0])
    flat = _wide(depth).reshape(len(depth), -1)
    flow, landed = peers.ego_flow(flat, relative, _cameras(source[1]), _cameras(target[1]), size)
    return flow.reshape(-1, 3, *size), landed


def _ego_flow(fixture: Fixture) -> list[Compared]:
    a = fixture.arrays
    one, two = ((a[f"ego/pose{k}_c2w"], a[f"ego/K{k}"]) for k in (1, 2))
    forth, landed = _ego(a["ego/depth1"], one, two)
    back, _ = _ego(a["ego/depth2"], two, one)
    found = {"ego/flow_1to2": forth, "ego/coord_1to2": landed, "ego/flow_2to1": back}
    return fixture.against(found, FLOW_ATOL)


def _motion_mask(fixture: Fixture) -> list[Compared]:
    a = fixture.arrays
    i, j = ((a[f"mask/pose_{s}_c2w"], a[f"mask/K_{s}"]) for s in "ij")
    forth, back = _ego(a["mask/depth_i"], i, j)[0], _ego(a["mask/depth_j"], j, i)[0]
    count = len(forth)
    errors = (
        (forth[:, :2] - _wide(a["mask/flow_ij"][:count])).norm(dim=1),
        (back[:, :2] - _wide(a["mask/flow_ji"][:count])).norm(dim=1),
    )
    edges = torch.from_numpy(a["mask/edges"][:count]).long()
    maps = peers.mean_error_maps(edges, errors, len(a["mask/mean_error_map"]))
    flows = {"mask/ego_flow_ij": forth, "mask/ego_flow_ji": back}
    return [
        *fixture.against(flows, FLOW_ATOL),
        *fixture.against({"mask/mean_error_map": maps}, METRIC_TOLERANCE),
        *fixture.against({"mask/threshold": peers.MASK_ABOVE}, 1e-7),
        *fixture.against({"mask/dynamic_mask": maps > peers.MASK_ABOVE}, 0, 0),
    ]


def _focal(fixture: Fixture) -> list[Compared]:
    points, centre = (fixture.tensor(f"focal/{k}").double() for k in ("pts3d", "pp_xy"))
    found = {
        "focal/weiszfeld": two_views.focals(points, centre),
        "focal/median": torch.stack([two_views.median_focal(one, centre) for one in points]),
        "focal/weiszfeld_offcentre_pp": two_views.focals(
            points, torch.tensor(MISSING_CENTRE).double()
        ),
    }
    return fixture.against(found, LOSS_ATOL, METRIC_TOLERANCE)


def _two_views(fixture: Fixture) -> list[Compared]:
    a = fixture.arrays
    pairs = Pointmaps(
        torch.tensor([[0, 1], [1, 0]]),
        (_wide(a["pair/pred_i"]), _wide(a["pair/pred_j"])),
        (_wide(a["pair/conf_i"]), _wide(a["pair/conf_j"])),
    )
    seen = two_views.two_views(pairs)
    height, width = pairs.size
    matrix = torch.eye(3).double().repeat(2, 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = seen.focal_px
    matrix[:, :2, 2] = torch.tensor([width / 2, height / 2])
    exact = {"pair/focals": seen.focal_px, "pair/K": matrix, "pair/edge_conf": seen.edge_confidence}
    by_pnp = {"pair/im_poses_c2w": seen.world_from_cam, "pair/depth": seen.depth}
    return fixture.against(exact, METRIC_TOLERANCE) + fixture.against(by_pnp, POSE_ATOL)


def _objective(fixture: Fixture) -> list[Compared]:
    a = fixture.arrays
    parameters, pairs = _inputs(fixture, "ga/in/")
    shared = dataclasses.replace(parameters, im_focals=parameters.im_focals[:1])
    seen = FlowSeen(
        _wide(a["ga/flow/flow_ij"]),
        _wide(a["ga/flow/flow_ji"]),
        torch.from_numpy(a["ga/flow/dynamic_masks"]) > 0,
    )
    residuals = peers.flow_residuals(shared, pairs, seen)
    flows = {
        f"ga/flow/ego_{side}": ego.reshape(-1, 2, *pairs.size)
        for side, (ego, _) in zip(("ij", "ji"), residuals, strict=True)
    }
    return [
        *fixture.against(flows, FLOW_ATOL),
        *_losses(fixture, _monst3r_losses(fixture, shared, pairs, seen)),
        *_gradients(
            fixture, "ga/full", shared, lambda free: peers.monst3r_loss(free, pairs, seen)[0]
        ),
    ]


def _monst3r_losses(
    fixture: Fixture, shared: Parameters, pairs: Pointmaps, seen: FlowSeen
) -> dict[str, Tensor]:
    poses, start = peers.poses_of(shared.im_poses), int(peers.FLOW_STARTS * peers.ITERATIONS)
    steps = peers.smoothness(poses)
    full, flow = peers.monst3r_loss(shared, pairs, seen)
    early, _ = peers.monst3r_loss(shared, pairs, seen, epoch=start - 1)
    above, no_flow = peers.monst3r_loss(shared, pairs, seen, flow_limit=float(flow) / 2)
    initial = _wide(fixture.arrays["ga/depthreg/init_depthmaps"]).flatten(1)
    depth = peers.depth_loss(shared.im_depthmaps.exp(), initial, seen.is_dynamic.flatten(1))
    return {
        "ga/smooth/per_pair": steps,
        "ga/smooth/sum": steps.sum(),
        "ga/smooth/sum_translation_weight0.1": peers.smoothness(poses, 0.1).sum(),
        "ga/noflow/loss": early,
        "ga/noflow/loss_no_smooth": peers.alignment_loss(shared, pairs),
        "ga/noflow/loss_non_batchify": early,
        "ga/flow/flow_loss": flow,
        "ga/full/loss": full,
        "ga/flow/loss_before_start_epoch": early,
        "ga/flow/loss_at_start_epoch": peers.monst3r_loss(shared, pairs, seen, epoch=start)[0],
        "ga/flow/loss_when_above_thre": above,
        "ga/flow/flow_loss_when_above_thre": no_flow,
        "ga/flow/loss_non_batchify": peers.monst3r_loss(shared, pairs, seen, is_batched=False)[0],
        "ga/depthreg/loss": full + DEPTH_WEIGHT * depth,
    }


DEPTH_WEIGHT = 0.1
"""Of the depth term in the one case that has it."""


def _smooth_l1(fixture: Fixture) -> list[Compared]:
    a = fixture.arrays
    off = _wide(a["ga/smoothl1/est"]) - _wide(a["ga/smoothl1/gt"])
    keep = torch.from_numpy(a["ga/smoothl1/keep_mask"][:, 0] > 0)
    off, keep = off.flatten(2), keep.flatten(1)
    return _losses(
        fixture,
        {
            "ga/smoothl1/thre50": peers.smooth_l1(off, keep),
            "ga/smoothl1/thre0": peers.smooth_l1_per_pixel(off, keep),
        },
    )


def _depth_loss(fixture: Fixture) -> list[Compared]:
    pred, init, mask = (_wide(fixture.arrays[f"sidepth/{k}"]) for k in ("pred", "init", "mask"))
    loss = peers.depth_loss(pred.flatten(1), init.flatten(1), mask.flatten(1) > 0)
    return _losses(fixture, {"sidepth/loss": loss})
