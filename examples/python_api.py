"""Reconstruct a video in Python, use the result, save it, and read it back.

Run it with `python examples/python_api.py video.mp4 OUT`.
"""

import sys
from pathlib import Path

import numpy as np

import recon4d


def main(video: Path, out: Path) -> None:
    """Reconstruct the first frames of `video` and write a result folder `out`."""
    # Every option of `recon4d run` is a keyword.
    result = recon4d.reconstruct(video, masks="residual", size=256, max_frames=8, loop=1)

    frames, height, width = result.depth.shape
    print(
        f"{frames} frames of {width}x{height} pixels, focal length {result.intrinsics[0, 0]:.0f} px"
    )
    print(f"{result.is_dynamic.mean():.1%} of the pixels move")

    # The points of the first frame in the world: see docs/CONVENTIONS.md.
    fx, fy, cx, cy = result.intrinsics[0]
    v, u = np.indices((height, width)) + 0.5
    z = result.depth[0]
    in_camera = np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z, np.ones_like(z)], axis=-1)
    in_world = (in_camera @ result.world_from_cam[0].T)[..., :3]
    known = result.depth[0] > 0
    print(f"the nearest point is {np.linalg.norm(in_world[known], axis=-1).min():.3f} away")

    result.save(out)
    again = recon4d.load(out)
    print(f"saved to {out}; equal depth read back: {np.array_equal(again.depth, result.depth)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
