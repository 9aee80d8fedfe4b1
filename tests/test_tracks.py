"""Followed points and objects against rendered worlds whose movers cross."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import recon4d
from recon4d import cli
from recon4d.core.errors import InputError
from recon4d.core.scene import Flow
from recon4d.flow import flow_method
from recon4d.results.folder import write_result
from recon4d.tracks.chain import Followed, at, follow
from recon4d.tracks.command import read_points, track_result
from recon4d.tracks.group import group
from recon4d.tracks.group_all import find_objects
from recon4d.tracks.joint import united
from recon4d.tracks.ladder import Ladder, flow_ladder
from recon4d.tracks.overlap import name_by_overlap
from recon4d.tracks.still import stand
from tests.crossing import Truth, make_crossing

SIZE = (256, 192)
FRAMES = 36


@pytest.fixture(scope="module")
def truth() -> Truth:
    """Two boxes that cross in front of a carried camera."""
    return make_crossing(FRAMES, SIZE, seed=0)


@pytest.fixture(scope="module")
def tracked(truth: Truth, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its result, with points, objects and scene flow."""
    folder = tmp_path_factory.mktemp("tracked") / "out"
    write_result(truth.result, folder)
    track_result(folder, tracks=400, objects=True, scene_flow=True)
    return folder


def test_points_are_where_they_are(truth: Truth, tracked: Path) -> None:
    tracks = recon4d.load(tracked).tracks
    assert tracks is not None and tracks.num_points > 350
    start, own = tracks.start.astype(np.int64), np.arange(tracks.num_points)
    uv, visible, world = truth.follow(start, tracks.uv[start, own].astype(np.float64))
    moves = tracks.object_id != 0
    assert 0.1 < moves.mean() < 0.6
    near = np.abs(np.arange(FRAMES)[:, None] - start) <= 16
    off = np.linalg.norm(tracks.uv - uv, axis=-1)
    for chosen, limit_px in ((~moves, 0.5), (moves, 2.0)):
        both = near & visible & tracks.is_visible & chosen
        assert np.median(off[both]) < limit_px
    assert (visible == tracks.is_visible)[near].mean() > 0.9
    depth = np.linalg.norm(world - truth.result.world_from_cam[:, None, :3, 3], axis=-1)
    both = visible & tracks.is_visible & ~moves
    relative = np.linalg.norm(tracks.world - world, axis=-1) / depth
    assert np.median(relative[both]) < 0.01


