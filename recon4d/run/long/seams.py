"""Whether the clips of a long video have one scale: the depth of the frames that two neighbours both see."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from recon4d.core.scene import Notice
from recon4d.core.similarity import depth_scale
from recon4d.run.long.clips import Clip
from recon4d.run.long.kept import ALIGNED

AGREE = 0.05
"""Logarithm of the ratio of scales from which on neighbours disagree: those that work differ by less than .01, one that
failed (people over a third of the picture, 20 frames) by .16."""


def scale_gaps(folder: Path, clips: Sequence[Clip]) -> list[float]:
    """How far apart the scales of neighbouring clips are.

    Args:
        folder: Of a run of a long video, with its stages.
        clips: In their order.

    Returns:
        Absolute logarithm of the ratio of scales, per pair of neighbours; not a number where no frame that both see is
        placed in one world by both.
    """
    return [_gap(folder, here, there) for here, there in pairwise(clips)]


def scale_notices(folder: Path, clips: Sequence[Clip]) -> tuple[Notice, ...]:
    """A warning where neighbours disagree: the path and the depth have a jump there."""
    gaps = scale_gaps(folder, clips)
    bad = [at for at, gap in enumerate(gaps) if gap > AGREE]
    if not bad:
        return ()
    frames = {f for at in bad for f in range(clips[at + 1].first, clips[at].last)}
    message = (
        f"At {len(bad)} of {len(gaps)} seams the depth of two clips differs by up to "
        f"{np.expm1(max(gaps[at] for at in bad)):.0%}: one of them is wrong there; longer clips may help (--set "
        "optim.clip_frames=N), or other masks"
    )
    return (Notice("clips_disagree", message, tuple(sorted(frames))),)


def _gap(folder: Path, here: Clip, there: Clip) -> float:
    a, b = (ALIGNED.load(clip.folder(folder)) for clip in (here, there))
    ratios = []
    for frame in range(there.first, here.last):
        k, m = frame - here.first, frame - there.first
        if a.component[k] >= 0 and a.component[k] == b.component[m]:
            ratios.append(depth_scale(a, b, k, m))
    return abs(float(np.median(np.log(ratios)))) if ratios else float("nan")
