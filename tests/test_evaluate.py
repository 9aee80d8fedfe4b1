"""Evaluation: against published numbers, golden numbers, and an independent script."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon4d.cli import main
from recon4d.core.errors import InputError, MissingDependencyError
from recon4d.evaluate import EvalOptions, compare, evaluate, steadiness_alone
from recon4d.evaluate.depth import (
    ALIGNMENTS,
    DepthErrors,
    error_sums,
    least_absolute,
    mean_errors,
)
from recon4d.evaluate.masks import contour, contour_f, jaccard, statistics, tolerance_px
from recon4d.io.poses.trajectory import Trajectory, write_trajectory
from recon4d.results.folder import write_result
from recon4d.results.reconstruction import Reconstruction
from tests import needs

needs.package("evo", "eval")

SHARED = Path(__file__).parents[1] / "../shared"
GOLDEN_TOLERANCE = 1e-5
"""Distance of a re-derivation in numpy from the golden float32 numbers, as their README states it."""
COUNT = 6

needs_shared = needs.shared_file("")


def golden() -> dict[str, np.ndarray]:
    with np.load(SHARED / "golden/eval_metrics.npz") as stored:
        return {key: stored[key] for key in stored.files}


def depth_errors(prediction: np.ndarray, truth: np.ndarray, is_known: np.ndarray) -> DepthErrors:
    return mean_errors(error_sums(prediction, truth, is_known))


def make_poses(count: int, step_m: float = 0.1) -> np.ndarray:
    """A bent path with turns."""
    rng = np.random.default_rng(5)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(rng.normal(0, 0.3, (count, 3))).as_matrix()
    poses[:, :3, 3] = np.cumsum(rng.normal(0, step_m, (count, 3)), axis=0)
    return poses


def moved(poses: np.ndarray, scale: float) -> np.ndarray:
    """The same path in another frame and scale."""
    turn = Rotation.from_euler("xyz", (20, -50, 70), degrees=True).as_matrix()
    out = poses.copy()
    out[:, :3, :3] = turn @ poses[:, :3, :3]
    out[:, :3, 3] = scale * poses[:, :3, 3] @ turn.T + (1, 2, 3)
    return out


def make_result(folder: Path, is_metric: bool = False, noise: float = 0.05) -> Reconstruction:
    """Write a sequence `folder/gt` of 64x48 px and a noisy result `folder/result` of 40x32 px."""
    rng = np.random.default_rng(7)
    times = np.arange(COUNT) / 15
    poses = make_poses(COUNT)
    truth = folder / "gt"
    (truth / "depth").mkdir(parents=True)
    (truth / "mask").mkdir()
    write_trajectory(Trajectory(times, poses), truth / "groundtruth.txt")
    v, u = np.mgrid[:48, :64].astype(np.float64)
    depth, is_moving = [], []
    for i, time_s in enumerate(times):
        frame = 2 + 0.02 * u + 0.3 * np.sin(v / 7 + i)
        frame[:3, : 5 + i] = 0
        mask = np.hypot(u - 15 - 5 * i, v - 25) < 9
        cv2.imwrite(str(truth / f"depth/{time_s:.6f}.png"), (frame * 5000).astype(np.uint16))
        cv2.imwrite(str(truth / f"mask/{time_s:.6f}.png"), mask.astype(np.uint8) * 255)
        small = cv2.resize(frame, (40, 32), interpolation=cv2.INTER_NEAREST)
        depth.append(small * 0.4 * rng.lognormal(0, noise, small.shape))
        depth[-1][rng.random(small.shape) < 0.04] = 0
        is_moving.append(np.hypot(*np.mgrid[-15:17, -9 - 3 * i : 31 - 3 * i]) < 6)
    lines = [f"{time_s:.6f} depth/{time_s:.6f}.png\n" for time_s in times]
    (truth / "depth.txt").write_text("".join(lines))
    shaken = moved(poses, 0.4)
    shaken[:, :3, 3] += rng.normal(0, 0.01, (COUNT, 3))
    result = Reconstruction(
        world_from_cam=shaken,
        intrinsics=np.tile((40.0, 40.0, 20.0, 16.0), (COUNT, 1)),
        timestamps_s=times,
        sources=tuple(f"{time_s:.6f}.jpg" for time_s in times),
        images=rng.integers(0, 255, (COUNT, 32, 40, 3), np.uint8),
        depth=np.stack(depth).astype(np.float32),
        confidence=np.full((COUNT, 32, 40), 255, np.uint8),
        is_dynamic=np.stack(is_moving),
        is_metric=is_metric,
    )
    write_result(result, folder / "result")
    (folder / "result/preview.png").write_bytes(b"")  # the independent script wants all files
    return result


@needs_shared
@pytest.mark.parametrize(
    "name", ("fr3_sitting_static", "fr3_walk_xyz", "fr3_walk_rpy", "fr3_walk_halfsphere")
)
def test_command_gives_the_published_ate_to_four_decimals(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = SHARED / "data/trajectories"
    lines = (folder / "ate_rmse_m.txt").read_text().splitlines()
    published = {line.split()[0]: line.split()[1] for line in lines if not line.startswith("#")}
    words = ["eval", f"{folder}/{name}.est.txt", "--gt", f"{folder}/{name}.gt.txt"]
    words += ["--align", "se3", "--max-diff", "0.02", "--json", f"{tmp_path}/errors.json"]
    assert main(words) == 0
    assert f"ATE       {published[name]} m" in capsys.readouterr().out
    stored = json.loads((tmp_path / "errors.json").read_text())
    assert f"{stored['poses']['ate']:.4f}" == published[name]


@needs_shared
@pytest.mark.parametrize("is_metric", (False, True))
def test_figures_of_a_result_agree_with_the_independent_script(
    is_metric: bool, tmp_path: Path
) -> None:
    make_result(tmp_path, is_metric)
    script = SHARED / "tools/score_result.py"
    command = [sys.executable, str(script), str(tmp_path / "result"), "--tum", f"{tmp_path}/gt"]
    command.append("--steady")
    scored = json.loads(subprocess.check_output(command + ["--metric"] * is_metric))
    assert scored["problems"] == []
    options = EvalOptions(depth_scale="none" if is_metric else "sequence")
    ours = compare(tmp_path / "result", tmp_path / "gt", options)
    assert ours.poses and ours.depth and ours.depth.static and ours.depth.moving and ours.masks
    assert ours.steady_depth
    pairs = {
        "posed": ours.poses.matched,
        "ate_m": ours.poses.ate,
        "path_m": ours.poses.path,
        "rpe_rot_deg": ours.poses.rpe_rotation_deg,
        "rot_best_deg": ours.poses.rotation_best_deg,
        "absrel": ours.depth.all.abs_rel,
        "absrel_static": ours.depth.static.abs_rel,
        "absrel_moving": ours.depth.moving.abs_rel,
        "delta125": ours.depth.all.delta_1,
        "known": ours.depth.all.known,
        "J": ours.masks.jaccard,
        "flicker5": ours.steady_depth.static_5,
        "flicker20": ours.steady_depth.static_20,
    }
    assert pairs == {key: pytest.approx(scored[key], rel=1e-5) for key in pairs}


@needs_shared
@pytest.mark.parametrize(
    ("scale", "name", "clip"), (("scale_shift", "lad_bfgs", None), ("none", "cut3r_metric", 70))
)
def test_depth_errors_and_alignments_reproduce_the_golden_numbers(
    scale: str, name: str, clip: float | None
) -> None:
    stored = golden()  # the alignments of publications alone: tests/test_parity_maths.py
    truth, prediction = (stored[f"depth/{kind}"].ravel() for kind in ("gt", "pred"))
    valid = (truth > 0) & (truth < 70)
    truth, prediction = truth[valid].astype(np.float64), prediction[valid].astype(np.float64)
    factor, shift = ALIGNMENTS[scale](prediction, truth)
    if scale != "none":
        # BFGS stops anywhere within 2e-5 of the optimum
        assert np.allclose((factor, shift), stored[f"depth/scale_shift_{name}"], atol=3e-5)
    aligned = np.clip(factor * prediction + shift, None, clip)
    errors = dataclasses.astuple(depth_errors(aligned, truth, np.ones(truth.size, bool)))
    found, expected = (*errors[:7], errors[8]), stored[f"depth/metrics_{name}"]
    assert np.allclose(found, expected, rtol=2 * GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE)


@needs_shared
def test_mask_measures_reproduce_the_golden_numbers() -> None:
    stored = golden()
    truth, found = stored["davis/gt"] > 0, stored["davis/pred"] > 0
    void = stored["davis/void"] > 0
    frames = range(len(truth))
    regions = [jaccard(found[i], truth[i]) for i in frames]
    assert np.allclose(regions, stored["davis/J"], atol=GOLDEN_TOLERANCE)
    contours = [contour_f(found[i], truth[i]) for i in frames]
    assert np.allclose(contours, stored["davis/F"], atol=GOLDEN_TOLERANCE)
    for i in range(len(void)):
        assert jaccard(found[i], truth[i], void[i]) == pytest.approx(stored["davis/J_void"][i])
        assert contour_f(found[i], truth[i], void[i]) == pytest.approx(stored["davis/F_void"][i])
        for bound, key in ((0.02, "th0.02"), (3.0, "th3px")):
            expected = stored[f"davis/F_bound_{key}"][i]
            assert contour_f(found[i], truth[i], bound=bound) == pytest.approx(expected)
        assert np.array_equal(contour(truth[i]), stored["davis/boundary_gt"][i] > 0)
        assert np.array_equal(contour(found[i]), stored["davis/boundary_pred"][i] > 0)
    assert tolerance_px((96, 128)) == stored["davis/radius_96x128"]
    assert tolerance_px((480, 854)) == stored["davis/radius_480x854"]
    measured = dataclasses.astuple(statistics(stored["davis/stat_values"].astype(np.float64)))
    expected = stored["davis/stat_mean_recall_decay"]
    assert np.allclose(measured, expected, atol=GOLDEN_TOLERANCE)


def test_unknown_pixels_count_as_wrong() -> None:
    truth = np.array([2.0, 2.0, 4.0, 4.0])
    errors = depth_errors(np.array([2.0, 2.0, 4.0, 7.0]), truth, np.array([1, 1, 1, 0]) > 0)
    assert errors.abs_rel == 0.25 and errors.delta_1 == errors.delta_3 == 0.75
    assert errors.sq_rel == 1.0 and errors.rmse == 2.0 and errors.log_rmse == 0
    assert errors.known == 0.75


def test_scale_and_shift_are_found_whatever_the_unit_and_the_outliers() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 6, 5000)
    for unit in (1e-3, 1.0, 1e3):
        prediction = (truth - 0.7) / 2.5 * unit
        prediction[:200] *= 9
        scale, shift = least_absolute(prediction, truth)
        assert scale * unit == pytest.approx(2.5, rel=1e-3) and shift == pytest.approx(
            0.7, rel=0.01
        )


def test_an_exact_result_has_no_error_in_any_frame_and_scale(tmp_path: Path) -> None:
    poses, times = make_poses(20), np.arange(20) / 30
    write_trajectory(Trajectory(times, poses), tmp_path / "gt.txt")
    write_trajectory(Trajectory(times, moved(poses, 0.3)), tmp_path / "found.txt")
    errors = compare(tmp_path / "found.txt", tmp_path / "gt.txt", EvalOptions()).poses
    assert errors is not None and errors.align == "sim3"
    # files hold ten digits
    assert errors.ate == pytest.approx(0, abs=1e-7) and errors.scale == pytest.approx(1 / 0.3)
    assert errors.rpe_rotation_deg == pytest.approx(0, abs=1e-5)
    assert errors.rotation_best_deg == pytest.approx(0, abs=1e-5)
    rigid = compare(tmp_path / "found.txt", tmp_path / "gt.txt", EvalOptions(align="se3")).poses
    assert rigid is not None and rigid.ate is not None and rigid.ate > 0.05


def test_metric_results_are_aligned_without_scale_unless_told_otherwise(tmp_path: Path) -> None:
    make_result(tmp_path, is_metric=True)
    kinds, ate = {}, {}
    for align in ("auto", "sim3", "none"):
        errors = compare(tmp_path / "result", tmp_path / "gt", EvalOptions(align=align)).poses
        assert errors is not None and errors.ate is not None
        kinds[align], ate[align] = errors, errors.ate
    assert kinds["auto"].align == "se3" and kinds["auto"].scale == 1
    assert ate["sim3"] < ate["auto"] < ate["none"]


def test_a_still_camera_gives_reasons_where_it_gives_no_number(tmp_path: Path) -> None:
    poses, times = make_poses(8), np.arange(8) / 30
    still = poses.copy()
    still[:, :3, 3] = 1
    write_trajectory(Trajectory(times, poses), tmp_path / "gt.txt")
    write_trajectory(Trajectory(times, still), tmp_path / "found.txt")
    options = EvalOptions()
    text = evaluate(
        tmp_path / "found.txt", tmp_path / "gt.txt", options, json_file=tmp_path / "e.json"
    )
    assert "not available: alignment: Degenerate" in text and "ATE       - m" in text
    stored = json.loads((tmp_path / "e.json").read_text())["poses"]
    assert stored["ate"] is None and stored["rpe_translation"] is None
    assert stored["rpe_rotation_deg"] == pytest.approx(0, abs=1e-5)
    assert stored["rotation_best_deg"] == pytest.approx(0, abs=1e-5)


def test_times_that_do_not_match_are_refused_with_both_ranges(tmp_path: Path) -> None:
    poses = make_poses(5)
    write_trajectory(Trajectory(np.arange(5) + 0.0, poses), tmp_path / "gt.txt")
    write_trajectory(Trajectory(np.arange(5) + 70.0, poses), tmp_path / "found.txt")
    with pytest.raises(InputError, match=r"70\.0+ to 74\.0+ s.* 0\.02 s .*0\.0+ to 4\.0+ s"):
        compare(tmp_path / "found.txt", tmp_path / "gt.txt", EvalOptions())


def test_depth_without_lists_is_matched_by_name_and_factor(tmp_path: Path) -> None:
    result = make_result(tmp_path)
    folder = tmp_path / "kitti/depth"
    folder.mkdir(parents=True)
    for i, source in enumerate(result.sources[1:], start=1):
        big = cv2.resize(result.depth[i], (80, 64), interpolation=cv2.INTER_NEAREST)
        stored = (big * 2 * 256).round().astype(np.uint16)
        cv2.imwrite(str(folder / f"{Path(source).stem}.png"), stored)
    options = EvalOptions(depth_factor=256.0)
    found = compare(tmp_path / "result", tmp_path / "kitti", options)
    assert found.poses is None and found.masks is None and found.depth is not None
    assert found.depth.frames == COUNT - 1 and found.depth.static is None
    assert found.depth.scale == pytest.approx(2, rel=2e-3)  # truth is rounded to 1/256 m
    assert found.depth.all.abs_rel < 2e-3 and found.depth.all.delta_1 == 1


def test_masks_alone_are_matched_by_name(tmp_path: Path) -> None:
    result = make_result(tmp_path)
    folder = tmp_path / "annotations"
    folder.mkdir()
    for is_dynamic, source in zip(result.is_dynamic, result.sources, strict=True):
        big = cv2.resize(is_dynamic.astype(np.uint8), (80, 64), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{Path(source).stem}.png"), big)  # 1 is not 0: moving
    found = compare(tmp_path / "result", folder, EvalOptions())
    assert found.masks is not None and found.poses is None and found.depth is None
    assert found.masks.jaccard == found.masks.contour == found.masks.jaccard_recall == 1


@pytest.mark.parametrize(
    ("result", "gt", "message"),
    (
        ("result", "nowhere", "does not exist"),
        ("nowhere", "gt", "does not exist"),
        ("gt", "gt", "not a result of recon4d"),
        ("result", "empty", "holds no truth"),
        ("gt/groundtruth.txt", "gt/mask", "is a trajectory"),
        ("result", "others", "must match"),
    ),
)
def test_what_cannot_be_compared_is_said(
    result: str, gt: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_result(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    cv2.imwrite(str(tmp_path / "others/a.png"), np.zeros((48, 64), np.uint8))
    assert main(["eval", str(tmp_path / result), "--gt", str(tmp_path / gt)]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1


def test_missing_evo_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_trajectory(Trajectory(np.arange(5.0), make_poses(5)), tmp_path / "gt.txt")
    for name in [name for name in sys.modules if name == "evo" or name.startswith("evo.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "evo", None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"recon4d\[eval\]\""):
        compare(tmp_path / "gt.txt", tmp_path / "gt.txt", EvalOptions())


def test_masks_that_jump_are_less_steady_than_masks_that_stay_with_the_picture(
    tmp_path: Path,
) -> None:
    result = make_result(tmp_path)
    texture = cv2.GaussianBlur(result.images[0], (0, 0), 1)
    still = np.stack([texture] * COUNT)
    stays = np.zeros_like(result.is_dynamic)
    stays[:, 8:24, 10:26] = True
    jumps = stays.copy()
    jumps[::2] = np.roll(stays[::2], 8, axis=2)
    steady = {}
    for name, masks in (("stays", stays), ("jumps", jumps), ("none", np.zeros_like(stays))):
        write_result(dataclasses.replace(result, images=still, is_dynamic=masks), tmp_path / name)
        report = compare(tmp_path / name, tmp_path / "gt", EvalOptions()).masks
        assert report is not None
        steady[name] = report.steady
    assert steady["stays"] is not None and steady["stays"] > 0.98
    assert steady["jumps"] == pytest.approx(1 / 3, abs=0.05)  # half of each lies on the other
    assert steady["none"] is None
    shown = evaluate(tmp_path / "none", tmp_path / "gt", EvalOptions())
    assert "steady  -" in shown and "carried along the flow" in shown


def test_depth_that_flickers_is_told_without_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = make_result(tmp_path)
    texture = cv2.GaussianBlur(base.images[0], (0, 0), 1)
    moves = np.zeros_like(base.is_dynamic)
    moves[:, 8:24, 10:26] = True
    depth = np.full_like(base.depth, 2.0)
    depth[::2, :, 26:] *= 1.1  # static pixels that come and go, to the right of the mover
    depth[3, 8:24, 10:26] = 3.0  # the mover leaps once, and back
    still = dataclasses.replace(
        base,
        images=np.stack([texture] * COUNT),
        world_from_cam=np.tile(np.eye(4), (COUNT, 1, 1)),
        is_dynamic=moves,
        depth=depth,
    )
    write_result(still, tmp_path / "still")
    found = steadiness_alone(tmp_path / "still").steady_depth
    assert found is not None
    static = ~cv2.dilate(moves[0].astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert found.static_5 == pytest.approx(static[:, 26:].sum() / static.sum())
    assert found.static_20 == 0
    assert found.moving_5 == found.moving_20 == pytest.approx(2 / (COUNT - 1), abs=0.02)
    assert found.mover_jump == pytest.approx(1.5)
    assert main(["eval", str(tmp_path / "still")]) == 0
    assert "a factor of 1.50" in capsys.readouterr().out
    unknown = dataclasses.replace(still, depth=np.zeros_like(depth))
    write_result(unknown, tmp_path / "unknown")
    with pytest.raises(InputError, match="add --gt"):
        steadiness_alone(tmp_path / "unknown")


def test_the_table_shows_every_part(tmp_path: Path) -> None:
    make_result(tmp_path)
    text = evaluate(tmp_path / "result", tmp_path / "gt", EvalOptions(depth_scale="scale_shift"))
    for word in ("ATE", "RPE-t", "RPE-r", "Sim(3)", "static", "moving", "shift", "J  ", "F  "):
        assert word in text
