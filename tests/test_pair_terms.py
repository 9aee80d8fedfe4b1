"""The pieces of the pairwise alignment: laws on random inputs, and the peers' published objectives from our terms."""

import numpy as np
import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recon4d.core.geometry import exp_se3, invert_rigid
from recon4d.optim.objective.flow_term import flow_consistency
from recon4d.optim.objective.normal_equations import SolveOptions, linearise, objective
from recon4d.optim.objective.terms import pointmap_alignment
from recon4d.optim.objective.unknowns import Freedom
from recon4d.optim.pairwise.depth import align_scale, align_similarity, fuse
from recon4d.optim.pairwise.grid import (
    clean_points,
    consistency,
    flow_sigma_px,
    forth_and_back,
    length,
)
from recon4d.optim.pairwise.motion import motion_evidence, outside_interval
from recon4d.optim.pairwise.problem import Slots, crease_weight
from recon4d.optim.pairwise.start import (
    chain,
    frame_scales,
    outliers,
    shared_focal,
    spanning_tree,
    weiszfeld_focal,
)
from tests import needs
from tests.test_solver import random_problem

WIDE = torch.float64
FEW = settings(max_examples=25, deadline=None, derandomize=True)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_similarity(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    g = generator(seed)
    scale = torch.randn(count, generator=g, dtype=WIDE).mul(0.5).exp()
    rotation = roma.rotvec_to_rotmat(torch.randn(count, 3, generator=g, dtype=WIDE))
    return scale, rotation, torch.randn(count, 3, generator=g, dtype=WIDE)


# ---------------------------------------------------------------- terms


def test_pointmap_alignment_is_zero_at_the_truth_and_has_the_derivatives_it_claims() -> None:
    scale, rotation, translation = random_similarity(0, 2)
    points = torch.randn((2, 3, 5), generator=generator(1), dtype=WIDE)
    wanted = (scale[:, None, None] * rotation) @ points + translation[..., None]
    zero = pointmap_alignment(points, wanted, scale, rotation, translation)
    torch.testing.assert_close(zero, torch.zeros_like(zero))
    step = 1e-6  # linear: exact but for rounding / step
    shifted = points.clone()
    shifted[:, 1] += step
    numeric = pointmap_alignment(shifted, wanted, scale, rotation, translation) / step
    claimed = (scale[:, None, None] * rotation)[:, :, 1:2].expand(-1, -1, 5)
    torch.testing.assert_close(numeric, claimed, atol=1e-8, rtol=1e-8)


def test_gradient_of_the_prior_gain_matches_finite_differences() -> None:
    from dataclasses import replace

    problem, state = random_problem()
    options = SolveOptions(kernel_px=1.5, gain_px=0.8)
    gain = torch.tensor([0.1, -0.2, 0.05, 0.0], dtype=WIDE)
    freedom = Freedom(torch.ones(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool))
    local = linearise(problem, replace(state, log_gain=gain), freedom, options)
    for frame in range(4):
        delta = torch.zeros(4, dtype=WIDE)
        delta[frame] = 1e-6  # central differences in float64
        up, down = (
            objective(problem, replace(state, log_gain=gain + s * delta), options) for s in (1, -1)
        )
        assert float(local.gain.gradient[frame]) == pytest.approx(
            (up - down) / 2e-6, rel=1e-5, abs=1e-6
        )


# ---------------------------------------------------------------- closed forms


@FEW
@given(st.integers(0, 2**20), st.integers(1, 4))
def test_procrustes_recovers_any_similarity(seed: int, count: int) -> None:
    scale, rotation, translation = random_similarity(seed, count)
    points = torch.randn((count, 3, 30), generator=generator(seed + 1), dtype=WIDE)
    wanted = (scale[:, None, None] * rotation) @ points + translation[..., None]
    weight = torch.rand((count, 30), generator=generator(seed + 2), dtype=WIDE) + 0.1
    fit, error = align_similarity(points, wanted, weight)
    assert float(error.max()) < 1e-8  # float64 and an SVD
    torch.testing.assert_close(fit.scale, scale, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(fit.depth(points), wanted[:, 2], rtol=1e-8, atol=1e-8)


@FEW
@given(st.integers(0, 2**20), st.floats(0.01, 100))
def test_scale_survives_a_third_of_outliers(seed: int, factor: float) -> None:
    depth = torch.rand((1, 60), generator=generator(seed), dtype=WIDE) + 1
    wanted = depth * factor
    wanted[:, :20] *= 3
    found = align_scale(depth, wanted, torch.ones_like(depth))
    assert float(found) == pytest.approx(factor, rel=0.01)  # outliers keep (.05 / 1.1)^2 of a vote


@FEW
@given(st.integers(0, 2**20), st.integers(1, 9))
def test_fusion_ignores_order_and_follows_a_shift(seed: int, count: int) -> None:
    g = generator(seed)
    log_depth = torch.randn((count, 4), generator=g, dtype=WIDE) * 0.02
    weight = torch.rand((count, 4), generator=g, dtype=WIDE)
    variance = torch.full_like(weight, 4e-4)
    one = fuse(log_depth, weight, variance)
    order = torch.randperm(count, generator=g)
    other = fuse(log_depth[order] + 1.5, weight[order], variance)
    torch.testing.assert_close(other.log_depth, one.log_depth + 1.5)
    torch.testing.assert_close(other.sigma, one.sigma)
    assert bool(((one.log_depth - log_depth).abs().amin(0) < 0.1).all())


def test_fusion_of_nothing_is_known_by_nobody() -> None:
    none = torch.zeros((3, 2))
    fused = fuse(none, none, none + 1)
    assert torch.isinf(fused.sigma).all() and torch.isfinite(fused.log_depth).all()


# ---------------------------------------------------------------- graph


@st.composite
def graphs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """A connected graph with qualities: a random tree and more."""
    count = draw(st.integers(2, 8))
    tree = [(draw(st.integers(0, k - 1)), k) for k in range(1, count)]
    more = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))))
    flips = draw(st.lists(st.booleans(), min_size=len(tree), max_size=len(tree)))
    edges = [(b, a) if flip else (a, b) for (a, b), flip in zip(tree, flips, strict=True)]
    edges += [edge for edge in more if edge[0] != edge[1]]
    quality = draw(
        st.lists(st.floats(0, 10), min_size=len(edges), max_size=len(edges)).map(np.array)
    )
    return np.array(edges, np.int64), quality, count


