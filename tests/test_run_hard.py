"""Hard input that `recon4d run` must do, with a warning where the result is less than it looks; odd formats."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import Float64, UInt8
from scipy.spatial.transform import Rotation

import recon4d
from recon4d import cli
from tests.media import (
    ask_for_clockwise_quarter_turn,
    cut_off,
    write_images,
    write_video,
)
from tests.paths import relative_ate, turn_errors_deg
from tests.synthetic import SyntheticScene, make_scene

pytestmark = pytest.mark.usefixtures("small_salience")
SIZE = (160, 120)


@dataclass(frozen=True)
class Done:
    """What a run that succeeded left behind."""

    result: recon4d.Reconstruction
    facts: dict[str, object]
    screen: str

    def warning(self, code: str) -> tuple[str, list[int]]:
        """Message and frames of a warning; it must be on screen, too."""
        warnings = self.facts["warnings"]
        assert isinstance(warnings, list)
        (found,) = [w for w in warnings if w["code"] == code]
        assert f"warning:    {found['message']}" in self.screen
        return found["message"], found["frames"]

    @property
    def codes(self) -> list[str]:
        warnings = self.facts["warnings"]
        assert isinstance(warnings, list)
        return [w["code"] for w in warnings]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def done(capsys: pytest.CaptureFixture[str], *argv: str) -> Done:
    """Run the command on `in` or `in.mp4`; it must succeed and leave nothing but the result."""
    before = set(Path.cwd().iterdir())
    (source,) = before
    code = cli.main(["run", source.name, *argv])
    out, err = capsys.readouterr()
    assert code == 0, err
    (folder,) = set(Path.cwd().iterdir()) - before
    facts = json.loads((folder / "run.json").read_text())
    result = recon4d.load(folder)
    assert np.isfinite(result.depth).all() and (result.depth >= 0).all()
    assert result.depth_std is not None and result.depth_std.shape == result.depth.shape
    assert np.isinf(result.depth_std[result.confidence == 0]).all()
    assert result.pose_covariance is not None
    assert result.pose_covariance.shape == (len(result.depth), 6, 6)
    assert not result.pose_covariance[0].any()
    assert (folder / "preview.png").stat().st_size > 1000
    return Done(result, facts, out + err)


GEOMETRY_ALONE = ("--masks", "none")
"""For what is about reading or cameras: the network of the masks takes half of the time."""
ONE_ROUND = ("--loop", "1")
"""For what the second round of masks and optimisation does not change."""


def known(intrinsics: Float64[np.ndarray, "4"]) -> str:
    """The option; on the command line the centre of the first pixel is (0, 0)."""
    fx, fy, cx, cy = intrinsics
    return f"--intrinsics={fx},{fy},{cx - 0.5},{cy - 0.5}"


def of(scene: SyntheticScene) -> str:
    assert scene.video.intrinsics is not None
    return known(scene.video.intrinsics)


def turns_deg(world_from_cam: Float64[np.ndarray, "frames 4 4"]) -> Float64[np.ndarray, " frames"]:
    """Angle of every camera against the first."""
    turn = world_from_cam[0, :3, :3].T @ world_from_cam[:, :3, :3]
    return np.degrees(Rotation.from_matrix(turn).magnitude())


# Done with a warning


@pytest.mark.slow
def test_of_a_truncated_video_the_frames_that_decode_are_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene = make_scene(40, SIZE, seed=1)
    # The table of contents comes first (faststart), so that a player shows the beginning.
    video = write_video(
        Path("in.mp4"), scene.video.images, container_options={"movflags": "faststart"}
    )
    cut_off(video, 0.6)
    run = done(capsys, of(scene), *GEOMETRY_ALONE)
    message, _ = run.warning("truncated_video")
    count = len(run.result.images)
    assert 10 <= count < 40
    assert str(count) in message
    truth = scene.scene.world_from_cam[:count]
    assert relative_ate(run.result.world_from_cam, truth) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_a_still_camera_has_no_invented_parallax(
    noise: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Identical frames, and a tripod's: the same picture with the sensor's noise."""
    frame = make_scene(1, SIZE, seed=2).video.images.astype(np.float64)
    rng = np.random.default_rng(0)
    frames = frame + rng.normal(0, noise, (8, *frame.shape[1:]))
    write_images(Path("in"), frames.clip(0, 255).round().astype(np.uint8))
    run = done(capsys)
    message, _ = run.warning("no_parallax")
    assert "depth is unknown" in message
    poses = run.result.world_from_cam
    np.testing.assert_array_equal(poses[:, :3, 3], 0)
    assert turns_deg(poses).max() < 0.1  # 0.25 px, less than the flow's noise
    assert run.result.confidence.max() == 0
    assert np.ptp(run.result.depth) == 0
    assert run.result.is_dynamic.mean() < 0.01


