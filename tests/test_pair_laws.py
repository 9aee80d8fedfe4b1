"""Laws of the pairwise alignment for any graph and any residual, with random inputs."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.alignment import Row, report, stated
from recon4d.core.errors import DegenerateError
from recon4d.core.geometry import exp_se3, invert_rigid, rays
from recon4d.optim.objective.flow_term import flow_consistency
from recon4d.optim.pairwise.depth import FusedDepth, align_similarity
from recon4d.optim.pairwise.pairs import check_connected, usable_edges
from recon4d.optim.pairwise.problem import correlation, slot_problem
from recon4d.optim.pairwise.sharpen import sharp_step
from tests.test_pair_terms import FEW, WIDE, generator, random_similarity

EDGES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25)


def pieces(edges: list[tuple[int, int]], count: int) -> int:
    """Number of connected pieces, by merging labels."""
    label = list(range(count))
    for n, m in edges:
        old, new = label[n], label[m]
        label = [new if k == old else k for k in label]
    return len(set(label))


@FEW
@given(EDGES)
def test_every_pair_of_two_frames_is_kept_once_and_the_others_are_named(
    edges: list[tuple[int, int]],
) -> None:
    keep, notices = usable_edges(np.array(edges, np.int64))
    kept = [edge for edge, use in zip(edges, keep, strict=True) if use]
    assert len(kept) == len(set(kept)) and set(kept) == {e for e in edges if e[0] != e[1]}
    dropped = [edge for edge, use in zip(edges, keep, strict=True) if not use]
    said = "".join(notice.message for notice in notices)
    assert all(str(edge) in said for edge in dropped)
    assert bool(notices) == bool(dropped)


@FEW
@given(EDGES)
def test_graphs_are_refused_where_frames_have_no_link_or_no_depth(
    edges: list[tuple[int, int]],
) -> None:
    needs = pieces(edges, 7) > 1 or {n for n, _ in edges} != set(range(7))
    try:
        check_connected(np.array(edges, np.int64), 7)
    except DegenerateError as error:
        assert needs and ("separate pieces" in str(error) or "first view" in str(error))
    else:
        assert not needs


@FEW
@given(EDGES, st.integers(0, 2**20))
def test_a_problem_holds_the_flow_of_every_pair_where_its_frame_looks(
    edges: list[tuple[int, int]], seed: int
) -> None:
    g = generator(seed)
    pairs = torch.tensor(edges)
    targets = torch.rand((len(edges), 2, 5), generator=g)
    trust = torch.rand((len(edges), 5), generator=g) + 0.1
    depth = FusedDepth(torch.zeros((7, 5)), torch.ones((7, 5)))
    problem = slot_problem(
        pairs, torch.zeros((2, 5)), targets, trust, torch.ones((7, 5)), depth, 1.0
    )
    weight = problem.weight.sum()
    torch.testing.assert_close(weight, trust.sum())
    for frame in range(7):
        mine = [e for e, (n, _) in enumerate(edges) if n == frame]
        assert problem.partners[frame, : len(mine)].tolist() == [edges[e][1] for e in mine]
        torch.testing.assert_close(problem.targets_px[frame, : len(mine)], targets[mine])
        assert float(problem.weight[frame, len(mine) :].sum()) == 0


def seen(seed: int, count: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Pixels, inverse depth, cameras, intrinsics and where the pixels of camera 0 appear in the others; float64."""
    g = generator(seed)
    uv = torch.rand((2, 20), generator=g, dtype=WIDE) * 80
    rho = torch.rand(20, generator=g, dtype=WIDE) * 0.3 + 0.1
    poses = exp_se3(torch.randn((count, 6), generator=g, dtype=WIDE) * 0.05)
    k = torch.tensor([70.0, 65.0, 41.0, 38.0], dtype=WIDE)
    relative = poses @ invert_rigid(poses[:1])
    points = rays(uv.T, k) / rho[:, None]
    moved = points @ relative[:, :3, :3].transpose(1, 2) + relative[:, None, :3, 3]
    target = k[:2] * moved[..., :2] / moved[..., 2:] + k[2:]
    return uv, rho, relative, k, target.transpose(1, 2)


