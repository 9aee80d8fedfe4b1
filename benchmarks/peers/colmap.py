"""COLMAP on the same frames, where pycolmap is installed: cameras and lens; it tells no depth and no masks.

It runs in a process of its own (`python -m benchmarks.peers.colmap CLIP FOLDER SEED`): its libraries and OpenCV's do
not get on in one, and what it ends in is not the end of the benchmark.
"""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.scores.page import Row
from recon4d.core.errors import Recon4DError
from recon4d.evaluate import EvalOptions, compare
from recon4d.io.poses.trajectory import Trajectory, write_trajectory

OVERLAP = 10
"""Frames that each is matched with (COLMAP's own choice for videos)."""
LENS = "SIMPLE_RADIAL"
"""The camera model that is estimated: COLMAP's default."""


def is_there() -> bool:
    """Whether pycolmap is installed."""
    return importlib.util.find_spec("pycolmap") is not None


def figures(clip: Path, folder: Path, seed: int) -> Row:
    """What COLMAP finds of a clip in TUM layout whose picture files are named after their times.

    Args:
        clip: With `rgb/`, `rgb.txt` and `groundtruth.txt`.
        folder: Where its data base and models go, made anew.
        seed: Of its random choices.
    """
    words = [sys.executable, "-m", __name__, str(clip), str(folder), str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"failure": f"COLMAP ends with {done.returncode}"}
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def _figures(clip: Path, folder: Path, seed: int) -> Row:
    """The same, in this process."""
    import pycolmap

    folder.mkdir(parents=True)
    began, base = time.perf_counter(), folder / "colmap.db"
    pycolmap.set_random_seed(seed)
    pycolmap.logging.minloglevel = int(pycolmap.logging.FATAL)
    reader = pycolmap.ImageReaderOptions(camera_model=LENS)
    single = pycolmap.CameraMode.SINGLE
    pycolmap.extract_features(base, clip / "rgb", camera_mode=single, reader_options=reader)
    nearest = pycolmap.SequentialPairingOptions(overlap=OVERLAP)
    pycolmap.match_sequential(base, pairing_options=nearest)
    models = pycolmap.incremental_mapping(base, clip / "rgb", folder)
    if not models:
        return {"failure": "COLMAP finds no model"}
    model = max(models.values(), key=lambda each: each.num_reg_images())
    found = {"seconds": time.perf_counter() - began, "posed": model.num_reg_images()}
    images = [image for image in model.images.values() if image.has_pose]
    poses = np.tile(np.eye(4), (len(images), 1, 1))
    poses[:, :3] = [image.cam_from_world().inverse().matrix() for image in images]
    times_s = np.array([float(Path(image.name).stem) for image in images])
    order = np.argsort(times_s)
    path = folder / "poses.txt"
    write_trajectory(Trajectory(times_s[order], poses[order]), path)
    (camera,) = model.cameras.values()
    focal_px, _, _, k1 = camera.params.tolist()
    try:
        errors = compare(path, clip, EvalOptions()).poses
    except Recon4DError as error:
        return found | {"failure": str(error)}
    assert errors is not None, "the clip has true poses"
    return found | {"ate": errors.ate, "focal_px": focal_px, "k1": k1}


if __name__ == "__main__":
    print(json.dumps(_figures(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
