"""A shutter that rolls: rows are read one after the other while the camera moves, from top to bottom.

A picture's pose is that of its middle row. The pose of another row lies on the way to the frame before or after: turned
and moved evenly, in the time that the row is read before or after the middle one. Inverse depth of a pixel is that
along the ray of its own row's camera.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from recon4d.core.geometry import MIN_DEPTH_RATIO, invert_rigid, log_so3, rays_by_column

GUESSED = 1 / 64
"""Weight of rows that were read where no pose on the other side tells how the camera moved: with their whole weight the
last frame of `exact_static` is off by 3.4 mm at 20 ms, with a 16th by 1.6 mm, the others by .2 mm."""
LEAST_STEP_S = 1e-6
"""Least time between two frames, seconds: files may give two of them the same."""


@dataclass(frozen=True)
class RowMotion:
    """How cameras move while a picture is read, in the axes of the middle row's camera."""

    turn: Float[Tensor, "frames 2 3"]
    """Rotation vector over a whole readout, radians; of rows above the middle, and of those below."""
    move: Float[Tensor, "frames 2 3"]
    """Translation over a whole readout, scene units."""
    is_told: Bool[Tensor, "frames 2"]
    """Whether the frame before, or after, tells that; beyond a video's ends and a cut the camera goes on evenly."""
    height_px: int

    @classmethod
    def of(
        cls,
        world_from_cam: Float64[Tensor, "frames 4 4"],
        timestamps_s: Float64[Tensor, " frames"],
        component: Int64[Tensor, " frames"],
        readout_s: float,
        height_px: int,
        is_upwards: bool | None = None,
    ) -> "RowMotion":
        """From the poses of all frames.

        Args:
            world_from_cam: Of the middle rows.
            timestamps_s: Of the middle rows.
            component: Piece of every frame; between different ones nothing is known.
            readout_s: From the first row to the last, seconds; negative where the last is read first.
            height_px: Rows of a picture.
            is_upwards: The last row is read first; None: as `readout_s` says. Around 0 it is more than its sign.
        """
        later, earlier = world_from_cam[1:], world_from_cam[:-1]
        step_s = timestamps_s.diff().clamp_min(LEAST_STEP_S)
        ahead, back = invert_rigid(earlier) @ later, invert_rigid(later) @ earlier
        after, before = (
            torch.cat((log_so3(m[:, :3, :3]), m[:, :3, 3]), dim=1)
            * (sign * readout_s / step_s)[:, None]
            for m, sign in ((ahead, 1), (back, -1))
        )
        joined = (component[1:] == component[:-1]) & (component[1:] >= 0)
        none = after.new_zeros((1, 6))
        after, before = torch.cat((after, none)), torch.cat((none, before))
        no = joined.new_zeros(1)
        has_after, has_before = torch.cat((joined, no)), torch.cat((no, joined))
        both = torch.stack(
            (
                torch.where(has_before[:, None], before, after * has_after[:, None]),
                torch.where(has_after[:, None], after, before * has_before[:, None]),
            ),
            dim=1,
        )
        is_told = torch.stack((has_before, has_after), dim=1)
        if (
            readout_s < 0 if is_upwards is None else is_upwards
        ):  # the rows below the middle are read before it
            both, is_told = both.flip(1), is_told.flip(1)
        return cls(both[..., :3], both[..., 3:], is_told, height_px)

    def at(
        self, frames: Int64[Tensor, "*#batch"], v_px: Float[Tensor, "*#batch points"]
    ) -> tuple[Float[Tensor, "*batch 3 points"], Float[Tensor, "*batch 3 points"]]:
        """Rotation vector and translation from the camera of a row to that of its frame's middle row."""
        part = (v_px / self.height_px - 0.5)[..., None, :]
        turn, move = (x.to(part)[frames][..., None] for x in (self.turn, self.move))
        below = part > 0
        turn, move = (
            torch.where(below, x[..., 1, :, :], x[..., 0, :, :]) * part for x in (turn, move)
        )
        return turn, move

    def trust(
        self, frames: Int64[Tensor, "*#batch"], v_px: Float[Tensor, "*#batch points"]
    ) -> Float[Tensor, "*batch points"]:
        """Weight of what is seen in some rows: of those where it is guessed how the camera moved, `GUESSED`."""
        before, after = self.is_told[frames].unbind(-1)
        below = v_px > self.height_px / 2
        told = torch.where(below, after[..., None], before[..., None])
        return torch.where(told, 1.0, GUESSED)

    def shift_px(
        self,
        uv_px: Float[Tensor, "*#edges 2 points"],
        inverse_depth: Float[Tensor, "*#edges points"],
        there_v_px: Float[Tensor, "*edges points"],
        pair: "CameraPair",
    ) -> Float[Tensor, "*edges 2 points"]:
        """How much farther static pixels move than they would before a shutter that is open at once.

        Args:
            uv_px: Pixels of the sources.
            inverse_depth: Along their rays.
            there_v_px: Rows of the targets in which they are seen.
            pair: The cameras.
        """
        rho = inverse_depth[..., None, :]
        ray = rays_by_column(uv_px, pair.source_intrinsics)
        rotation, translation = (
            pair.target_from_source[..., :3, :3],
            pair.target_from_source[..., :3, 3:],
        )
        still = rotation @ ray + translation * rho
        turn, move = self.at(pair.source, uv_px[..., 1, :])
        seen = rotation @ (rotated(ray, turn) + move * rho) + translation * rho
        turn, move = self.at(pair.target, there_v_px)
        rolled = rotated(seen - move * rho, -turn)
        focal = pair.target_intrinsics[..., :2, None]
        planes = [p[..., :2, :] / p[..., 2:, :].clamp_min(MIN_DEPTH_RATIO) for p in (rolled, still)]
        in_front = torch.minimum(rolled[..., 2:, :], still[..., 2:, :]) > MIN_DEPTH_RATIO
        return (planes[0] - planes[1]) * focal * in_front


@dataclass(frozen=True)
class CameraPair:
    """Two frames, or many pairs of them."""

    source: Int64[Tensor, "*#edges"]
    target: Int64[Tensor, "*edges"]
    target_from_source: Float[Tensor, "*edges 4 4"]
    """Of their middle rows."""
    source_intrinsics: Float[Tensor, "*#edges 4"]
    target_intrinsics: Float[Tensor, "*#edges 4"]


def rotated(
    points: Float[Tensor, "*#batch 3 points"], turn: Float[Tensor, "*#batch 3 points"]
) -> Float[Tensor, "*batch 3 points"]:
    """Each point turned by a rotation vector of its own (Rodrigues)."""
    angle = turn.square().sum(-2, keepdim=True).sqrt()
    across: Tensor = torch.linalg.cross(turn, points, dim=-2)
    twice: Tensor = torch.linalg.cross(turn, across, dim=-2)
    return (
        points
        + torch.sinc(angle / torch.pi) * across
        + 0.5 * torch.sinc(angle / (2 * torch.pi)).square() * twice
    )