@FEW
@given(st.integers(0, 2**20))
def test_the_flow_residual_is_zero_at_the_truth_and_the_error_of_the_flow_elsewhere(
    seed: int,
) -> None:
    uv, rho, relative, k, target = seen(seed)
    error = torch.randn(target.shape, generator=generator(seed + 1), dtype=WIDE)
    term = flow_consistency(uv, target + error, rho.expand(3, -1), relative, k)
    torch.testing.assert_close(term.residual_px, -error, atol=1e-9, rtol=1e-9)


@FEW
@given(st.integers(0, 2**20), st.floats(0.01, 100))
def test_the_flow_residual_knows_no_scale(seed: int, scale: float) -> None:
    uv, rho, relative, k, target = seen(seed)
    larger = relative.clone()
    larger[:, :3, 3] *= scale
    one = flow_consistency(uv, target + 1, rho.expand(3, -1), relative, k)
    other = flow_consistency(uv, target + 1, rho.expand(3, -1) / scale, larger, k)
    torch.testing.assert_close(other.residual_px, one.residual_px, atol=1e-8, rtol=1e-8)


@FEW
@given(st.integers(0, 2**20))
def test_errors_of_the_points_do_not_shrink_them(seed: int) -> None:
    scale, rotation, translation = random_similarity(seed, 1)
    g = generator(seed)
    wanted = torch.randn((1, 3, 4000), generator=g, dtype=WIDE)
    wanted[:, 2] += 4
    back = rotation.transpose(1, 2)
    points = (back @ (wanted - translation[..., None])) / scale[:, None, None]
    noise = 0.1 * torch.randn(points.shape, generator=g, dtype=WIDE) / scale[:, None, None]
    fit, _ = align_similarity(points + noise, wanted, torch.ones(1, 4000, dtype=WIDE))
    # least squares in the other direction: 1 % too small (0.1^2); noise of 4000 points: 0.1 %
    assert abs(float(fit.scale / scale) - 1) < 0.005


def test_twice_the_sides_are_twice_the_correlation_of_samples() -> None:
    assert correlation(4 * 800) == 2 * correlation(800)
    assert correlation(1) == 1
    assert [sharp_step(size) for size in ((64, 48), (128, 96), (512, 288))] == [1, 2, 7]


def test_the_suite_counts_errors_within_one_stated_standard_deviation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    poses = np.eye(4)[None].repeat(300, 0)
    poses[:, :3, 3] = np.cumsum(rng.normal(0, 1, (300, 3)), 0)
    found = poses.copy()
    found[:, :3, 3] += np.cumsum(rng.normal(0, 0.01, (300, 3)), 0)
    depth = np.full((300, 4, 5), 3.0)
    np.savez(tmp_path / "scene.npz", gt_c2w=poses, gt_depth=depth)
    covariance = np.diag([1.0] * 3 + [1e-4] * 3)[None].repeat(300, 0)
    noisy = 2 * (depth + rng.normal(0, 0.1, depth.shape))
    np.savez(
        tmp_path / "result.npz", world_from_cam=found, depth=noisy, depth_std=0.2 + 0 * depth,
        pose_covariance=covariance,
    )  # fmt: skip
    share, depths = stated(tmp_path / "scene.npz", tmp_path / "result.npz", 2.0)
    assert abs(share - (1 + 0.683) / 2) < 0.03  # rotations are exact; 897 numbers: 1.6 %
    assert abs(depths - 0.683) < 0.03  # 6000 numbers: 0.6 %
    row = Row("a scene", "", "1 / 2", "3 / 4 / 5")
    names = ("cpu_seconds", "peak_rss_mb", "inputs_rss_mb", "ate_rmse", "absrel", "absrel_dyn",
             "mask_iou", "focal_relerr_mean", "sim3_scale_vs_depth_scale")  # fmt: skip
    page = report(
        [{"row": row, "stated_poses": share, "stated_depth": depths} | dict.fromkeys(names, 0.5)], 1
    )
    assert f"| {share:.0%} | {depths:.0%} |" in page
