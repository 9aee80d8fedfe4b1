"""Points followed through a result, and its moving objects: what is known of motion beyond the masks. Uses flow.

It is made from a result folder, whether that is of one piece or of clips: objects keep their ids over the seams.
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from recon4d.core.progress import Progress, no_progress
from recon4d.flow import FlowMethod
from recon4d.io.files import publish_entries
from recon4d.results.folder import write_motion
from recon4d.results.mapped import mapped_result
from recon4d.results.result import Result
from recon4d.tracks.all_points import choose, track
from recon4d.tracks.group_all import find_objects
from recon4d.tracks.ladder import flow_ladder
from recon4d.tracks.scene_flow import scene_flow
from recon4d.tracks.things import describe_objects

DEFAULT_POINTS = 2000
"""Points that are followed where no number is given; set by hand: as many as a viewer shows with trails at a time."""


@dataclass(frozen=True)
class Wanted:
    """What is made of a result's motion."""

    points: int = 0
    """How many points are chosen and followed; 0: none."""
    given: tuple[Int64[np.ndarray, " points"], Float32[np.ndarray, "points 2"]] | None = None
    """Points of the user instead: the frame of each, and its pixel, centre of the first pixel at (0.5, 0.5)."""
    objects: bool = False
    scene_flow: bool = False

    @property
    def anything(self) -> bool:
        """Whether there is anything to do."""
        return self.has_points or self.objects or self.scene_flow

    @property
    def has_points(self) -> bool:
        """Whether points are followed."""
        return self.points > 0 or self.given is not None


def add_motion(
    folder: Path,
    wanted: Wanted,
    method: FlowMethod,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Result:
    """Find what is wanted in a result folder, and write it there.

    Args:
        folder: The result.
        wanted: What is made.
        method: Measures flow.
        threads: Pairs of frames that are worked on at the same time.
        progress: Told how far it is.

    Returns:
        The result with what was made; what is in its folder is mapped from files that are no longer there.
    """
    with tempfile.TemporaryDirectory(prefix=".motion-", dir=folder.parent) as aside:
        scratch = Path(aside)
        result = mapped_result(folder, scratch)
        ladder = flow_ladder(result.images, method, scratch / "flow", threads, progress)
        with progress("motion", total=1) as counter:
            made = result
            if wanted.objects or wanted.has_points:
                grouped = find_objects(ladder, result)
                if wanted.objects:
                    made = dataclasses.replace(made, objects=describe_objects(result, grouped))
                if wanted.has_points:
                    start, uv = wanted.given or choose(result, wanted.points)
                    found = track(result, ladder, grouped, start, uv)
                    made = dataclasses.replace(made, tracks=found)
            if wanted.scene_flow:
                made = dataclasses.replace(made, scene_flow=scene_flow(result, ladder, scratch))
            (scratch / "made").mkdir()
            write_motion(made, scratch / "made")
            (scratch / "before").mkdir()
            publish_entries(scratch / "made", folder, scratch / "before")
            counter.advance()
    return made
