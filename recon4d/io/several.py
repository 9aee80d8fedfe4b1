"""Pictures that several cameras took, by COLMAP's images.txt: all are shown as one pinhole camera would have seen them.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from recon4d.core.errors import InputError
from recon4d.core.pinhole import rays_array
from recon4d.core.scene import Notice
from recon4d.io.camera import Camera, check_camera
from recon4d.io.camera_files import are_same, colmap_cameras
from recon4d.io.colmap_images import cameras_of
from recon4d.io.frames import Source, SourceFrame
from recon4d.io.lens import Undistortion, onto, undistortion
from recon4d.io.resize import resize_nearest

LEAST_SHARED = 0.25
"""Part of what the narrowest camera sees that all of them must see; less is hardly worth a reconstruction."""


def as_one_camera(opened: Source, path: Path, kept: Callable[[], Sequence[SourceFrame]]) -> Source:
    """The same input, shown as one pinhole camera where several took it; as it is where one did.

    Args:
        opened: A folder of pictures.
        path: What `--intrinsics` names.
        kept: Its frames that are to be read.

    Raises:
        InputError: A frame is not in COLMAP's file of images, or the cameras see too little in common.
    """
    cameras = colmap_cameras(path)
    if all(are_same(each, other) for each in cameras.values() for other in cameras.values()):
        return opened
    own = _by_name(path, cameras, opened, kept())
    used = list(dict.fromkeys(own.values()))
    if len(used) < 2:
        return opened
    shared = _Shared.of(used, path)
    width, height = shared.size
    message = (
        f"The pictures are of {len(used)} cameras ({path.name}); all are shown as one pinhole camera of {width}x"
        f"{height} px, of what every one of them sees."
    )

    def frames() -> Iterator[SourceFrame]:
        for frame in opened.frames():
            camera = own.get(frame.name)
            yield frame if camera is None else shared.seen(frame, camera)

    return replace(
        opened,
        camera=shared.pinhole,
        frames=frames,
        notices=lambda: (*opened.notices(), Notice("several_cameras", message)),
    )


def _by_name(
    path: Path, cameras: dict[str, Camera], opened: Source, kept: Sequence[SourceFrame]
) -> dict[str, Camera]:
    """The camera of every frame by the frame's name; nothing where no file tells."""
    chosen = cameras_of(path, [opened.path / frame.name for frame in kept])
    found = {}
    for frame, names in zip(kept, chosen or (), strict=chosen is not None):
        own = [replace(cameras[name], origin="") for name in sorted(names) if name in cameras]
        if len(own) < len(names) or any(each != own[0] for each in own):
            what = "a camera that it does not have" if len(own) < len(names) else "several cameras"
            raise InputError(
                f"{path} and the file of images beside it disagree: {frame.name} is of {what}; export the model again, "
                "and name the input's folder as it does"
            )
        found[frame.name] = replace(own[0], origin=str(path))
    return found


@dataclass(frozen=True)
class _Shared:
    """The pinhole camera that sees what all cameras see."""

    pinhole: Camera
    size: tuple[int, int]
    ways: dict[Camera, Undistortion]

    @classmethod
    def of(cls, cameras: Sequence[Camera], path: Path) -> "_Shared":
        """As fine as the finest of them."""
        sides = np.stack([_sides(camera) for camera in cameras])
        low, high = sides[:, :2].max(0), sides[:, 2:].min(0)
        areas = np.prod(sides[:, 2:] - sides[:, :2], axis=1)
        if (low >= high).any() or np.prod(high - low) < LEAST_SHARED * areas.min():
            raise InputError(
                f"{path}: the cameras of these pictures see too little in common to be shown as one; reconstruct the "
                "pictures of each camera apart"
            )
        focal = max(max(_straight(camera).fx, _straight(camera).fy) for camera in cameras)
        width, height = (int(side) for side in np.floor((high - low) * focal))
        cx, cy = (float(-side * focal) for side in low)
        pinhole = Camera(focal, focal, cx, cy, size=(width, height), origin=str(path))
        ways = {each: onto(each, _size(each), pinhole, (width, height)) for each in cameras}
        return cls(pinhole, (width, height), ways)

    def seen(self, frame: SourceFrame, camera: Camera) -> SourceFrame:
        """A frame as this camera would have seen it."""
        way = self.ways[camera]
        return replace(
            frame,
            pixels=partial(_image, frame, camera, way),
            depth=None if frame.depth is None else partial(_depth, frame.depth, camera, way),
        )


def _size(camera: Camera) -> tuple[int, int]:
    assert camera.size is not None, "COLMAP states it"
    return camera.size


def _straight(camera: Camera) -> Camera:
    return camera if camera.is_pinhole else undistortion(camera, _size(camera)).camera


def _sides(camera: Camera) -> np.ndarray:
    """What an undistorted camera sees of the plane z = 1: left, top, right, bottom."""
    straight, (width, height) = _straight(camera), _size(camera)
    intrinsics = np.array([straight.fx, straight.fy, straight.cx, straight.cy])
    corners = rays_array(np.array([[0.0, 0.0], [width, height]]), intrinsics)
    return corners[:, :2].ravel()


def _image(
    frame: SourceFrame, camera: Camera, way: Undistortion
) -> UInt8[np.ndarray, "height width 3"]:
    pixels = np.ascontiguousarray(frame.pixels())
    check_camera(replace(camera, origin=f"{camera.origin}, {frame.name}"), pixels.shape[1::-1])
    return way.image(pixels)


def _depth(
    read: Callable[[], np.ndarray], camera: Camera, way: Undistortion
) -> Float32[np.ndarray, "height width"]:
    return way.nearest(resize_nearest(read(), _size(camera)))
