"""Similarity transforms of 3D, and how scenes of overlapping clips lie to each other.

Numbers here that name no source were set by hand.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from recon4d.core.geometry import orthonormal_array
from recon4d.core.scene import Scene

MIN_SAMPLES = 20
"""Samples with measured depth in both scenes that are needed to tell their relative scale."""


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    scale: float
    rotation: Float64[np.ndarray, "3 3"]
    translation: Float64[np.ndarray, "3"]

    @classmethod
    def identity(cls) -> "Similarity":
        """Nothing moves."""
        return cls(1.0, np.eye(3), np.zeros(3))

    def __matmul__(self, first: "Similarity") -> "Similarity":
        """This one after another."""
        return Similarity(
            self.scale * first.scale,
            self.rotation @ first.rotation,
            self.scale * self.rotation @ first.translation + self.translation,
        )

    def inverse(self) -> "Similarity":
        """Back."""
        turn = self.rotation.T
        return Similarity(1 / self.scale, turn, -turn @ self.translation / self.scale)

    def poses(
        self, world_from_cam: Float64[np.ndarray, "frames 4 4"]
    ) -> Float64[np.ndarray, "frames 4 4"]:
        """Cameras in the new world: they turn and move, their own axes keep their length."""
        out = world_from_cam.copy()
        out[:, :3, :3] = self.rotation @ world_from_cam[:, :3, :3]
        centres = world_from_cam[:, :3, 3]
        out[:, :3, 3] = self.scale * centres @ self.rotation.T + self.translation
        return out

    def scene(self, scene: Scene) -> Scene:
        """The same scene in the new world; covariances are not taken along."""
        return replace(
            scene,
            world_from_cam=self.poses(np.asarray(scene.world_from_cam)),
            inverse_depth=(scene.inverse_depth / self.scale).astype(np.float32),
            inverse_depth_std=(scene.inverse_depth_std / self.scale).astype(np.float32),
            pose_covariance=None,
        )


def scene_part(scene: Scene, frames: Int64[np.ndarray, " frames"]) -> Scene:
    """Some frames of a scene, without its notices and what became of given poses."""
    return replace(
        scene,
        world_from_cam=np.array(scene.world_from_cam[frames]),
        intrinsics=np.array(scene.intrinsics[frames]),
        samples_px=np.array(scene.samples_px[frames]),
        inverse_depth=np.array(scene.inverse_depth[frames]),
        inverse_depth_std=np.array(scene.inverse_depth_std[frames]),
        is_posed=np.array(scene.is_posed[frames]),
        component=np.array(scene.component[frames]),
        is_pose_trusted=None,
        pose_covariance=None,
        notices=(),
    )


def concatenated(scenes: list[Scene]) -> Scene:
    """The frames of all scenes, one after the other."""
    return replace(
        scenes[0],
        world_from_cam=np.concatenate([s.world_from_cam for s in scenes]),
        intrinsics=np.concatenate([s.intrinsics for s in scenes]),
        samples_px=np.concatenate([s.samples_px for s in scenes]),
        inverse_depth=np.concatenate([s.inverse_depth for s in scenes]),
        inverse_depth_std=np.concatenate([s.inverse_depth_std for s in scenes]),
        is_posed=np.concatenate([s.is_posed for s in scenes]),
        component=np.concatenate([s.component for s in scenes]),
        is_metric=all(s.is_metric for s in scenes),
        pose_covariance=None,
        notices=(),
    )


def similarity_between(here: Scene, there: Scene) -> tuple[Similarity, bool]:
    """The similarity that brings `there` into the world of `here`, from the same frames in both.

    The scale comes from depth, sample by sample (the samples of a frame depend on its image alone), rotation and
    translation from the cameras; medians throughout, because single frames and samples may be wrong.

    Returns:
        The similarity, and whether depth that both measured told its scale: else the scenes' median depths are equal.
    """
    both = np.isfinite(here.inverse_depth_std) & np.isfinite(there.inverse_depth_std)
    measured = bool(both.sum() >= MIN_SAMPLES)
    scale = 1.0
    if not here.is_metric:
        scale = float(np.median(_log_ratio(here, there)[both if measured else ...]))
        scale = float(np.exp(scale))
    a, b = here.world_from_cam, there.world_from_cam
    rotation = mean_rotation(a[:, :3, :3] @ b[:, :3, :3].transpose(0, 2, 1))
    moved = scale * b[:, :3, 3] @ rotation.T
    return Similarity(scale, rotation, np.median(a[:, :3, 3] - moved, axis=0)), (
        measured or here.is_metric
    )


def _log_ratio(here: Scene, there: Scene) -> Float64[np.ndarray, "frames samples"]:
    """Logarithm of depth here over depth there."""
    return np.asarray(
        np.log(there.inverse_depth.astype(np.float64))
        - np.log(here.inverse_depth.astype(np.float64))
    )


def mean_rotation(rotations: Float64[np.ndarray, "frames 3 3"]) -> Float64[np.ndarray, "3 3"]:
    """Chordal mean of those rotations that lie near their entrywise median."""
    middle = orthonormal_array(np.median(rotations, axis=0))
    far = np.linalg.norm(rotations - middle, axis=(1, 2))
    return orthonormal_array(rotations[far <= max(2 * float(np.median(far)), 1e-9)].mean(0))


def depth_scale(here: Scene, there: Scene, frame_here: int, frame_there: int) -> float:
    """Factor that brings the depth of a frame there to the same frame's here."""
    ratio = _log_ratio(
        scene_part(here, np.array([frame_here])),
        scene_part(there, np.array([frame_there])),
    )
    return float(np.exp(np.median(ratio)))