@FEW
@given(graphs())
def test_the_spanning_tree_reaches_every_frame_by_the_best_pairs(
    graph: tuple[np.ndarray, np.ndarray, int],
) -> None:
    edges, quality, count = graph
    tree = spanning_tree(edges, quality, count)
    seen = {0}
    for parent, child, e in tree:
        assert parent in seen and child not in seen
        assert {parent, child} == set(edges[e].tolist())
        seen.add(child)
    assert seen == set(range(count))
    used = {e for _, _, e in tree}
    for e in range(
        len(edges)
    ):  # a better pair is outside only where the tree's path is better still
        path = _path(tree, *edges[e].tolist())
        if e not in used:
            assert quality[e] <= min(quality[k] for k in path) + 1e-9


def _path(tree: list[tuple[int, int, int]], a: int, b: int) -> list[int]:
    before = {child: (parent, e) for parent, child, e in tree}

    def up(frame: int) -> list[tuple[int, int]]:
        steps = []
        while frame in before:
            steps.append((frame, before[frame][1]))
            frame = before[frame][0]
        return steps

    first, second = ({e for _, e in up(frame)} for frame in (a, b))
    return list(first ^ second)


@FEW
@given(graphs(), st.integers(0, 2**20))
def test_chain_and_scales_recover_a_consistent_graph(
    graph: tuple[np.ndarray, np.ndarray, int], seed: int
) -> None:
    edges, quality, count = graph
    g = generator(seed)
    poses = exp_se3(torch.randn((count, 6), generator=g, dtype=WIDE) * 0.3)
    poses = poses @ invert_rigid(poses[:1])
    source, target = torch.from_numpy(edges).T
    relative = poses[target] @ invert_rigid(poses[source])
    found = chain(torch.from_numpy(edges), relative, torch.from_numpy(quality), count)
    torch.testing.assert_close(found, poses, atol=1e-9, rtol=1e-9)
    gain = torch.randn(count, generator=g, dtype=WIDE).exp()
    gain = gain / gain[0]
    weight = torch.from_numpy(quality) + 0.1
    scales = frame_scales(torch.from_numpy(edges), gain[source] / gain[target], weight, count)
    torch.testing.assert_close(scales, gain, atol=1e-6, rtol=1e-6)


