"""What holding keyframes fixed brings: a sequence in short clips, keyframes fixed and free (for `benchmarks.loop`).

Numbers here that name no source were set by hand.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure.common import commit, markdown_table, number
from recon4d.core.parallel import one_torch_thread
from recon4d.core.progress import no_progress
from recon4d.evaluate import EvalOptions, compare
from recon4d.run.finish import Clock
from recon4d.run.long import write_long
from recon4d.run.long.clips import divide
from recon4d.run.long.seams import scale_gaps
from recon4d.run.reconstruct import read_stage
from recon4d.settings.config import RunConfig
from recon4d.settings.optim import OptimConfig

OPTIM = OptimConfig(clip_frames=20, clip_overlap=6, whole_frames=20)
"""Four clips or more of the test sequences: short ones drift apart soonest."""
MODES = ("fixed", "free")


def run_keyframes(clip: str, root: Path, masks: str, seed: int) -> dict[str, Any]:
    """Figures of one sequence with keyframes fixed and free while clips are aligned between them."""
    row: dict[str, Any] = {"clip": clip, "masks": masks, "commit": commit(), "keyframes": {}}
    for mode in MODES:
        optim = replace(OPTIM, keyframes=mode)
        config = RunConfig(input=root / clip, masks=masks, seed=seed, optim=optim)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with one_torch_thread():
                video = read_stage(config, folder, no_progress)
                result = write_long(config, folder, Clock.started(None), no_progress)
            found = compare(result, root / clip, EvalOptions())
            assert found.poses is not None and found.depth is not None
            row["keyframes"][mode] = {
                "ate_m": found.poses.ate,
                "rpe_rotation_deg": found.poses.rpe_rotation_deg,
                "abs_rel": found.depth.all.abs_rel,
                "scale_drift": scale_gaps(folder, divide(video.num_frames, optim)),
            }
    return row


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return this part of the page; nothing where there are no rows."""
    if not rows:
        return ""
    header = ("clip", "keyframes", "scale drift, largest", "ATE mm", "RPE-r deg", "Abs Rel")
    lines = [
        (
            row["clip"],
            mode,
            f"{100 * max(found['scale_drift']):.2f} %",
            number(1e3 * found["ate_m"], ".2f"),
            number(found["rpe_rotation_deg"], ".4f"),
            number(found["abs_rel"], ".4f"),
        )
        for row in rows
        for mode, found in row["keyframes"].items()
    ]
    text = (
        "\n## Fixed keyframes\n\nThe same sequences as long videos, in clips of at most "
        f"{OPTIM.clip_frames} frames (overlap at least {OPTIM.clip_overlap}), masks {rows[0]['masks']}. `fixed`: pose, "
        "focal length and depth of the keyframes are held while a clip is aligned between them, as always; `free`: "
        "only those of its first keyframe. Scale drift: between neighbouring clips, from the depth of the frames that "
        "both see.\n\n"
    )
    return text + markdown_table(header, lines)
