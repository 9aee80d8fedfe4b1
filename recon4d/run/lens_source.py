"""What run.json says of the lens: which model, its numbers, and where they come from."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recon4d.core.scene import Scene, Video
from recon4d.io.camera import Camera, camera_from_array
from recon4d.optim.lens.find import LEAST_GAIN, FoundLens
from recon4d.run.stages import LENS


def lens_report(folder: Path, video: Video) -> Mapping[str, object]:
    """What run.json says of the lens."""
    if not LENS.is_done(folder):
        known = "pinhole"
        if video.lens is not None:
            known = "fisheye" if camera_from_array(video.lens).is_fisheye else "radial"
        source = "assumed" if video.intrinsics is None else "given"
        return {"model": known, "source": source}
    found = LENS.load(folder)
    told: dict[str, object] = {"model": found.model, "source": "estimated", "gain": found.gain}
    if found.is_usual:
        return told | {"focal_std": found.focal_std}
    camera, scale = input_camera(found, video), np.array(video.source_size) / video.size
    return told | {
        "terms": list(found.terms),
        "terms_std": list(found.terms_std),
        "camera": [camera.fx, camera.fy, camera.cx, camera.cy],
        "focal_std": found.focal_std,
        "centre_std": [float(std) for std in np.array(found.centre_std_px) * scale]
        if found.centre_px
        else None,
    }


def explains_nothing(lens: Mapping[str, object]) -> bool:
    """Whether a lens was looked for, and would explain next to nothing of the flow that it was not fitted to."""
    gain = lens.get("gain", 1.0)
    assert isinstance(gain, float), "it is a number"
    was_sought = gain != 0  # else there were no cameras to look with
    return was_sought and gain < LEAST_GAIN and lens["model"] == "pinhole" and "camera" not in lens


def focal_std(scene: Scene, lens: Mapping[str, object]) -> float | None:
    """Standard deviation of the logarithm of the result's focal length; None: it is known, or not judged.

    A lens that was found, or that there may be, stays what it is when cameras are optimised, so that its own deviation
    comes on top.
    """
    of_lens = lens.get("focal_std", 0.0)
    assert isinstance(of_lens, float), "it is a number"
    return math.hypot(scene.focal_std, of_lens) if scene.focal_std else None


def input_camera(found: FoundLens, video: Video) -> Camera:
    """A lens that was found at the working size as the input's camera."""
    scale = np.tile(np.array(video.source_size) / video.size, 2)
    fx, fy, cx, cy = (found.intrinsics(video.size, video.fy_over_fx) * scale).tolist()
    terms = found.terms and found.terms + (0.0,) * (4 - len(found.terms))
    is_fisheye = found.model == "fisheye"
    return Camera(
        fx, fy, cx, cy, terms, is_fisheye, origin=f"the {found.model} lens that was found"
    )
