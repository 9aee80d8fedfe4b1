"""The lens that is found from flow: its maths against finite differences, and lenses that are known to be there."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from recon4d.core.distortion import Bending
from recon4d.core.scene import FLOW_STRIDE, Flow, Scene, Video
from recon4d.demo.render import pixel_grid
from recon4d.flow.straightened import straightened_flow
from recon4d.optim.align import initial_scene
from recon4d.optim.lens import find
from recon4d.optim.lens.again import look_again, look_closer
from recon4d.optim.lens.find import FoundLens, find_lens
from recon4d.optim.lens.fisheye import EQUIDISTANT
from recon4d.optim.lens.objective import Lensed, linearise
from recon4d.optim.lens.solve import Free, whole_system
from recon4d.optim.objective.problem import build_problem, sample_positions
from recon4d.optim.objective.unknowns import State
from recon4d.optim.setting import AlignOptions
from tests.synthetic import SyntheticScene, make_scene

ONE_THREAD = AlignOptions(threads=1)
SIZE = (256, 192)
LENSES = (
    Bending((-0.25, 0.05)),
    Bending((0.1,)),
    Bending((), is_fisheye=True),
    Bending((-0.02, 0.01), is_fisheye=True),
)


@cache
def world() -> SyntheticScene:
    return make_scene(8, SIZE, seed=3, noise_px=0.0, plain_lens=True)


def seen_through(lens: Bending, truth: SyntheticScene, focal_px: float | None = None) -> Flow:
    """The flow of a scene as a lens shows it, at the sampling of `Flow`; None: it is as long as the pinhole's."""
    intrinsics = truth.scene.intrinsics[0]
    focal, centre = intrinsics[0], intrinsics[2:]
    own = focal if focal_px is None else focal_px
    grid = pixel_grid((SIZE[0] // FLOW_STRIDE, SIZE[1] // FLOW_STRIDE)) * FLOW_STRIDE
    shown = torch.from_numpy(((grid - centre) / own).reshape(-1, 2).T.copy())
    pinhole = lens.straightened(shown).planar.numpy().T * focal + centre
    flow_px, confidence = [], []
    for edge in range(len(truth.flow.edges)):
        there = (pinhole + truth.exact_flow(edge, pinhole) - centre) / focal
        bent = lens.bent(torch.from_numpy(there.T.copy())).seen.numpy().T * own + centre
        inside = ((bent >= 0) & (bent <= np.asarray(SIZE))).all(1)
        flow_px.append(bent.reshape(grid.shape) - grid)
        confidence.append((255 * inside).reshape(grid.shape[:2]))
    return Flow(
        truth.flow.edges,
        np.stack(flow_px).astype(np.float16),
        np.stack(confidence).astype(np.uint8),
    )


@cache
def found(lens: Bending, asked: str = "auto") -> FoundLens:
    truth = world()
    video = replace(truth.video, intrinsics=None)
    flow = seen_through(lens, truth)
    return find_lens(video, flow, initial_scene(video, flow, ONE_THREAD), ONE_THREAD, asked)


@pytest.mark.parametrize("lens", LENSES, ids=str)
def test_straightening_undoes_bending(lens: Bending) -> None:
    planar = 1.4 * torch.rand((2, 50), dtype=torch.float64) - 0.7
    back = lens.straightened(lens.bent(planar).seen)
    assert bool(back.is_seen.all())
    torch.testing.assert_close(back.planar, planar, rtol=0, atol=1e-9)


def test_a_lens_says_where_it_sees_nothing() -> None:
    folded = Bending((-0.5,)).straightened(torch.tensor([[0.2, 0.9], [0.0, 0.0]]))
    assert folded.is_seen.tolist() == [True, False]


@pytest.mark.parametrize("lens", LENSES, ids=str)
def test_derivatives_of_a_lens_are_those_of_finite_differences(lens: Bending) -> None:
    generator = torch.Generator().manual_seed(1)
    at = torch.rand((2, 40), generator=generator, dtype=torch.float64) - 0.5
    way = torch.randn((2, 40), generator=generator, dtype=torch.float64)
    step = 1e-6
    bent = lens.bent(at)
    moved = way * bent.across + at * (way * at).sum(0) * bent.stretch
    measured = (lens.bent(at + step * way).seen - lens.bent(at - step * way).seen) / (2 * step)
    torch.testing.assert_close(moved, measured, rtol=0, atol=1e-8)
    for term in range(len(lens.terms)):
        more, less = (_with_term(lens, term, sign * step) for sign in (1, -1))
        by_bent = (more.bent(at).seen - less.bent(at).seen) / (2 * step)
        torch.testing.assert_close(bent.by_terms[term], by_bent, rtol=0, atol=1e-8)
        by_straight = (more.straightened(at).planar - less.straightened(at).planar) / (2 * step)
        own = lens.straightened(at).by_terms[term]
        torch.testing.assert_close(own, by_straight, rtol=0, atol=1e-8)


def _with_term(lens: Bending, term: int, more: float) -> Bending:
    terms = list(lens.terms)
    terms[term] += more
    return replace(lens, terms=tuple(terms))


@pytest.mark.parametrize(
    "lens", [Bending((-0.1, 0.02)), Bending((0.01,), is_fisheye=True)], ids=str
)
def test_the_gradient_of_what_all_frames_share_is_that_of_finite_differences(lens: Bending) -> None:
    truth = world()
    video = truth.video
    problem = build_problem(seen_through(lens, truth), sample_positions(video.images, 16))
    problem = replace(
        problem,
        **{
            name: getattr(problem, name).double()
            for name in ("samples_px", "targets_px", "weight", "prior_weight")
        },
        prior_inverse_depth=0.4 * problem.prior_inverse_depth.double(),
    )
    state = State.of(truth.scene)
    state = replace(state, inverse_depth=problem.prior_inverse_depth.clone())
    at = Lensed(state, lens)
    free = Free(torch.ones(video.num_frames, dtype=torch.bool))
    rhs = whole_system(linearise(problem, at, 50.0), problem, replace(free, turns_only=True))[0].rhs
    step, shared = 1e-5, at.shared

    def cost(index: int, more: float) -> float:
        intrinsics, terms = state.intrinsics.clone(), list(lens.terms)
        if index == 0:
            intrinsics[:, :2] *= np.exp(more)
        elif index > len(terms):
            intrinsics[:, index - shared] += more
        else:
            terms[index - 1] += more
        moved = Lensed(replace(state, intrinsics=intrinsics), replace(lens, terms=tuple(terms)))
        return linearise(problem, moved, 50.0).cost

    for index in range(shared):
        measured = (cost(index, step) - cost(index, -step)) / (2 * step)
        assert float(rhs[index - shared]) == pytest.approx(measured, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize(
    "k1",
    [pytest.param(-0.2, marks=pytest.mark.slow), -0.05, pytest.param(0.1, marks=pytest.mark.slow)],
)
def test_a_radial_lens_is_found_with_the_focal_length(k1: float) -> None:
    lens, focal_px = found(Bending((k1,))), float(world().scene.intrinsics[0, 0])
    assert lens.model == "radial" and len(lens.terms) == 1
    assert lens.terms[0] == pytest.approx(k1, abs=0.003)
    assert lens.focal_px == pytest.approx(focal_px, rel=0.003)
    assert 0 < lens.terms_std[0] < 0.01 and 0 < lens.focal_std < 0.02


@pytest.mark.slow
def test_a_second_coefficient_is_found_where_it_is_there() -> None:
    lens = found(Bending((-0.25, 0.25)))
    assert len(lens.terms) == 2
    assert lens.terms == pytest.approx((-0.25, 0.25), abs=0.03)


def test_a_pinhole_remains_one_and_says_what_a_lens_that_is_not_told_from_none_does_to_it() -> None:
    none = found(Bending((0.0,)))
    assert none.is_usual and 0 < none.focal_std < 0.02


@pytest.mark.slow
def test_a_lens_of_an_absurd_focal_length_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of 15 frames of a crowd at 192 px: k1 61, k2 52464, and 18 times the long side."""
    truth = world()
    video, flow = replace(truth.video, intrinsics=None), seen_through(Bending((-0.05,)), truth)
    start = initial_scene(video, flow, ONE_THREAD)
    assert find_lens(video, flow, start, ONE_THREAD, "auto").model == "radial"
    monkeypatch.setattr(find, "USUAL_LENSES", (2.0, 6.0))
    assert find_lens(video, flow, start, ONE_THREAD, "auto").is_usual
    assert find_lens(video, flow, start, ONE_THREAD, "radial").model == "radial"


def test_a_fisheye_is_found_where_it_is_asked_for() -> None:
    lens = found(Bending((), is_fisheye=True), "fisheye")
    assert lens.model == "fisheye" and lens.terms == ()
    assert lens.focal_px == pytest.approx(float(world().scene.intrinsics[0, 0]), rel=0.01)


WIDE_PX = 0.5 * SIZE[0]
"""Focal length of a fisheye whose corners are 72 degrees from the axis."""


@cache
def wide(lens: Bending) -> tuple[Video, Flow, Scene]:
    """A fisheye's video, its flow, and cameras that are found as if a pinhole had taken it."""
    truth = make_scene(6, SIZE, seed=3, plain_lens=True)
    video = replace(truth.video, intrinsics=None)
    flow = seen_through(lens, truth, WIDE_PX)
    return video, flow, initial_scene(video, flow, ONE_THREAD)


def test_a_wide_fisheye_is_found_without_being_asked_for() -> None:
    lens = find_lens(*wide(EQUIDISTANT), ONE_THREAD, "auto")
    assert lens.model == "fisheye" and lens.terms == () and lens.gain > 0.5
    assert lens.focal_px == pytest.approx(WIDE_PX, rel=0.01)


@pytest.mark.parametrize(
    "k1",
    [
        pytest.param(0.0, id="equidistant"),
        pytest.param(-0.04, id="equisolid", marks=pytest.mark.slow),
    ],
)
def test_a_second_look_finds_what_the_first_lens_was_wrong_by(tmp_path: Path, k1: float) -> None:
    video, flow, _ = wide(Bending((k1,) if k1 else (), is_fisheye=True))
    wrong = FoundLens("fisheye", 1.05 * WIDE_PX)
    bent = wrong.intrinsics(SIZE, 1.0)
    straight = straightened_flow(flow, wrong.bending, bent, bent, tmp_path, 1)
    scene = initial_scene(video, straight, ONE_THREAD)
    lens = look_again(wrong, bent, bent, straight, scene, ONE_THREAD.kernel_px)
    assert lens.focal_px == pytest.approx(WIDE_PX, rel=0.005)
    assert lens.terms == pytest.approx((k1,) if k1 else (), abs=0.005)
    assert len(lens.terms_std) == len(lens.terms) and 0 < lens.focal_std < 0.02


@pytest.mark.parametrize("k1", [-0.03, 0.0, 0.03])
def test_a_closer_look_finds_a_small_lens_that_presses_together_and_no_other(k1: float) -> None:
    truth = world()
    video, flow = replace(truth.video, intrinsics=None), seen_through(Bending((k1,)), truth)
    lens = look_closer(video, flow, initial_scene(video, flow, ONE_THREAD), ONE_THREAD.kernel_px)
    if k1 < 0:
        assert lens.model == "radial" and lens.terms == pytest.approx((k1,), abs=0.003)
        assert lens.focal_px == pytest.approx(float(truth.scene.intrinsics[0, 0]), rel=0.003)
        assert 0 < lens.terms_std[0] < 0.01
    else:
        assert lens.is_usual and not lens.may_bend
    assert 0 < lens.focal_std < 0.05


def test_numbers_stay_finite_where_a_lens_folds_the_picture_over() -> None:
    far = Bending((-0.5, 0.1)).straightened(torch.tensor([[0.1, 1.5, 4.0], [0.0, 0.5, 3.0]]))
    assert bool(far.planar.isfinite().all()) and bool(far.by_terms.isfinite().all())


def test_nothing_is_found_without_a_pose() -> None:
    video, scene = world().video, world().scene
    lost = replace(scene, component=np.full(len(scene.component), -1))
    assert find_lens(video, world().flow, lost, ONE_THREAD, "auto").model == "pinhole"


def test_the_principal_point_of_a_cut_out_picture_is_found() -> None:
    truth, left, top = world(), 64, 0
    width, height = SIZE[0] - left, 144
    cut = (slice(top // 2, (top + height) // 2), slice(left // 2, (left + width) // 2))
    flow = truth.flow
    flow = replace(
        flow,
        flow_px=np.ascontiguousarray(flow.flow_px[:, cut[0], cut[1]]),
        confidence=np.ascontiguousarray(flow.confidence[:, cut[0], cut[1]]),
    )
    images = truth.video.images[:, top : top + height, left : left + width].copy()
    video = replace(truth.video, images=images, intrinsics=None)
    lens = find_lens(video, flow, initial_scene(video, flow, ONE_THREAD), ONE_THREAD, "auto")
    assert lens.model == "pinhole" and not lens.is_usual
    assert lens.centre_px == pytest.approx((SIZE[0] / 2 - left, SIZE[1] / 2 - top), abs=1.5)
    assert lens.focal_px == pytest.approx(float(truth.scene.intrinsics[0, 0]), rel=0.01)
