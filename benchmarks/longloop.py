"""A long video whose truth is known: a sequence played forwards and backwards, with fresh noise in every frame.

`python -m benchmarks.longloop --frames 1000 --out DIR` writes DIR/rgb (JPEG, named by time) and DIR/groundtruth.txt.
No two frames are equal, bit by bit or in noise and compression; the camera comes back to where it began again and
again, so that drift shows.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import data_root
from recon4d.io.trajectory import Trajectory, read_trajectory, write_trajectory

NOISE = 2.0
"""Standard deviation of the noise, grey levels: a camera in room light."""
JPEG_QUALITY = 90
RATE = 15.0
"""Frames per second of the new video."""


def there_and_back(number: int, frames: int) -> list[int]:
    """Which of `number` frames is played at each of `frames` times: 0 ... n-1, n-2 ... 1, 0 ..."""
    turn = [*range(number), *range(number - 2, 0, -1)]
    return [turn[at % len(turn)] for at in range(frames)]


def make(source: Path, folder: Path, frames: int, seed: int = 0) -> None:
    """Write the video.

    Args:
        source: A folder in TUM layout whose images have true poses at their times.
        folder: Created.
        frames: Number of frames.
        seed: Of the noise.
    """
    images = sorted((source / "rgb").iterdir())
    truth = read_trajectory(source / "groundtruth.txt")
    played = there_and_back(len(images), frames)
    (folder / "rgb").mkdir(parents=True)
    times_s = np.arange(frames) / RATE
    for at, index in enumerate(played):
        rng = np.random.default_rng((seed, at))
        clean = np.asarray(cv2.imread(str(images[index])))
        noisy = np.clip(clean + NOISE * rng.standard_normal(clean.shape), 0, 255)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        path = folder / f"rgb/{times_s[at]:011.6f}.jpg"
        cv2.imwrite(str(path), noisy.round().astype(np.uint8), quality)
    poses = truth.world_from_cam[[_nearest(truth, images[index]) for index in played]]
    write_trajectory(Trajectory(times_s, poses), folder / "groundtruth.txt")


def _nearest(truth: Trajectory, image: Path) -> int:
    """Index of an image's true pose, by the time that is its name."""
    return int(np.abs(truth.timestamps_s - float(image.stem)).argmin())


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.longloop", description=__doc__)
    parser.add_argument("--frames", type=int, default=1000, metavar="N")
    parser.add_argument("--source", default="exact_static", metavar="PATH", help="inside the root")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder of the test sequences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args(words)
    make(
        data_root(arguments.root) / arguments.source,
        arguments.out,
        arguments.frames,
        arguments.seed,
    )
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
