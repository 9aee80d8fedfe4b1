"""Flow that geometry guides, on rendered scenes with exact flow."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon4d.core.scene import FLOW_STRIDE, Flow
from recon4d.flow import WINDOW_OFFSETS, window_pairs
from recon4d.flow.dis import Dis
from recon4d.flow.guided import GUIDED_OFFSETS, KEPT_OFFSETS, guided_flow, static_flow
from recon4d.flow.store import measured_flow
from tests.synthetic import SyntheticScene, make_scene


@pytest.fixture(scope="module")
def made() -> SyntheticScene:
    return make_scene(12, (256, 192), seed=5)


@pytest.fixture(scope="module")
def plain(made: SyntheticScene, tmp_path_factory: pytest.TempPathFactory) -> Flow:
    folder = tmp_path_factory.mktemp("plain")
    return measured_flow(Dis(), made.video.images, window_pairs(12), folder, 1)


@pytest.fixture(scope="module")
def guided(made: SyntheticScene, plain: Flow, tmp_path_factory: pytest.TempPathFactory) -> Flow:
    folder = tmp_path_factory.mktemp("guided")
    return guided_flow(made.video.images, plain, made.scene, folder, Dis(), 1)


def offsets(flow: Flow) -> np.ndarray:
    return np.asarray(np.abs(flow.edges[:, 1] - flow.edges[:, 0]))


def errors(made: SyntheticScene, flow: Flow, offset: int) -> np.ndarray:
    """Distance of a flow from the exact one where the point is seen, pixels."""
    found = []
    known = [tuple(edge) for edge in made.flow.edges.tolist()]
    for edge in np.flatnonzero(offsets(flow) == offset):
        exact = known.index(tuple(flow.edges[edge].tolist()))
        seen = made.flow.confidence[exact] > 127
        off = flow.flow_px[edge].astype(np.float32) - made.flow.flow_px[exact]
        found.append(np.hypot(*off[seen].T))
    return np.concatenate(found)


def test_the_flow_of_a_static_world_is_the_exact_flow(made: SyntheticScene) -> None:
    edge = int(np.flatnonzero(offsets(made.flow) == 5)[0])
    source, target = made.flow.edges[edge].tolist()
    depth = made.depth[source]
    half = FLOW_STRIDE // 2  # the sample lies between four pixels
    around = [
        depth[i::FLOW_STRIDE, j::FLOW_STRIDE] for i in (half - 1, half) for j in (half - 1, half)
    ]
    inverse = np.asarray(1 / np.mean(around, axis=0), np.float32)
    found = static_flow(made.scene, inverse, source, target)
    seen = made.flow.confidence[edge] > 127
    off = np.hypot(*(found - made.flow.flow_px[edge].astype(np.float32))[seen].T)
    assert np.median(off) < 0.02  # float16 flow, and depth between pixels
    assert np.quantile(off, 0.9) < 0.3  # the rest lies on edges of the depth


def test_guided_flow_is_more_exact_than_plain_flow(
    made: SyntheticScene, plain: Flow, guided: Flow
) -> None:
    for offset in {*WINDOW_OFFSETS} & {*GUIDED_OFFSETS}:
        before, after = (errors(made, flow, offset) for flow in (plain, guided))
        assert np.median(after) < 0.7 * np.median(before), (np.median(before), np.median(after))


def test_short_pairs_keep_their_flow(plain: Flow, guided: Flow) -> None:
    for offset in KEPT_OFFSETS:
        a, b = (np.flatnonzero(offsets(flow) == offset) for flow in (plain, guided))
        assert np.array_equal(plain.edges[a], guided.edges[b])
        assert np.array_equal(plain.flow_px[a], guided.flow_px[b])
        assert np.array_equal(plain.confidence[a], guided.confidence[b])


def test_geometry_that_misleads_does_not_spoil_what_was_measured(
    made: SyntheticScene, plain: Flow, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    wrong = made.scene.world_from_cam.copy()
    wrong[:, :3, :3] @= Rotation.from_rotvec(rng.normal(0, 0.15, (12, 3))).as_matrix()
    scene = replace(made.scene, world_from_cam=wrong)
    found = guided_flow(made.video.images, plain, scene, tmp_path, Dis())
    rows = {tuple(edge): row for row, edge in enumerate(plain.edges.tolist())}
    same = [(rows[tuple(e)], k) for k, e in enumerate(found.edges.tolist()) if tuple(e) in rows]
    share = {k: (plain.confidence[a].mean(), found.confidence[k].mean()) for a, k in same}
    assert len(share) > 40 and all(now > 0.45 * before for before, now in share.values())


def test_every_pair_has_both_directions(guided: Flow) -> None:
    half = len(guided.edges) // 2
    assert np.array_equal(guided.edges[:half], guided.edges[half:, ::-1])
    assert set(offsets(guided)) == {*KEPT_OFFSETS, *(k for k in GUIDED_OFFSETS if k < 12)}


def test_short_pairs_keep_their_flow_and_the_others_are_counted(
    made: SyntheticScene, plain: Flow, guided: Flow, tmp_path: Path
) -> None:
    for edge in (0, 1, len(guided.edges) // 2):
        before = int(np.flatnonzero((plain.edges == guided.edges[edge]).all(1))[0])
        assert np.array_equal(guided.flow_px[edge], plain.flow_px[before])
        assert np.array_equal(guided.confidence[edge], plain.confidence[before])
    told: list[str] = []

    class Counter:
        def advance(self, count: int = 1) -> None:
            told.extend(["pair"] * count)

    def progress(stage: str, total: int) -> AbstractContextManager[Counter]:
        told.append(f"{stage}: {total}")
        return nullcontext(Counter())

    guided_flow(made.video.images, plain, made.scene, tmp_path, Dis(), progress=progress)
    longer = int((offsets(guided) > max(KEPT_OFFSETS)).sum()) // 2
    assert told == [f"guided flow: {longer}", *["pair"] * longer]


def test_frames_without_a_pose_keep_the_flow_that_they_have(
    made: SyntheticScene, plain: Flow, tmp_path: Path
) -> None:
    is_posed = made.scene.is_posed.copy()
    is_posed[4] = False
    found = guided_flow(
        made.video.images, plain, replace(made.scene, is_posed=is_posed), tmp_path, Dis()
    )
    before, after = (
        {tuple(e) for e in flow.edges[(flow.edges == 4).any(1)].tolist()} for flow in (plain, found)
    )
    assert before == after


def test_frames_that_show_different_places_are_not_compared(
    made: SyntheticScene, plain: Flow, tmp_path: Path
) -> None:
    turned = made.scene.world_from_cam.copy()
    turned[6:, :3, 0] *= -1  # half a turn: the later half looks the other way
    turned[6:, :3, 2] *= -1
    found = guided_flow(
        made.video.images, plain, replace(made.scene, world_from_cam=turned), tmp_path, Dis()
    )
    far = found.edges[offsets(found) > max(KEPT_OFFSETS)]
    assert len(far) and ((far < 6).all(1) | (far >= 6).all(1)).all()


def test_the_result_does_not_depend_on_the_number_of_threads(
    made: SyntheticScene, plain: Flow, guided: Flow, tmp_path: Path
) -> None:
    again = guided_flow(made.video.images, plain, made.scene, tmp_path, Dis(), 3)
    assert np.array_equal(again.flow_px, guided.flow_px)
    assert np.array_equal(again.confidence, guided.confidence)
