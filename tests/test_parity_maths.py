"""The published objectives and measures: the official numbers, and laws that hold without them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import parity
from benchmarks.parity import Compared, Fixture
from benchmarks.peers import measures, objective, two_views
from benchmarks.peers.maths import compare_alignment, compare_monst3r
from benchmarks.peers.objective import FlowSeen, Parameters, Pointmaps
from tests import needs

GOLDEN = Path(__file__).parents[1] / "../shared/golden"
needs_golden = needs.shared_file("golden")

CASES: dict[str, tuple[Callable[[Fixture], list[Compared]], set[str]]] = {
    "dust3r_align": (compare_alignment, {"in/"}),
    "monst3r_math": (
        compare_monst3r,
        # the last: all three values lie at the clip's lower end, which their inputs as described do not reach
        {
            *("ego/", "sidepth/", "mask/", "focal/", "pair/", "ga/in/", "ga/flow/", "ga/depthreg/"),
            *("ga/smoothl1/", "focal/weiszfeld_min0.5_max3.5"),
        },
    ),
    "eval_metrics": (measures.compare, {"depth/", "davis/"}),
}
"""What compares a fixture, and where its inputs are."""
COUNTS = {"dust3r_align": 31, "monst3r_math": 41, "eval_metrics": 42}
"""Arrays that are compared; all but inputs and one clipped focal length."""


@needs_golden
@pytest.mark.parametrize("name", CASES)
def test_every_output_is_that_of_the_official_code(name: str) -> None:
    compare, inputs = CASES[name]
    fixture = Fixture.read(GOLDEN / f"{name}.npz")
    compared = compare(fixture)
    assert [one.name for one in compared if not one.holds] == []
    names = [one.name for one in compared]
    assert len(names) == len(set(names)) == COUNTS[name]
    assert all(left.startswith(tuple(inputs)) for left in fixture.arrays.keys() - set(names))


@needs_golden
def test_the_command_finds_the_comparison_by_the_name_of_the_fixture(
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [str(GOLDEN / f"{name}.npz") for name in CASES]
    assert parity.main(["--fixture", *files]) == 0
    assert "all within tolerance" in capsys.readouterr().out


@needs_golden
@pytest.mark.parametrize(
    ("fixture", "changed", "noticed"),
    (
        ("dust3r_align", "in/pw_adaptors", "mid/adaptors"),
        ("dust3r_align", "in/im_poses", "dust3r/grad_im_poses"),
        ("monst3r_math", "ga/flow/flow_ij", "ga/flow/flow_loss"),
        ("monst3r_math", "mask/flow_ji", "mask/mean_error_map"),
        ("eval_metrics", "depth/pred", "depth/metrics_lstsq"),
    ),
)
def test_a_change_of_a_thousandth_is_noticed(fixture: str, changed: str, noticed: str) -> None:
    stored = Fixture.read(GOLDEN / f"{fixture}.npz")
    arrays = dict(stored.arrays)
    ramp = np.linspace(0, 1e-3, arrays[changed].size).reshape(arrays[changed].shape)
    arrays[changed] = (arrays[changed] * (1 + 10 * ramp)).astype(np.float32)
    compared = CASES[fixture][0](Fixture(stored.path, arrays, stored.described))
    assert noticed in {one.name for one in compared if not one.holds}


# ---------------------------------------------------------------- without the official numbers

SIZE = (5, 6)


def random_scene(seed: int = 0) -> tuple[Parameters, Pointmaps]:
    """Three frames and three pairs, of which the pointmaps are the scene's own."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    edges = torch.tensor([[0, 1], [1, 2], [2, 0]])
    quaternion = torch.tensor([0, 0, 0, 1.0]).double()
    im_poses = torch.cat((quaternion + 0.05 * normal(3, 4), 0.1 * normal(3, 3)), 1)
    depth = 0.1 * normal(3, 30) + 1
    focals, centres = torch.full((3, 1), 60.0).double(), torch.zeros((3, 2)).double()
    pw_poses = torch.cat((im_poses, torch.zeros((3, 1)).double()), 1)
    parameters = Parameters(
        pw_poses, torch.zeros((3, 2)).double(), depth, im_poses, focals, centres
    )
    world = objective.world_points(parameters, SIZE)
    scale = objective.pair_scales(parameters)
    pose = objective.poses_of(pw_poses)
    points = []
    for side in (0, 1):
        there = world[edges[:, side]] / scale[:, None, None] - pose[:, :3, 3:]
        points.append((pose[:, :3, :3].mT @ there).mT.reshape(-1, *SIZE, 3))
    confidence = 1 + normal(2, 3, *SIZE).exp()
    return parameters, Pointmaps(
        edges, (points[0], points[1]), (confidence[0] + 1, confidence[1] + 1)
    )


