"""TUM trajectory files."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon4d.core.errors import InputError
from recon4d.io.poses.trajectory import Trajectory, read_trajectory, write_trajectory
from tests import needs


def random_trajectory(count: int = 20) -> Trajectory:
    rng = np.random.default_rng(0)
    world_from_cam = np.tile(np.eye(4), (count, 1, 1))
    world_from_cam[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    world_from_cam[:, :3, 3] = rng.normal(size=(count, 3)) * 10 ** rng.uniform(-6, 3, (count, 1))
    return Trajectory(1305031248.197746 + np.arange(count) / 30, world_from_cam)


def test_a_trajectory_survives_writing_and_reading(tmp_path: Path) -> None:
    wanted = random_trajectory()
    write_trajectory(wanted, tmp_path / "poses.txt")
    found = read_trajectory(tmp_path / "poses.txt")
    np.testing.assert_array_equal(found.timestamps_s, wanted.timestamps_s)
    # 9 significant digits; an entry of a matrix sums several products of a quaternion's
    np.testing.assert_allclose(found.world_from_cam, wanted.world_from_cam, rtol=1e-8, atol=1e-8)
    assert "e" not in (tmp_path / "poses.txt").read_text()


def test_numbers_have_nine_digits_and_no_tail_of_zeros(tmp_path: Path) -> None:
    world_from_cam = np.eye(4)[None].copy()
    world_from_cam[0, :3, 3] = [1e-70, -1234.56789012345, 0.0000123456789012]
    write_trajectory(Trajectory(np.zeros(1), world_from_cam), tmp_path / "poses.txt")
    words = (tmp_path / "poses.txt").read_text().split()
    assert words[1:] == ["0.0", "-1234.56789", "0.0000123456789", "0.0", "0.0", "0.0", "1.0"]


def test_evo_reads_the_same_poses(tmp_path: Path) -> None:
    file_interface = needs.package("evo.tools.file_interface", "eval")
    wanted = random_trajectory()
    write_trajectory(wanted, tmp_path / "poses.txt")
    found = file_interface.read_tum_trajectory_file(str(tmp_path / "poses.txt"))
    np.testing.assert_array_equal(found.timestamps, wanted.timestamps_s)
    np.testing.assert_allclose(
        np.stack(found.poses_se3), wanted.world_from_cam, rtol=1e-8, atol=1e-8
    )


def test_we_read_what_evo_writes(tmp_path: Path) -> None:
    file_interface = needs.package("evo.tools.file_interface", "eval")
    trajectory = needs.package("evo.core.trajectory", "eval")
    wanted = random_trajectory()
    theirs = trajectory.PoseTrajectory3D(
        poses_se3=list(wanted.world_from_cam), timestamps=wanted.timestamps_s
    )
    file_interface.write_tum_trajectory_file(str(tmp_path / "evo.txt"), theirs)
    found = read_trajectory(tmp_path / "evo.txt")
    np.testing.assert_allclose(found.world_from_cam, wanted.world_from_cam, rtol=1e-9, atol=1e-9)


def test_a_quarter_turn_to_the_right_is_written_scalar_last(tmp_path: Path) -> None:
    world_from_cam = np.eye(4)[None].copy()
    world_from_cam[0, :3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]  # forward (+Z) becomes +X
    write_trajectory(Trajectory(np.zeros(1), world_from_cam), tmp_path / "poses.txt")
    words = (tmp_path / "poses.txt").read_text().split()
    np.testing.assert_allclose([float(w) for w in words[4:]], [0, 0.5**0.5, 0, 0.5**0.5], atol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# only a comment\n", "has no poses"),
        ("0 1 2 3 0 0 0 1\n0.1 1 2 3 0 0 1\n", "line 2: found 7 values, needed 8"),
        ("0 1 2 x 0 0 0 1\n", "line 1: found 'x'"),
        ("0 1 2 nan 0 0 0 1\n", "line 1: found 'nan'"),
        ("0 1 2 3 0 0 0 0\n", "line 1: the quaternion has length 0"),
        ("0 0 0 0 1 1 2 3\n", "line 1: the quaternion has length"),
    ],
)
def test_malformed_trajectories_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "poses.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_trajectory(tmp_path / "poses.txt")


def test_a_missing_trajectory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"poses\.txt cannot be read"):
        read_trajectory(tmp_path / "poses.txt")
