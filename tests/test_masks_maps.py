"""The network's maps on exact scenes: static worlds look static, movers do not."""

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from recon4d.core.progress import no_progress
from recon4d.core.sampling import shrink
from recon4d.core.scene import FLOW_STRIDE, Flow
from recon4d.masks.d2mif.maps import (
    LIMIT,
    affine_flow,
    geometry_maps,
    motion_maps,
    partner_edges,
)
from recon4d.masks.d2mif.network import GEOMETRY_CHANNELS, MOTION_CHANNELS
from recon4d.masks.evidence import Surroundings, look_around
from tests.synthetic import SyntheticScene, make_scene

RESIDUAL, OFFLINE, DISPLACEMENT, PARALLAX = 0, 1, 3, 5
"""Channels of the geometry maps."""


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(6, (192, 144), seed=3, mover=True, noise_px=0.1)


@pytest.fixture(scope="module")
def around(made: SyntheticScene) -> tuple[Surroundings, ...]:
    images = np.stack([shrink(image) for image in made.video.images])
    with no_progress("", 0) as counter:
        return look_around(images, made.flow, made.scene, 1, counter)


def maps_of(
    made: SyntheticScene, around: tuple[Surroundings, ...], frame: int
) -> Float[Tensor, "13 rows cols"]:
    edge = int(partner_edges(made.flow, frame)[0])
    there = around[int(made.flow.edges[edge, 1])].inverse_depth
    image = shrink(made.video.images[frame])
    return geometry_maps(made.flow, edge, made.scene, around[frame], there, image)


def truth(made: SyntheticScene, frame: int) -> Tensor:
    half = FLOW_STRIDE // 2
    return torch.from_numpy(made.is_dynamic[frame, half::FLOW_STRIDE, half::FLOW_STRIDE])


def test_maps_have_their_channels_and_are_limited(
    made: SyntheticScene, around: tuple[Surroundings, ...]
) -> None:
    geometry = maps_of(made, around, 2)
    motion, sure = motion_maps(made.flow, int(partner_edges(made.flow, 2)[0]))
    assert len(geometry) == GEOMETRY_CHANNELS and len(motion) == MOTION_CHANNELS
    for maps in (geometry, motion):
        assert maps.isfinite().all() and maps.abs().max() <= LIMIT
    assert float(sure.min()) >= 0 and float(sure.max()) <= 1


@pytest.mark.parametrize("channel", [RESIDUAL, OFFLINE, DISPLACEMENT])
def test_movers_stand_out_of_what_a_static_world_explains(
    made: SyntheticScene, around: tuple[Surroundings, ...], channel: int
) -> None:
    maps, moves = maps_of(made, around, 2)[channel], truth(made, 2)
    assert float(maps[moves].median()) > float(maps[~moves].median()) + 0.5  # e^0.5 times as far


def test_a_turning_camera_has_no_parallax_and_its_epipolar_residual_is_the_whole() -> None:
    turning = make_scene(5, (96, 72), seed=1, noise_px=0.1, path="turning")
    images = np.stack([shrink(image) for image in turning.video.images])
    with no_progress("", 0) as counter:
        found = look_around(images, turning.flow, turning.scene, 1, counter)
    maps = maps_of(turning, found, 1)
    assert float(maps[PARALLAX].max()) < -1.5  # below 0.05 px
    assert torch.equal(maps[OFFLINE], maps[RESIDUAL])


def test_affine_flow_is_found_under_a_mover() -> None:
    v, u = torch.meshgrid(torch.linspace(-1, 1, 72), torch.linspace(-1, 1, 96), indexing="ij")
    exact = torch.stack((3 + 2 * u - v, -1 + 0.5 * v), dim=-1)
    moved = exact.clone()
    moved[20:50, 30:60] += 25  # an eighth of the image
    found = affine_flow(moved, torch.ones(72, 96))
    # pixels; the mover's weight at 25 px is 1/16,000 of the others' and pulls by less than that
    assert float((found - exact).abs().max()) < 0.02


def test_a_mirrored_image_has_mirrored_maps_with_the_horizontal_flow_reversed(
    made: SyntheticScene,
) -> None:
    edge = int(partner_edges(made.flow, 2)[0])
    flow = made.flow
    mirrored = Flow(
        flow.edges,
        flow.flow_px[:, :, ::-1] * np.array([-1, 1], np.float16),
        np.ascontiguousarray(flow.confidence[:, :, ::-1]),
    )
    here, there = motion_maps(flow, edge)[0], motion_maps(mirrored, edge)[0]
    sign = torch.tensor([-1.0, 1, -1, 1, 1, 1])[:, None, None]
    # every eighth sample decides the affine part, and mirrored ones are others
    assert float((here - sign * there.flip(-1)).abs().median()) < 0.02


def test_partners_are_one_later_and_one_earlier(made: SyntheticScene) -> None:
    for frame in range(6):
        targets = made.flow.edges[partner_edges(made.flow, frame), 1] - frame
        assert len(targets) == 2
        if 2 <= frame <= 3:
            assert sorted(targets) == [-2, 2]


def test_partners_without_consistent_flow_come_last(made: SyntheticScene) -> None:
    confidence = made.flow.confidence.copy()
    confidence[np.abs(made.flow.edges[:, 1] - made.flow.edges[:, 0]) == 2] = 0
    cut = Flow(made.flow.edges, made.flow.flow_px, confidence)
    targets = cut.edges[partner_edges(cut, 3), 1] - 3
    assert 2 not in np.abs(targets)


def test_a_frame_without_edges_has_no_partner() -> None:
    empty = Flow(
        np.zeros((0, 2), np.int64),
        np.zeros((0, 8, 8, 2), np.float16),
        np.zeros((0, 8, 8), np.uint8),
    )
    assert len(partner_edges(empty, 0)) == 0