def test_the_alignment_loss_is_zero_at_the_truth_and_nowhere_near() -> None:
    parameters, pairs = random_scene()
    assert float(objective.alignment_loss(parameters, pairs)) < 1e-12  # float64
    moved = replace(parameters, im_depthmaps=parameters.im_depthmaps + 0.01)
    assert float(objective.alignment_loss(moved, pairs)) > 1e-3


def test_the_flow_loss_is_zero_for_the_cameras_own_flow_and_masks_take_pixels_out() -> None:
    parameters, pairs = random_scene()
    still = torch.zeros((3, 2, *SIZE), dtype=torch.float64)
    nothing = FlowSeen(still, still, torch.zeros((3, *SIZE), dtype=torch.bool))
    forth, back = (
        ego.reshape(-1, 2, *SIZE) for ego, _ in objective.flow_residuals(parameters, pairs, nothing)
    )
    assert (
        float(objective.flow_loss(parameters, pairs, replace(nothing, forth=forth, back=back))) == 0
    )
    wrong = forth.clone()
    wrong[:, :, 2, 3] += 5
    seen = replace(nothing, forth=wrong, back=back)
    assert float(objective.flow_loss(parameters, pairs, seen)) > 0.1
    seen.is_dynamic[:, 2, 3] = True
    assert float(objective.flow_loss(parameters, pairs, seen)) == 0


def test_gradients_are_those_of_finite_differences() -> None:
    parameters, pairs = random_scene()
    parameters = replace(parameters, im_depthmaps=parameters.im_depthmaps * 1.1)
    seen = FlowSeen(
        torch.full((3, 2, *SIZE), 0.3).double(),
        torch.full((3, 2, *SIZE), -0.4).double(),
        torch.zeros((3, *SIZE), dtype=torch.bool),
    )

    def loss(given: Parameters) -> Tensor:
        return objective.monst3r_loss(given, pairs, seen)[0]

    found = objective.gradients(parameters, loss)
    for name, index in (("im_poses", (1, 5)), ("im_focals", (0, 0)), ("pw_poses", (2, 7))):
        step = torch.zeros_like(parameters.named()[name])
        step[index] = 1e-6  # central differences in float64
        up, down = (
            loss(replace(parameters, **{name: parameters.named()[name] + s * step}))
            for s in (1, -1)
        )
        assert float(found[name][index]) == pytest.approx(
            float(up - down) / 2e-6, rel=1e-5, abs=1e-8
        )


def test_components_of_a_large_loss_do_not_count() -> None:
    off = torch.tensor([[[0.5, 100.0], [2.0, 50.4]]]).double()
    keep = torch.ones((1, 2), dtype=torch.bool)
    # 0.5 * 0.5^2, 2 - 0.5, 50.4 - 0.5; the component of 100 is dropped
    wanted = (0.125 + 1.5 + 49.9) / 3
    assert float(objective.smooth_l1(off, keep)) == pytest.approx(wanted)
    per_pixel = (0.125 + 1.5 + 49.9 + 99.5) / 2
    assert float(objective.smooth_l1_per_pixel(off, keep)) == pytest.approx(per_pixel)


def test_error_maps_are_stretched_per_pair_and_averaged_per_frame() -> None:
    ramp = torch.arange(4.0).double().reshape(1, 2, 2)
    errors = torch.cat((ramp, 100 * ramp)), torch.cat((ramp.flip(2), ramp))
    maps = objective.mean_error_maps(torch.tensor([[0, 1], [0, 2]]), errors, 3)
    torch.testing.assert_close(maps[0], ramp[0] / 3)
    torch.testing.assert_close(maps[1], ramp[0].flip(1) / 3)


def test_two_views_of_a_plane_give_their_own_cameras() -> None:
    height, width, focal = 24, 32, 30.0
    centre = torch.tensor([[width / 2], [height / 2]]).double()
    uv = (objective.pixel_grid((height, width)) - centre) / focal
    depth = 4 + 0.5 * torch.sin(3 * uv[:1]) + uv[1:]  # not a plane, or the pose would be ambiguous
    points = (torch.cat((uv, torch.ones_like(uv[:1]))) * depth).T.reshape(1, height, width, 3)
    moved = points + torch.tensor([0.3, -0.1, 0.2]).double()
    sure = torch.full((2, height, width), 9.0).double()
    pairs = Pointmaps(
        torch.tensor([[0, 1], [1, 0]]),
        (points.repeat(2, 1, 1, 1), moved.repeat(2, 1, 1, 1)),
        (sure * torch.tensor([2.0, 1.0])[:, None, None], sure),
    )
    seen = two_views.two_views(pairs)
    assert seen.focal_px.tolist() == pytest.approx([focal, focal], rel=1e-6)
    assert torch.equal(seen.world_from_cam[0], torch.eye(4).double())
    # view 1 sees the same points, shifted, in its own frame unshifted
    np.testing.assert_allclose(seen.world_from_cam[1, :3, 3], (0.3, -0.1, 0.2), atol=1e-5)
    np.testing.assert_allclose(seen.depth[1], points[0, ..., 2], atol=1e-5)