@FEW
@given(graphs())
def test_slots_hold_every_pair_once(graph: tuple[np.ndarray, np.ndarray, int]) -> None:
    edges, _, count = graph
    slots = Slots.of(torch.from_numpy(edges), count)
    held = slots.edge[slots.edge >= 0]
    assert sorted(held.tolist()) == list(range(len(edges)))
    values = slots.spread(torch.ones(len(edges)))
    assert float(values.sum()) == len(edges)


def test_outliers_are_those_far_above_the_usual() -> None:
    error = torch.tensor([0.01, 0.012, 0.009, 0.2, torch.nan])
    assert outliers(error, floor=0.05, factor=4.0).tolist() == [False, False, False, True, True]
    assert not outliers(error[:3], floor=0.05, factor=1.1).any()


def test_focal_of_many_pairs_ignores_wild_ones() -> None:
    focal = 100 * torch.exp(0.01 * torch.randn(100, generator=generator(0)))
    focal[:5] = 300
    found, sigma = shared_focal(focal)
    # mean of 95 with 1 %: 0.1 %; four standard deviations
    assert found == pytest.approx(100, rel=0.004) and 5e-4 < sigma < 2e-3


# ---------------------------------------------------------------- pixels


@FEW
@given(st.integers(0, 2**20))
def test_weights_of_points_and_flow_are_finite_and_in_range(seed: int) -> None:
    g = generator(seed)
    points = torch.randn((2, 3, 20), generator=g)
    confidence = torch.randn((2, 20), generator=g) * 3
    points[0, :, 3], confidence[1, 5:9] = torch.inf, torch.tensor([torch.nan, torch.inf, 0, -2.0])
    cleaned, weight = clean_points(points, confidence)
    assert torch.isfinite(cleaned).all() and torch.isfinite(weight).all() and (weight >= 0).all()
    assert float(weight[0, 3]) == 0 and float(weight[1, 5:9].sum()) == 0
    flow = torch.randn((2, 2, 20), generator=g) * 5
    back = torch.rand((2, 20), generator=g) * 9
    trust = consistency(flow, back, torch.rand((2, 20), generator=g) > 0.5, 0.1)
    assert ((trust >= 0) & (trust <= 1)).all()


def test_constant_flow_comes_back_and_its_noise_is_measured() -> None:
    g = generator(0)
    uv = torch.rand((2, 4000), generator=g) * 40 + 10
    noise = 0.2
    flow = torch.tensor([3.0, -2.0])[None, :, None] + noise * torch.randn((1, 2, 4000), generator=g)
    reverse = torch.tensor([-3.0, 2.0])[None, :, None, None] + noise * torch.randn(
        (1, 2, 60, 60), generator=g
    )
    distance, inside = forth_and_back(uv, flow, reverse, (60, 60))
    assert inside.all()
    # 4000 samples: 1 %; bilinear weights are taken as their mean
    assert flow_sigma_px(distance[inside], 60) == pytest.approx(noise, rel=0.1)


def test_planes_are_flat_and_edges_are_not() -> None:
    rows, cols = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    plane = (0.3 + 0.002 * rows + 0.004 * cols)[None]  # inverse depth of a plane is linear
    assert float(crease_weight(plane, 1)[:, 1:-1, 1:-1].min()) > 0.999
    step = plane + 0.2 * (cols > 8)
    assert (
        float(crease_weight(step, 1)[0, 5, 8])
        < 0.05
        < 0.99
        < float(crease_weight(step, 1)[0, 5, 4])
    )


