"""The loop of mutual benefit: masks from the geometry, geometry from the masks, while that helps.

Numbers here that name no source were set by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool

from recon4d.core.sampling import cell_of
from recon4d.core.scene import Flow, MotionMasks, Notice, Scene
from recon4d.optim.objective.flow_term import flow_term
from recon4d.optim.objective.problem import Problem, build_problem
from recon4d.optim.objective.unknowns import State

SETTLED = 0.01
"""The loop ends when fewer than this part of the pixels changes between two rounds."""
WORSE = 1.02
"""A round is not kept when the static residual grows by more than this factor: below it is noise ..."""
NOTHING_PX = 1e-3
"""... as all residuals below this are: of a video whose frames are all the same, say."""


@dataclass(frozen=True)
class Round:
    """What one round of masks and optimization did; recorded in run.json."""

    changed: float
    """Part of the pixels whose mask is not that of the round before (of no mask, in round 0)."""
    static_residual_px: float
    """Median flow residual after the round, on samples that this and the last kept round call static, pixels."""
    static_residual_before_px: float
    """The same samples before the round."""
    rotation_change_deg: float
    """Root mean square change of the cameras' rotations relative to the first."""
    translation_change: float
    """Root mean square change of the cameras' centres, as a part of the path's length."""
    kept: bool


@dataclass(frozen=True)
class Rounds:
    """The last kept scene and masks, and the history."""

    scene: Scene
    motion: MotionMasks | None = None
    history: tuple[Round, ...] = ()
    settled: bool = False
    """Whether the masks have stopped changing."""
    ended: bool = False
    """Whether another round could change nothing."""
    notices: tuple[Notice, ...] = ()

    @classmethod
    def begin(cls, scene: Scene) -> "Rounds":
        """Before the first round."""
        return cls(scene)

    @property
    def masks(self) -> MotionMasks:
        """The masks of the last kept round; the first round is always kept."""
        if self.motion is None:
            raise ValueError("no round has been run yet")
        return self.motion

    def go_on(self, loop: int) -> bool:
        """Whether to run another round: one always, `loop` more while they can help."""
        return len(self.history) <= loop and not self.ended


def next_round(
    rounds: Rounds,
    motion: MotionMasks,
    optimise: Callable[[Scene, MotionMasks], Scene],
    flow: Flow,
    is_new_flow: bool,
) -> Rounds:
    """Optimise (cameras and depth of the same samples) with new masks; keep it unless the static world fits worse.

    The masks have settled when they hardly changed, in round 0 when next to nothing moves. Settled masks with a flow
    that the last round already had need no new optimization: the last kept round stands, and the loop ends.

    Args:
        rounds: So far.
        motion: Masks from the last kept scene, or the same as before where they have settled.
        optimise: Finds cameras and depth from a scene to start from and masks.
        flow: What the scene is optimised with and judged by.
        is_new_flow: Whether the last round had another one.
    """
    first = rounds.motion is None
    before = rounds.motion or MotionMasks(np.zeros_like(motion.probability))
    changed = float(((motion.probability > 0.5) != (before.probability > 0.5)).mean())
    settled = changed < SETTLED
    static = (motion.probability < 0.5) & (before.probability < 0.5)
    samples = cell_of(rounds.scene.samples_px)
    problem = build_problem(flow, samples)
    old = static_residual_px(problem, rounds.scene, static)
    if settled and not is_new_flow:
        entry = Round(changed, old, old, 0.0, 0.0, kept=False)
        return replace(rounds, history=(*rounds.history, entry), settled=True, ended=True)
    scene = optimise(rounds.scene, motion)
    new = static_residual_px(problem, scene, static)
    kept = first or new <= max(old * WORSE, NOTHING_PX)
    entry = Round(changed, new, old, *pose_change(rounds.scene, scene), kept)
    history = (*rounds.history, entry)
    if kept:
        ended = settled and not first
        return replace(
            rounds, scene=scene, motion=motion, history=history, settled=settled, ended=ended
        )
    message = (  # three digits tell apart what differs by `WORSE`
        f"Round {len(rounds.history)} of masks made the static residual worse ({old:.3g} to {new:.3g} px): "
        "it is not kept, and the loop ends."
    )
    notices = (*rounds.notices, Notice("round_not_kept", message))
    return replace(rounds, history=history, ended=True, notices=notices)


def static_residual_px(
    problem: Problem, scene: Scene, static: Bool[np.ndarray, "frames rows cols"]
) -> float:
    """Median flow residual of the scene's static samples, which are those of the problem; 0 where there are none."""
    state, samples = State.of(scene), cell_of(scene.samples_px)
    found = []
    for frame in range(problem.num_frames):
        term = flow_term(problem, state, frame)
        row, col = samples[frame].T
        use = (problem.weight[frame] > 0.5) & torch.from_numpy(static[frame, row, col])
        found.append(term.squared()[use].sqrt())
    residuals = torch.cat(found)
    return float(residuals.median()) if len(residuals) else 0.0


def pose_change(before: Scene, after: Scene) -> tuple[float, float]:
    """Change of rotations in degrees and of centres over the path length, both scenes in their first camera's frame."""
    a, b = before.world_from_cam, after.world_from_cam
    turn = a[:, :3, :3].transpose(0, 2, 1) @ b[:, :3, :3]
    cosine = np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1)
    centres_a, centres_b = a[:, :3, 3], b[:, :3, 3]
    scale = float((centres_a * centres_b).sum() / max((centres_b**2).sum(), 1e-30))
    path = float(np.linalg.norm(np.diff(centres_a, axis=0), axis=1).sum())
    apart = float(np.sqrt(((scale * centres_b - centres_a) ** 2).sum(1).mean()))
    return float(np.degrees(np.sqrt((np.arccos(cosine) ** 2).mean()))), apart / max(path, 1e-12)
