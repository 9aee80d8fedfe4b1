"""What `recon4d info INPUT` tells about an input, without decoding all of it."""

from pathlib import Path

from recon4d.io.camera_files import read_camera_file
from recon4d.io.frames import Source
from recon4d.io.options import ReadOptions
from recon4d.io.read import open_source
from recon4d.io.resize import working_size

KIND_NAMES = {
    "video": "video file",
    "images": "folder of images",
    "rgbd": "RGB-D folder (TUM layout)",
}


def describe_input(source: Path) -> dict[str, object]:
    """Describe a video file, a folder of images, or an RGB-D folder.

    Returns:
        kind, frames (None where only decoding would tell), width, height, working_width, working_height, fps,
        duration_s, start_s, times (`file`, or `assumed`), intrinsics, distortion and depth.
    """
    opened = open_source(source, ReadOptions())
    first = next(opened.frames())
    height, width = first.pixels().shape[:2]
    working = working_size((width, height), ReadOptions().size, opened.pixel_aspect)
    fps, duration_s = _rate(opened)
    return {
        "kind": KIND_NAMES[opened.kind],
        "frames": opened.expected_frames or None,
        "width": width,
        "height": height,
        "working_width": working[0],
        "working_height": working[1],
        "fps": fps,
        "duration_s": duration_s,
        "start_s": first.time_s,
        "times": "file" if opened.is_timed else "assumed",
        **_camera(opened),
        "depth": opened.has_depth,
    }


def _rate(opened: Source) -> tuple[float | None, float | None]:
    """Return mean frames per second and the seconds from the first to the last frame."""
    count = opened.expected_frames
    if count < 2:
        return None, None
    if opened.kind == "video":
        return opened.fps, (count - 1) / opened.fps if opened.fps else None
    times_s = [frame.time_s for frame in opened.frames()]
    duration_s = times_s[-1] - times_s[0]
    return (count - 1) / duration_s, duration_s


def _camera(opened: Source) -> dict[str, object]:
    if opened.camera_file is None:
        return {"intrinsics": None, "distortion": None}
    camera = read_camera_file(opened.camera_file)
    return {
        "intrinsics": [camera.fx, camera.fy, camera.cx - 0.5, camera.cy - 0.5],
        "distortion": list(camera.distortion) or None,
    }
