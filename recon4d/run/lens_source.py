"""What run.json says of the lens: which model, its numbers, and where they come from."""

from collections.abc import Mapping
from pathlib import Path

from recon4d.core.scene import Video
from recon4d.io.camera import camera_from_array
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
    if not found.is_bent or video.lens is None:
        return told
    camera = camera_from_array(video.lens)
    return told | {
        "terms": list(found.terms),
        "terms_std": list(found.terms_std),
        "camera": [camera.fx, camera.fy, camera.cx, camera.cy],
        "focal_std": found.focal_std,
    }