def test_a_still_camera_sees_what_moves(capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(10, SIZE, seed=2, mover=True, path="still")
    write_images(Path("in"), scene.video.images)
    run = done(capsys, *ONE_ROUND)
    run.warning("no_parallax")
    poses = run.result.world_from_cam
    np.testing.assert_array_equal(poses[:, :3, 3], 0)
    assert turns_deg(poses).max() < 0.1
    both = run.result.is_dynamic & scene.is_dynamic
    either = run.result.is_dynamic | scene.is_dynamic
    assert both.sum() / either.sum() > 0.5
    assert run.result.confidence.max() == 0


def test_of_a_pure_rotation_the_rotation_is_right_and_depth_is_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene = make_scene(14, SIZE, seed=3, path="turning")
    write_images(Path("in"), scene.video.images)
    run = done(capsys, of(scene), *ONE_ROUND)
    run.warning("no_parallax")
    truth = scene.scene.world_from_cam
    assert turns_deg(truth).max() > 3
    assert turn_errors_deg(run.result.world_from_cam, truth).max() < 0.1  # 0.25 px of 138 px
    assert run.result.confidence.max() == 0


@pytest.mark.slow
def test_a_turning_camera_of_unknown_focal_length_gets_no_invented_depth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With another focal length, the same pictures are a step past a plane."""
    scene = make_scene(14, SIZE, seed=3, path="turning", plain_lens=True)
    write_images(Path("in"), scene.video.images)
    run = done(capsys)
    run.warning("no_parallax")
    assert run.result.confidence.max() == 0
    turned, truth = turns_deg(run.result.world_from_cam)[-1], turns_deg(scene.scene.world_from_cam)
    # 7 degrees of turning tell the focal length only roughly, and the angle with it.
    assert 0.7 < turned / truth[-1] < 1.4


@pytest.mark.parametrize(
    "kind", ["black", *(pytest.param(k, marks=pytest.mark.slow) for k in ("textureless", "noise"))]
)
def test_frames_without_a_picture_are_named_and_interpolated(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = make_scene(16, SIZE, seed=4)
    images = scene.video.images.copy()
    rng = np.random.default_rng(0)
    filling = {"black": 0, "textureless": 120, "noise": rng.integers(0, 256, images[7:9].shape)}
    images[7:9] = filling[kind]
    write_images(Path("in"), images)
    run = done(capsys, of(scene), *ONE_ROUND)
    _, frames = run.warning("lost_frames")
    assert frames == [7, 8]
    assert run.facts["posed"] == 14
    assert (run.result.confidence[7:9] == 0).all()
    assert (run.result.confidence[[6, 9]] > 0).any()
    truth = scene.scene.world_from_cam
    assert relative_ate(run.result.world_from_cam, truth) < 0.02  # the interpolated ones included
    assert turn_errors_deg(run.result.world_from_cam, truth).max() < 1


def test_a_hard_cut_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = make_scene(14, SIZE, seed=5), make_scene(9, SIZE, seed=77)
    write_images(Path("in"), np.concatenate((before.video.images, after.video.images)))
    run = done(capsys, of(before), *ONE_ROUND)
    message, frames = run.warning("disconnected")
    assert frames == list(range(14, 23))
    assert "Frames 14 to 22" in message and "cut" in message
    poses = run.result.world_from_cam
    assert relative_ate(poses[:14], before.scene.world_from_cam) < 0.02
    assert relative_ate(poses[14:], after.scene.world_from_cam) < 0.05
    assert (run.result.confidence[14:] == 0).all()
    assert (run.result.confidence[:14] > 0).mean() > 0.5


# Done with nothing special to say


def moving_frames(count: int = 8) -> UInt8[np.ndarray, "frames height width 3"]:
    return make_scene(count, SIZE, seed=6).video.images


def luminance_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean absolute difference in grey levels; JPEG and H.264 keep colour at half the resolution."""
    a, b = ([cv2.cvtColor(i, cv2.COLOR_RGB2GRAY).astype(int) for i in x] for x in (found, expected))
    return float(np.abs(np.stack(a) - np.stack(b)).mean())


def test_two_frames_are_enough(capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(6, SIZE, seed=6)
    write_images(Path("in"), scene.video.images[[0, 5]])
    run = done(capsys, of(scene))
    assert run.codes == []
    assert len(run.result.images) == 2
    truth = scene.scene.world_from_cam[[0, 5]]
    assert turn_errors_deg(run.result.world_from_cam, truth).max() < 0.5
    moved, true_move = (
        run.result.world_from_cam[1, :3, 3],
        (np.linalg.inv(truth[0]) @ truth[1])[:3, 3],
    )
    cosine = moved @ true_move / np.linalg.norm(moved) / np.linalg.norm(true_move)
    assert cosine > 0.98


@pytest.mark.parametrize(
    "kind",
    ["RGBA", "16 bit grey", *(pytest.param(k, marks=pytest.mark.slow) for k in ("16 bit", "grey"))],
)
def test_images_of_any_kind_are_read(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    frames = moving_frames()
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    kinds = {
        "16 bit": frames.astype(np.uint16) * 257,
        "grey": grey,
        "16 bit grey": grey.astype(np.uint16) * 257,
        "RGBA": np.concatenate((frames, np.full_like(frames[..., :1], 255)), axis=-1),
    }
    write_images(Path("in"), kinds[kind])
    run = done(capsys, known(np.array([137.6, 139.2, 80.8, 58.8])), *GEOMETRY_ALONE)
    assert run.codes == []
    expected = np.stack([grey] * 3, axis=-1) if "grey" in kind else frames
    assert luminance_error(run.result.images, expected) < 3  # JPEG
    assert run.facts["posed"] == len(frames)


def test_a_portrait_video_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    scene = make_scene(8, (96, 160), seed=6)
    write_video(Path("in.mp4"), scene.video.images)
    run = done(capsys, of(scene), *ONE_ROUND)
    assert run.codes == []
    assert run.result.images.shape == (8, 160, 96, 3)


@pytest.mark.slow
def test_a_video_held_upright_is_done_upright(capsys: pytest.CaptureFixture[str]) -> None:
    upright = make_scene(8, (96, 160), seed=6).video.images
    stored = np.rot90(upright, axes=(1, 2))  # players turn it clockwise again
    ask_for_clockwise_quarter_turn(write_video(Path("in.mp4"), stored))
    run = done(capsys)
    assert run.result.images.shape == upright.shape
    assert luminance_error(run.result.images, upright) < 5  # H.264 and JPEG


@pytest.mark.slow
def test_a_4k_video_is_done_at_working_size(capsys: pytest.CaptureFixture[str]) -> None:
    small = moving_frames(4)
    large = np.stack(
        [cv2.resize(frame, (3840, 2160), interpolation=cv2.INTER_CUBIC) for frame in small]
    )
    write_video(Path("in.mp4"), large)
    run = done(capsys, "--intrinsics=3302.4,2505.6,1938.7,1057.9", "--size", "256", *GEOMETRY_ALONE)
    assert run.codes == []
    assert run.result.images.shape == (4, 144, 256, 3)
    np.testing.assert_allclose(run.result.intrinsics[:, 0], 3302.4 * 256 / 3840)


def test_a_video_of_variable_frame_rate_keeps_its_times(capsys: pytest.CaptureFixture[str]) -> None:
    times = [0.0, 0.033, 0.066, 0.2, 0.233, 0.5, 0.533, 0.566]
    write_video(Path("in.mp4"), moving_frames(8), times)
    run = done(capsys, known(np.array([137.6, 139.2, 80.8, 58.8])), *GEOMETRY_ALONE)
    assert run.codes == []
    np.testing.assert_allclose(run.result.timestamps_s, times, atol=1e-3)


# A lens that is not ideal


@pytest.mark.parametrize(
    ("model", "k1", "k2"),
    [
        ("opencv", -0.25, 0.06),
        pytest.param("fisheye", -0.03, 0.004, marks=pytest.mark.slow),
    ],
)
def test_frames_of_a_distorting_lens_give_the_poses_of_an_ideal_one(
    model: str, k1: float, k2: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """The test distorts its own frames: each pixel of the lens's image takes its colour along its ray."""
    scene = make_scene(14, (240, 180), seed=8)
    assert scene.video.intrinsics is not None
    fx, fy, cx, cy = scene.video.intrinsics
    camera = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])  # OpenCV's pixel centres
    u, v = np.meshgrid(np.arange(240.0), np.arange(180.0))
    px = np.stack((u, v), axis=-1).reshape(-1, 1, 2)
    coefficients = np.array([k1, k2, 0.0, 0.0])
    undistort = cv2.fisheye.undistortPoints if model == "fisheye" else cv2.undistortPoints
    ideal = undistort(px, camera, coefficients, P=camera).reshape(180, 240, 2).astype(np.float32)
    images = [
        cv2.remap(
            image, ideal[..., 0], ideal[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
        )
        for image in scene.video.images
    ]
    write_images(Path("in"), np.stack(images))
    name = "OPENCV_FISHEYE" if model == "fisheye" else "OPENCV"
    Path("camera").mkdir()
    Path("camera/cameras.txt").write_text(
        f"1 {name} 240 180 {fx} {fy} {cx} {cy} {k1} {k2} 0 0\n"  # COLMAP's pixel centres
    )
    lens = Path("camera/cameras.txt").rename(Path("..") / f"{Path.cwd().name}.cameras.txt")
    Path("camera").rmdir()
    run = done(capsys, "--intrinsics", str(lens), *GEOMETRY_ALONE)
    truth = scene.scene.world_from_cam
    assert relative_ate(run.result.world_from_cam, truth) < 0.01
    assert turn_errors_deg(run.result.world_from_cam, truth).max() < 0.2
    lens.unlink()
