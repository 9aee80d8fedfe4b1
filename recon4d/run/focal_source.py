"""What kind of motion a camera shows, and where its focal length comes from: one that stands still does not tell it."""

from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from recon4d.core.scene import Notice, Scene, Video

FocalSource = Literal["given", "estimated", "assumed"]

STILL_DEG = 0.5
"""Turn of a camera without parallax below which its focal length is not known. Rendered pans of 0.5 degrees and more at
256 px give it within 4 %, one of 0.2 degrees within 11 %, a tripod gives what the search began with."""
UNSURE_FOCAL = 0.1
"""Relative standard deviation of a focal length above which it is named. Of clips of 8 to 24 frames at 160 to 256 px,
three that come within 6 % have .005 to .045, four without truth .01 to .06, two that are off by factors of 1.2 and 2.9
have .52 and .25."""
OTHER_FOCAL = 1.2
"""Ratio of a focal length that came out to the stated one from which on they differ: rounded millimetres, the mode of a
video and a lens that breathes make a tenth. Set by hand."""
WITHOUT_PARALLAX = frozenset(("no_parallax", "low_parallax"))
"""Notices of a camera that does not move its place enough to tell a focal length."""


def focal_source(video: Video, scene: Scene) -> FocalSource:
    """`given` by the user or the input, `estimated` from the video (or a network), or merely `assumed`."""
    if video.intrinsics is not None:
        return "given"
    prior = video.depth_prior
    if prior is not None and prior.focal_px is not None:
        return "estimated"
    has_parallax = not WITHOUT_PARALLAX & {notice.code for notice in scene.notices}
    return "estimated" if has_parallax or _largest_turn_deg(scene) > STILL_DEG else "assumed"


def motion_kind(scene: Scene) -> str:
    """`still`, `turning` or `moving`, each with ` and zooming` where focal lengths differ."""
    turns = any(notice.code == "no_parallax" for notice in scene.notices)
    kind = "turning" if turns else "moving"
    if turns and _largest_turn_deg(scene) < STILL_DEG:
        kind = "still"
    return f"{kind} and zooming" if scene.zooms else kind


def focal_notices(
    source: FocalSource, scene: Scene, stated_px: float | None = None
) -> tuple[Notice, ...]:
    """What the user should know of a focal length that is assumed, that the motion hardly tells, or tells otherwise.

    Args:
        source: Where it comes from.
        scene: What has it.
        stated_px: The one that was stated in millimetres, pixels; None: none was.
    """
    found_px = float(np.median(scene.intrinsics[:, 0]))
    if source == "estimated" and scene.focal_std > UNSURE_FOCAL:
        other = ""
        if _differ(found_px, stated_px):
            other = f" What is stated in millimetres (--focal-mm, or EXIF) is {stated_px:.0f} px."
        spread = f"{100 * scene.focal_std:.0f} %" if scene.focal_std < 1 else "more than 100 %"
        message = (
            f"The motion hardly tells the focal length: {scene.intrinsics[0, 0]:.0f} px came out, with a standard "
            f"deviation of {spread}, and what moves may have misled it farther; depth and path are "
            f"stretched with it.{other} Give --intrinsics if you know it, or more frames."
        )
        return (Notice("focal_unsure", message),)
    if source == "estimated" and not scene.zooms and _differ(found_px, stated_px):
        message = (
            f"The focal length that is stated in millimetres (--focal-mm, or EXIF of the pictures) is {stated_px:.0f} "
            f"px, but {found_px:.0f} px came out: pictures that were cropped, stabilised or zoomed have another. Give "
            "--intrinsics if you know it."
        )
        return (Notice("focal_not_as_stated", message),)
    if source != "assumed":
        return ()
    assumed, zooms = f"{scene.intrinsics[0, 0]:.0f} px", ""
    if scene.zooms:
        low, high = scene.intrinsics[:, 0].min(), scene.intrinsics[:, 0].max()
        assumed, zooms = (
            f"{low:.0f} to {high:.0f} px",
            f" (only how far it zooms, {high / low:.2g} times)",
        )
    message = (
        f"The camera neither moves nor turns, so its focal length is not known{zooms}: {assumed} is assumed; give "
        "--intrinsics if you know it."
    )
    return (Notice("focal_assumed", message),)


def _differ(found_px: float, stated_px: float | None) -> bool:
    """Whether a focal length is another than the stated one."""
    if stated_px is None:
        return False
    return not 1 / OTHER_FOCAL < found_px / stated_px < OTHER_FOCAL


def _largest_turn_deg(scene: Scene) -> float:
    """Largest angle of a posed camera to the first of them."""
    turns = scene.world_from_cam[scene.is_posed][:, :3, :3]
    relative = np.swapaxes(turns[:1], 1, 2) @ turns
    return float(np.degrees(Rotation.from_matrix(relative).magnitude()).max(initial=0.0))