def test_movers_that_cross_keep_their_names(truth: Truth, tracked: Path) -> None:
    objects = recon4d.load(tracked).objects
    assert objects is not None
    right, share = named_right(objects.ids, truth.ids)
    assert right >= 0.95 and share > 0.9
    big = [each for each in objects.items if len(each.frames) > FRAMES // 2]
    assert len(big) == 2
    for each in big:
        path = np.array(each.path)
        assert abs(path[-1, 0] - path[0, 0]) > 0.8  # of 2 m
        assert each.speed == pytest.approx(2.0 / truth.world.duration_s, rel=0.35)
        assert each.speed_sigma is not None and each.path_sigma[0] is not None


def named_right(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Share of the frames in which every mover has its own name, and of the moving pixels that have it."""
    movers, most = np.unique(true[true > 0]), int(found.max()) + 1
    counts = np.stack([np.bincount(found[true == k], minlength=most) for k in movers])
    counts[:, 0] = 0
    name = dict(
        zip(
            movers[linear_sum_assignment(-counts)[0]],
            linear_sum_assignment(-counts)[1],
            strict=True,
        )
    )
    right = []
    for ids, want in zip(found, true, strict=True):
        large = [k for k in movers if (want == k).mean() > 0.01]
        right.append(all(np.bincount(ids[want == k]).argmax() == name[k] for k in large))
    of = np.array([name.get(k, -1) for k in range(int(true.max()) + 1)])
    return float(np.mean(right)), float((found == of[true])[true > 0].mean())


def test_scene_flow_is_that_of_the_movers(truth: Truth, tracked: Path) -> None:
    flow = recon4d.load(tracked).scene_flow
    assert flow is not None and np.isnan(flow[-1]).all()
    moving = truth.result.is_dynamic
    assert (flow[:-1][~moving[:-1]] == 0).all()
    step = np.linalg.norm(flow[5][moving[5]].astype(np.float32), axis=-1)
    assert np.nanmedian(step) == pytest.approx(2.0 / FRAMES, rel=0.2)


def shifted_ladder(frames: int, step_px: float, drift_px: float) -> Ladder:
    """Everything moves to the right; the flow of neighbours errs by so much in every step, that of others does not."""
    steps = {}
    for apart in (1, 2, 4, 8, 16):
        count = max(frames - apart, 0)
        flow = np.zeros((2 * count, 24, 120, 2), np.float16)
        flow[:count, ..., 0] = step_px * apart + (drift_px if apart == 1 else 0)
        flow[count:, ..., 0] = -step_px * apart
        pairs = np.array([(n, n + apart) for n in range(count)], np.int64).reshape(-1, 2)
        sure = np.full(flow.shape[:3], 255, np.uint8)
        steps[apart] = Flow(np.concatenate((pairs, pairs[:, ::-1])), flow, sure)
    return Ladder(frames, steps)


def test_long_steps_stop_drift() -> None:
    ladder = shifted_ladder(32, 3.0, 0.25)
    start, uv = np.array([0]), np.array([[20.0, 20.0]])
    plain, full = follow(ladder, start, uv, offsets=(1,)), follow(ladder, start, uv)
    assert plain.uv[31, 0, 0] == pytest.approx(20 + 31 * 3.25, abs=0.1)
    assert full.uv[31, 0, 0] == pytest.approx(20 + 31 * 3, abs=0.6)
    assert full.sigma_px[31, 0] < plain.sigma_px[31, 0]


def test_a_point_that_is_hidden_for_a_moment_is_found_again() -> None:
    ladder = shifted_ladder(24, 2.0, 0.0)
    for apart, flow in ladder.steps.items():
        count = len(flow.edges) // 2
        for row in range(count):
            if row in (10, 11, 12) or row + apart in (10, 11, 12):
                flow.confidence[[row, row + count]] = 0
    found = follow(ladder, np.array([0]), np.array([[20.0, 20.0]]))
    assert found.is_visible[:10, 0].all() and not found.is_visible[10:13, 0].any()
    assert found.is_visible[13:, 0].all()
    assert found.uv[23, 0, 0] == pytest.approx(20 + 23 * 2, abs=0.1)


def test_any_number_of_points_is_looked_up() -> None:
    values = np.arange(24 * 30, dtype=np.float32).reshape(24, 30)
    for count in (0, 1, 256, 40_000):
        uv = np.full((count, 2), (7.0, 5.0))
        np.testing.assert_allclose(at(values, uv), np.full(count, values[2, 3]), atol=1e-4)
    both = np.dstack((values, -values))
    np.testing.assert_allclose(at(both, np.array([[7.0, 5.0]])), [[values[2, 3], -values[2, 3]]])


def test_points_go_back_to_the_beginning() -> None:
    found = follow(shifted_ladder(12, 2.0, 0.0), np.array([8]), np.array([[60.0, 20.0]]))
    assert found.uv[0, 0, 0] == pytest.approx(60 - 16, abs=0.1)


def test_what_is_behind_something_is_not_visible(truth: Truth) -> None:
    result = truth.result
    row, col = np.nonzero(~result.is_dynamic[0])
    uv = np.stack((col, row), axis=1)[::97] + 0.5
    found = stand(result, np.zeros(len(uv), np.int64), uv)
    _, visible, _ = truth.follow(np.zeros(len(uv), np.int64), uv)
    assert (found.is_visible == visible).mean() > 0.98
    hidden = ~visible & result.is_dynamic[20][0:1, 0:1]
    assert not (found.is_visible & hidden).any()


@pytest.mark.filterwarnings("error")
def test_where_depth_is_unsure_places_are_kept_without_a_deviation(truth: Truth) -> None:
    result = replace(truth.result, depth_std=np.full(truth.result.depth.shape, np.inf, np.float16))
    found = stand(result, np.zeros(1, np.int64), np.array([[30.5, 20.5]], np.float32))
    assert np.isfinite(found.uv).all() and np.isfinite(found.world).all()
    assert np.isinf(found.sigma).all() and np.isinf(found.sigma_px).all()


def test_two_that_cross_are_two_groups_and_one_that_swings_is_one() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(24)[:, None, None]
    body = rng.uniform(0, 40, (1, 40, 2))
    right, left = body + times * [3.0, 0.0], body + np.array([60.0, 5.0]) - times * [3.0, 0.0]
    swings = body + np.sin(0.4 * times) * (body[..., 1:] / 40) * [3.0, 0.0]
    seen = np.ones((24, 80), bool)
    one_piece = np.ones((24, 80), np.int64)
    both = np.concatenate((right, left), axis=1).astype(np.float32)
    label = group(both, seen, one_piece, 8.0)
    assert set(label[:40]).isdisjoint(label[40:]) and len(set(label)) == 2
    label = group(swings.astype(np.float32), seen[:, :40], one_piece[:, :40], 8.0)
    assert len(set(label)) == 1


def test_what_is_never_apart_is_one_thing() -> None:
    rng = np.random.default_rng(1)
    times = np.arange(24)[:, None, None]
    body, arm = rng.uniform(0, 40, (1, 30, 2)), rng.uniform(0, 10, (1, 12, 2)) + 38
    swings = arm + 8 * np.sin(0.8 * times) + times * [1.0, 0.0]
    uv = np.concatenate((body + times * [1.0, 0.0], swings), axis=1).astype(np.float32)
    seen, piece = np.ones(uv.shape[:2], bool), np.ones(uv.shape[:2], np.int64)
    followed = Followed(uv, seen, np.ones(seen.shape, np.float32))
    label = np.repeat([0, 1], (30, 12))
    assert set(united(label, followed, piece)) == {0}
    piece[12:, 30:] = 2
    assert set(united(label, followed, piece)) == {0, 1}


def test_points_of_a_file_are_followed(tracked: Path, tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("frame,u,v\n0,20,20\n# a comment\n10, 30.5, 40\n")
    assert cli.main(["track", str(tracked), "--points", str(points)]) == 0
    with np.load(tracked / "tracks.npz") as stored:
        assert stored["uv"].shape == (FRAMES, 2, 2)
        assert stored["uv"][10, 1] == pytest.approx([30.5, 40])
        assert stored["visible"][[0, 10], [0, 1]].all() and stored["start"].tolist() == [0, 10]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "0 points"),
        ("0,1\n", "frame,u,v"),
        ("0.5,1,1\n", "whole number"),
        ("0,abc,1\n", "a number was needed"),
        ("0,nan,1\n", "finite"),
        ("36,1,1\n", "frames are 0 to 35"),
        ("0,256,1\n", "pixels up to 255,191"),
        (",\n", "frame,u,v"),
    ],
)
def test_points_that_cannot_be_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "points.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_points(path, FRAMES, SIZE)


def test_what_no_point_tells_of_is_followed_by_overlap() -> None:
    moving = np.zeros((8, 40, 60), bool)
    for frame in range(8):
        moving[frame, 10:18, 4 + 5 * frame : 12 + 5 * frame] = frame != 4
        moving[frame, 30:36, 40:46] = frame in (2, 3)
    piece = np.where(moving, 1, 0)
    piece[:, 25:][moving[:, 25:]] = 2
    ids = name_by_overlap(np.zeros(moving.shape, np.uint8), moving, piece)
    assert (ids[:, :25][moving[:, :25]] == 1).all() and ids.max() == 1
    assert not ids[~moving].any()


@pytest.mark.parametrize("frames", [2, 3, 6])
def test_short_videos_have_tracks(frames: int, tmp_path: Path) -> None:
    write_result(make_crossing(frames, (128, 96), seed=1).result, tmp_path / "out")
    track_result(tmp_path / "out", tracks=50, objects=True, scene_flow=True)
    found = recon4d.load(tmp_path / "out")
    assert found.tracks is not None and found.tracks.uv.shape[0] == frames


def test_a_command_with_nothing_to_do_says_so(
    tracked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["track", str(tracked), "--tracks", "0"]) == 2
    assert "--tracks 0 follows no points, and nothing else is asked for" in capsys.readouterr().err


def test_without_points_the_rest_is_made(tmp_path: Path) -> None:
    write_result(make_crossing(3, (128, 96), seed=1).result, tmp_path / "out")
    assert cli.main(["track", str(tmp_path / "out"), "--tracks", "0", "--objects"]) == 0
    assert (tmp_path / "out/objects.json").exists() and not (tmp_path / "out/tracks.npz").exists()


def test_objects_keep_their_ids_over_windows(truth: Truth, tmp_path: Path) -> None:
    ladder = flow_ladder(truth.result.images, flow_method("dis"), tmp_path)
    found = find_objects(ladder, truth.result, window=20)
    right, share = named_right(found.ids, truth.ids[:, 1::2, 1::2])
    assert right >= 0.9 and share > 0.9