def test_evidence_rises_with_the_residual_and_with_time() -> None:
    uv = torch.tensor([[30.0, 30.0], [20.0, 20.0]])
    target = uv[None] + torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    k = torch.tensor([60.0, 60.0, 32.0, 24.0])
    term = flow_consistency(uv, target, torch.full((1, 2), 0.3), torch.eye(4)[None], k)

    def evidence(gap: float, depth: float = 0.0) -> list[float]:
        return motion_evidence(
            term,
            torch.full((1, 2), depth),
            target - uv,
            torch.ones(1, 2),
            torch.tensor([float(gap)]),
            0.1,
            0.3,
        )[0].tolist()

    near, far = evidence(1), evidence(8)
    assert near[0] < 0 < near[1]  # no motion, and 2 px of it
    assert far[0] < near[0]  # standing still for longer says more
    assert evidence(8, 0.3)[0] > 0  # at the right place, at another depth


def test_an_interval_is_zero_inside() -> None:
    low, high = torch.tensor([1.0]), torch.tensor([2.0])
    for value, wanted in ((0.5, 0.5), (1.5, 0.0), (3.0, -1.0)):
        assert float(outside_interval(torch.tensor([value]), low, high)) == wanted


# ---------------------------------------------------------------- the peers' objectives


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(needs.shared(f"golden/{name}")) as file:
        return {key: file[key] for key in file.files}


def unit_poses(parameters: np.ndarray) -> tuple[Tensor, Tensor]:
    """Rotation and translation from (quaternion xyzw, sign * log1p |t|); float64."""
    wide = torch.from_numpy(parameters.astype(np.float64))
    rotation = roma.unitquat_to_rotmat(torch.nn.functional.normalize(wide[:, :4], dim=1))
    moved = wide[:, 4:7]
    return rotation, moved.sign() * torch.expm1(moved.abs())


