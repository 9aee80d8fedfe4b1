"""What the commands of all trainings have in common: data sets, device and threads, and the folder of a training."""

import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from recon4d.core.errors import ConfigError


def device_of(arguments: Namespace) -> str:
    """Of `--device`."""
    if arguments.device != "auto":
        return str(arguments.device)
    return "cuda" if torch.cuda.is_available() else "cpu"


def workers_of(arguments: Namespace) -> int:
    """Of `--workers`; without, as many as there are processors for this process."""
    return int(arguments.workers or len(os.sched_getaffinity(0)))


def data_sets(texts: Sequence[str]) -> dict[str, Path]:
    """NAME=DIR of the command line."""
    found = {}
    for text in texts:
        name, _, root = text.partition("=")
        if not root:
            raise ConfigError(
                f"--data {text} names no folder; write NAME=DIR, e.g. davis16-train=DAVIS"
            )
        found[name] = Path(root)
    return found


def claim(out: Path, identity: Mapping[str, object]) -> None:
    """Refuse a folder that holds another training or anything else."""
    mark, wanted = out / "training.json", json.dumps(identity)
    if mark.exists():
        if mark.read_text(encoding="utf-8") != wanted:
            raise ConfigError(
                f"{out} holds the training {mark.read_text(encoding='utf-8')}; "
                "give the same options to go on with it, or another --out"
            )
        return
    if any(out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no training; give another --out")
    mark.write_text(wanted, encoding="utf-8")
