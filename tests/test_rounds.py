"""The loop of masks, flow and geometry: which rounds are run, kept and reported."""

from dataclasses import replace

import numpy as np
import pytest

from recon4d.core.scene import MotionMasks, Scene
from recon4d.run.rounds import Rounds, next_round
from tests.synthetic import SyntheticScene, make_scene


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(4, (96, 72), seed=1)


def masks_of(made: SyntheticScene, moving_rows: int) -> MotionMasks:
    probability = np.zeros((4, 36, 48), np.float32)
    probability[:, :moving_rows] = 1
    return MotionMasks(probability)


def unchanged(scene: Scene, motion: MotionMasks) -> Scene:
    return scene


def shaken(scene: Scene, motion: MotionMasks) -> Scene:
    """A much worse scene."""
    moved = scene.world_from_cam.copy()
    moved[1:, :3, 3] += np.random.default_rng(0).normal(0, 0.1, (3, 3))
    return replace(scene, world_from_cam=moved)


def test_without_further_rounds_there_is_one(made: SyntheticScene) -> None:
    rounds = Rounds.begin(made.scene)
    assert rounds.go_on(0)
    rounds = next_round(rounds, masks_of(made, 9), unchanged, made.flow, is_new_flow=True)
    assert not rounds.go_on(0) and rounds.go_on(1)
    assert [entry.kept for entry in rounds.history] == [True]
    assert rounds.history[0].changed == pytest.approx(0.25)


def test_settled_masks_are_optimised_again_with_a_new_flow_and_then_the_loop_ends(
    made: SyntheticScene,
) -> None:
    rounds = Rounds.begin(made.scene)
    rounds = next_round(rounds, masks_of(made, 9), unchanged, made.flow, is_new_flow=True)
    assert not rounds.settled
    rounds = next_round(rounds, masks_of(made, 9), unchanged, made.flow, is_new_flow=True)
    assert rounds.settled and rounds.ended and not rounds.go_on(9)
    assert [entry.kept for entry in rounds.history] == [True, True]


def test_masks_that_still_change_go_on_until_they_settle(made: SyntheticScene) -> None:
    rounds, calls = Rounds.begin(made.scene), []

    def counted(scene: Scene, motion: MotionMasks) -> Scene:
        calls.append(motion)
        return scene

    for at, rows in enumerate((9, 12, 12)):
        assert rounds.go_on(5)
        rounds = next_round(rounds, masks_of(made, rows), counted, made.flow, is_new_flow=at < 2)
    assert not rounds.go_on(5) and len(calls) == 2  # the third found what the second had
    assert [entry.kept for entry in rounds.history] == [True, True, False]
    assert not rounds.notices


def test_nothing_that_moves_is_settled_at_once_but_not_the_end(made: SyntheticScene) -> None:
    rounds = Rounds.begin(made.scene)
    rounds = next_round(rounds, masks_of(made, 0), unchanged, made.flow, is_new_flow=True)
    assert rounds.settled and rounds.go_on(1)


def test_a_round_that_makes_the_static_world_worse_is_not_kept_and_says_so(
    made: SyntheticScene,
) -> None:
    rounds = Rounds.begin(made.scene)
    first = next_round(rounds, masks_of(made, 9), unchanged, made.flow, is_new_flow=True)
    second = next_round(first, masks_of(made, 12), shaken, made.flow, is_new_flow=True)
    assert second.scene is first.scene and second.motion is first.motion
    assert [entry.kept for entry in second.history] == [True, False]
    assert not second.go_on(9)
    assert [notice.code for notice in second.notices] == ["round_not_kept"]


def test_what_became_worse_is_told_with_digits_that_differ(
    made: SyntheticScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next_round(
        Rounds.begin(made.scene), masks_of(made, 9), unchanged, made.flow, is_new_flow=True
    )
    residuals = iter((0.01002, 0.01036))
    monkeypatch.setattr("recon4d.run.rounds.static_residual_px", lambda *_: next(residuals))
    second = next_round(first, masks_of(made, 12), unchanged, made.flow, is_new_flow=True)
    assert "worse (0.01 to 0.0104 px): it is not kept" in second.notices[0].message


def test_a_residual_of_nothing_cannot_become_worse(
    made: SyntheticScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that are all the same leave a millionth of a pixel, and three times that after a round."""
    found = iter((4e-6, 1.1e-5) * 2)
    monkeypatch.setattr("recon4d.run.rounds.static_residual_px", lambda *_: next(found))
    rounds = Rounds.begin(made.scene)
    for rows in (3, 9):
        rounds = next_round(rounds, masks_of(made, rows), unchanged, made.flow, is_new_flow=True)
    assert [entry.kept for entry in rounds.history] == [True, True] and not rounds.notices