def world_points(data: dict[str, np.ndarray], focal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """World points (images, 3, pixels) of integer pixels, world_from_cam rotations and translations; float64."""
    depth = torch.from_numpy(data["in/im_depthmaps"].astype(np.float64)).exp()
    rotation, translation = unit_poses(data["in/im_poses"])
    height, width = data["in/conf_i"].shape[1:]
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centre = torch.tensor([width / 2, height / 2], dtype=WIDE)
    centre = centre + 10 * torch.from_numpy(data["in/im_pp"].astype(np.float64))
    uv = torch.stack((u, v)).flatten(1).to(WIDE)
    planar = (uv - centre[..., None]) / focal[:, None, None]
    ray = torch.cat((planar, torch.ones_like(planar[:, :1])), 1)
    return rotation @ (ray * depth[:, None]) + translation[..., None], rotation, translation


def alignment_loss(
    data: dict[str, np.ndarray], world: Tensor, kind: str = "l1", weight: str = "log"
) -> float:
    """DUSt3R's global alignment loss with our term."""
    edges = torch.from_numpy(data["in/edges"]).long()
    parameters = torch.from_numpy(data["in/pw_poses"].astype(np.float64))
    rotation, translation = unit_poses(data["in/pw_poses"])
    scale = (parameters[:, 7] + np.log(0.5) - parameters[:, 7].mean()).exp()
    adaptors = torch.from_numpy(data["in/pw_adaptors"].astype(np.float64))
    adaptors = torch.cat((adaptors[:, :1], adaptors), 1)
    adaptors = ((adaptors - adaptors.mean(1, keepdim=True)) / 20).exp()
    total = 0.0
    for side, frame in (("i", edges[:, 0]), ("j", edges[:, 1])):
        points = torch.from_numpy(data[f"in/pred_{side}"].astype(np.float64)).flatten(1, 2)
        points = (points * adaptors[:, None]).transpose(1, 2)
        conf = torch.from_numpy(data[f"in/conf_{side}"].astype(np.float64)).flatten(1)
        off = pointmap_alignment(
            points, world[frame], scale, rotation, scale[:, None] * translation
        )
        distance = length(off) if kind == "l1" else length(off) ** 2
        weights = {"log": conf.log(), "sqrt": conf.sqrt(), "m1": conf - 1, "id": conf}
        total += float((weights[weight] * distance).sum() / conf.numel())
    return total


def test_dust3r_losses_come_out_of_our_term() -> None:
    data = golden("dust3r_align.npz")
    focal = torch.from_numpy(data["in/im_focals"].astype(np.float64) / 20).exp()[:, 0]
    world = world_points(data, focal)[0]
    # stored in float32: rtol of golden/README.md
    assert alignment_loss(data, world) == pytest.approx(float(data["dust3r/loss"]), rel=2e-6)
    for kind in ("l1", "l2"):
        for weight in ("log", "sqrt", "m1", "id"):
            wanted = float(data[f"dust3r/loss_dist-{kind}_conf-{weight}"])
            assert alignment_loss(data, world, kind, weight) == pytest.approx(wanted, rel=2e-6)


def test_monst3r_losses_come_out_of_our_terms() -> None:
    stored = golden("monst3r_math.npz")
    data = {key.removeprefix("ga/"): value for key, value in stored.items() if key[:3] == "ga/"}
    focal = torch.from_numpy(data["in/im_focals"].astype(np.float64) / 20).exp()[:1, 0]
    count = len(data["in/im_poses"])
    world, rotation, translation = world_points(data, focal.expand(count))
    poses = torch.eye(4, dtype=WIDE).repeat(count, 1, 1)
    poses[:, :3, :3], poses[:, :3, 3] = rotation, translation
    step = invert_rigid(poses[:-1]) @ poses[1:]
    smooth = (step[:, :3, :3] - torch.eye(3)).flatten(1).norm(dim=1) + step[:, :3, 3].norm(dim=1)
    assert float(smooth.sum()) == pytest.approx(float(data["smooth/sum"]), rel=2e-6)
    alignment = alignment_loss(data, world)
    assert alignment == pytest.approx(float(data["noflow/loss_no_smooth"]), rel=2e-6)
    flow = monst3r_flow_loss(data, poses, focal)
    assert flow == pytest.approx(float(data["flow/flow_loss"]), rel=2e-5)  # 1e-6 in their disparity
    total = alignment + 0.01 * float(smooth.sum()) + 0.01 * flow
    assert total == pytest.approx(float(data["full/loss"]), rel=2e-6)


def test_focal_lengths_by_weiszfeld_are_those_of_dust3r() -> None:
    data = golden("monst3r_math.npz")
    points = torch.from_numpy(data["focal/pts3d"].astype(np.float64))
    height, width = points.shape[1:3]
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    offset = (
        torch.stack((u, v)).flatten(1) - torch.from_numpy(data["focal/pp_xy"])[:, None].double()
    )
    flat = points.flatten(1, 2).transpose(1, 2)
    found = weiszfeld_focal(flat, offset, torch.ones_like(flat[:, 0]))
    # theirs is in float32, ten reweightings of it
    np.testing.assert_allclose(found.numpy(), data["focal/weiszfeld"], rtol=1e-4)


def monst3r_flow_loss(data: dict[str, np.ndarray], poses: Tensor, focal: Tensor) -> float:
    """Smooth-L1 of our flow term on static pixels, both directions; components above 50 are dropped."""
    edges = torch.from_numpy(data["in/edges"]).long()
    depth = torch.from_numpy(data["in/im_depthmaps"].astype(np.float64)).exp()
    height, width = data["in/conf_i"].shape[1:]
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    uv = torch.stack((u, v)).flatten(1).to(WIDE)
    centre = torch.tensor([width / 2, height / 2], dtype=WIDE)
    centre = (centre + 10 * torch.from_numpy(data["in/im_pp"].astype(np.float64)))[..., None]
    # their frames have principal points of their own: ours is 0, and pixels are counted from theirs
    intrinsics = torch.cat((focal, focal, torch.zeros(2, dtype=WIDE)))
    static = ~torch.from_numpy(data["flow/dynamic_masks"]).flatten(1).bool()
    total = 0.0
    for side, (source, target) in (("ij", edges.T), ("ji", edges.flip(1).T)):
        flow = torch.from_numpy(data[f"flow/flow_{side}"].astype(np.float64)).flatten(2)
        relative = invert_rigid(poses[target]) @ poses[source]
        inverse = 1 / (depth[source] + 1e-6)
        start, end = uv - centre[source], uv + flow - centre[target]
        term = flow_consistency(start, end, inverse, relative, intrinsics)
        off = term.residual_px.abs()
        cost = torch.where(off < 1, 0.5 * off**2, off - 0.5)
        kept = static[source][:, None].expand_as(cost) & (cost < 50)
        total += float(cost[kept].mean())
    return total
