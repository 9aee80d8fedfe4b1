"""What the masks of the last round tell the next one."""

from dataclasses import replace

import numpy as np
import pytest

from recon4d.masks import outlines
from recon4d.masks.evidence import look_around
from recon4d.masks.filters import shrink
from recon4d.masks.maps import LIMIT, geometry_maps, partner_edges
from recon4d.masks.memory import memory_maps, recalled
from recon4d.masks.train.remembered import imagined_masks
from recon4d.progress import no_progress
from recon4d.scene import Flow, MotionMasks
from tests.synthetic import SyntheticScene, make_scene

MISSED = 3


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(7, (192, 144), seed=3, mover=True)


@pytest.fixture(scope="module")
def missed(made: SyntheticScene) -> MotionMasks:
    """True masks, but for one frame in which nothing is seen to move."""
    probability = outlines(made.is_dynamic).probability.copy()
    probability[MISSED] = 0
    return MotionMasks(probability)


def test_a_mover_that_one_frame_missed_is_remembered_from_the_others(
    made: SyntheticScene, missed: MotionMasks
) -> None:
    memory = memory_maps(missed, made.flow)
    truth = outlines(made.is_dynamic).probability[MISSED]
    seen = (made.flow.confidence[made.flow.edges[:, 0] == MISSED] > 127).sum(0) >= 2
    assert (memory[MISSED] > 0)[(truth == 1) & seen].mean() > 0.95  # outlines differ by a sample
    assert (memory[MISSED] < 0)[(truth == 0) & seen].mean() > 0.95
    assert np.abs(memory).max() <= LIMIT


def test_a_frame_does_not_remember_itself(made: SyntheticScene) -> None:
    alone = np.zeros((7, 72, 96), np.float32)
    alone[MISSED] = 1
    assert (memory_maps(MotionMasks(alone), made.flow)[MISSED] <= 0).all()


def test_what_no_flow_reaches_is_unknown(made: SyntheticScene, missed: MotionMasks) -> None:
    lost = Flow(made.flow.edges, made.flow.flow_px, np.zeros_like(made.flow.confidence))
    assert not memory_maps(missed, lost).any()


def test_the_memory_is_the_last_geometric_map_and_zero_in_the_first_round(
    made: SyntheticScene, missed: MotionMasks
) -> None:
    small = np.stack([shrink(image) for image in made.video.images])
    with no_progress("", 0) as counter:
        first = look_around(small, made.flow, made.scene, 1, counter)
    assert recalled(first, None, made.flow) is first
    later = recalled(first, missed, made.flow)
    edge = int(partner_edges(made.flow, MISSED)[0])
    there = first[int(made.flow.edges[edge, 1])].inverse_depth
    a, b = (
        geometry_maps(made.flow, edge, made.scene, around[MISSED], there, small[MISSED])
        for around in (first, later)
    )
    assert not a[-1].any()
    assert np.array_equal(b[-1].numpy(), memory_maps(missed, made.flow)[MISSED])
    assert np.array_equal(a[:-1].numpy(), b[:-1].numpy())


def test_imagined_masks_are_mostly_right_and_differ_in_their_mistakes(
    made: SyntheticScene,
) -> None:
    truth = outlines(made.is_dynamic).probability
    found = [imagined_masks(truth, np.random.default_rng(seed)).probability for seed in range(40)]
    again = imagined_masks(truth, np.random.default_rng(7)).probability
    assert np.array_equal(found[7], again)
    right = [((p > 0.5) == (truth > 0.5)).mean() for p in found]
    assert np.mean(right) > 0.9 and min(right) < 0.95  # the mover fills 5 to 15 % of the picture
    assert len({round(float(r), 4) for r in right}) > 20
    assert all(p.shape == truth.shape and (p >= 0).all() and (p <= 1).all() for p in found)


def test_masks_of_a_static_clip_are_imagined_too(made: SyntheticScene) -> None:
    nothing = np.zeros((3, 72, 96), np.float32)
    found = [imagined_masks(nothing, np.random.default_rng(seed)).probability for seed in range(9)]
    assert any((p > 0.5).any() for p in found) and any(not (p > 0.5).any() for p in found)


def test_other_offsets_than_the_networks_are_no_partners(made: SyntheticScene) -> None:
    edges = made.flow.edges.copy()
    far = replace(made.flow, edges=np.where(edges == 6, 40, edges))
    for frame in range(6):
        targets = far.edges[partner_edges(far, frame), 1]
        assert (targets != 40).all()
