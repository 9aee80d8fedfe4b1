"""`recon4d train geomotion`: clips, training, and the checkpoint with its card."""

import os
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from recon4d.core.errors import ConfigError
from recon4d.core.parallel import torch_threads
from recon4d.core.progress import Progress, no_progress
from recon4d.flow.raft import load_raft
from recon4d.masks.geomotion.network import GeoMotion
from recon4d.masks.train.command import claim, data_sets, device_of, workers_of
from recon4d.masks.train.geomotion.clips import ClipOptions, Clips, find_parts, motion_clips
from recon4d.masks.train.geomotion.fit import (
    LossWeights,
    MotionFit,
    Progressed,
    fit_motion,
    start_network,
)
from recon4d.weights.catalogue import weights_path

STARTS = ("geomotion", "pi3")
NAMES = (*STARTS, "raft")
CARD = """# GeoMotion weights

| | |
|---|---|
| file | `{name}`; `recon4d run VIDEO --masks geomotion --weights geomotion={name}` |
| made by | `{command}` |
| with | torch {torch}, {device}, seed {seed} |
| training | {steps} steps of one clip of {clips}; the last loss is {loss:.4f} |
| validation | {validation} |

pi3's weights (CC BY-NC 4.0: non-commercial use) are in this file, all but its confidence decoder as they were.
"""


@dataclass(frozen=True, kw_only=True)
class MotionTraining:
    """Everything that determines a training."""

    out: Path
    start: Path
    """Checkpoint of pi3, or of GeoMotion."""
    raft: Path
    clips: ClipOptions
    fit: MotionFit
    threads: int = 1
    command: str = ""
    """The command line, for the card."""


def train_geomotion(options: MotionTraining, progress: Progress = no_progress) -> Path:
    """Train the network, going on where an earlier call with the same options was interrupted.

    Returns:
        The checkpoint, with the official keys; the card lies beside it.

    Raises:
        ConfigError: Another training is in the folder, or weights do not fit.
        InputError: The data are not complete.
    """
    parts = find_parts(options.clips)
    raft = load_raft(options.raft, torch.device(options.fit.device))
    network = start_network(options.start, options.fit.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    claim(options.out, _identity(options))
    with torch_threads(options.threads):
        folder, threads = options.out / "clips", options.threads
        clips = motion_clips(folder, parts, network.side_px, raft, threads, progress)
        done = fit_motion(options.out, network, clips, options.fit, progress)
    return _finish(options, network, clips, done)


def _identity(options: MotionTraining) -> dict[str, object]:
    """What must not differ when a training goes on."""
    return {
        "start": str(options.start.resolve()),
        "raft": str(options.raft.resolve()),
        "data": {name: str(path.resolve()) for name, path in options.clips.data.items()},
        "clip_frames": options.clips.frames,
    }


def _finish(options: MotionTraining, network: GeoMotion, clips: Clips, done: Progressed) -> Path:
    weights = options.out / "geomotion.safetensors"
    growing = weights.with_suffix(".growing")
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(state, growing, {"format": "pt"})
    os.replace(growing, weights)
    validation = "no videos were held out: there are fewer than ten; the weights are the last"
    if done.scores:
        best = max(score for _, score in done.scores)
        validation = f"IoU {best:.3f} on {len(clips.held_out)} clips of held-out videos, which chose the weights"
    text = CARD.format(
        name=weights.name,
        command=options.command,
        torch=torch.__version__,
        device=options.fit.device,
        seed=options.fit.seed,
        steps=len(done.losses),
        clips=len(clips.train),
        loss=done.losses[-1],
        validation=validation,
    )
    weights.with_suffix(".md").write_text(text, encoding="utf-8")
    return weights


def from_arguments(arguments: Namespace, command: str) -> MotionTraining:
    """Options of the command line."""
    start, raft = _weights(arguments.weights)
    return MotionTraining(
        out=arguments.out,
        start=start,
        raft=raft,
        clips=ClipOptions(data_sets(arguments.data), arguments.clip_frames),
        fit=MotionFit(
            steps=arguments.steps,
            rate=arguments.rate,
            loss=LossWeights(arguments.focal_loss, arguments.dice_loss, arguments.bce_loss),
            seed=arguments.seed,
            device=device_of(arguments),
        ),
        threads=workers_of(arguments),
        command=command,
    )


def _weights(texts: Sequence[str]) -> tuple[Path, Path]:
    """What the training starts from, and RAFT: what is given, else what was fetched of pi3 and RAFT."""
    given: dict[str, Path] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if name not in NAMES or not path:
            raise ConfigError(
                f"--weights {text} is for no network of this training; write NAME=PATH with NAME one of: "
                f"{', '.join(NAMES)}"
            )
        given[name] = Path(path)
    if all(name in given for name in STARTS):
        raise ConfigError(
            "--weights pi3=... and geomotion=... both say what the training starts from; give one of the two"
        )
    start = given.get("geomotion") or weights_path("pi3", given.get("pi3"))
    return start, weights_path("raft-large", given.get("raft"))
