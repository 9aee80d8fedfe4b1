"""The clips of a training, rendered and seen by the front end once, kept in a folder; half-finished work goes on."""

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from recon4d.checkpoint import load_stage, run_stage
from recon4d.errors import Recon4DError
from recon4d.masks.train.clip import render_clip
from recon4d.masks.train.material import Material, load_material
from recon4d.masks.train.samples import Samples, make_samples
from recon4d.parallel import one_torch_thread
from recon4d.progress import Progress

SIZES = ((512, 288), (512, 384), (512, 288), (512, 272))
"""Sizes of the clips in turn: working sizes of 16:9, 4:3 and wider videos."""
FRAMES = (6, 16)
"""Fewest and most frames of a clip."""
TRIES = 5
"""Other seeds for a clip that the front end refuses (nothing to track, say)."""


@dataclass(frozen=True)
class LibraryOptions:
    """Which clips there are; a clip follows from these and its index alone."""

    textures: tuple[Path, ...] = ()
    """Folders of photographs; without one, what installed packages ship, and procedural textures."""
    clips: int = 400
    seed: int = 0


def clip_library(
    folder: Path, options: LibraryOptions, workers: int, progress: Progress
) -> tuple[Samples, ...]:
    """All clips, computed where they are missing, as memory maps.

    Args:
        folder: Holds one sub-folder per clip.
        options: Which clips.
        workers: Processes.
        progress: Told about every finished clip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [k for k in range(options.clips) if not (folder / _name(k)).exists()]
    with progress("clips", total=options.clips) as counter:
        counter.advance(options.clips - len(missing))
        with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
            waiting = [pool.submit(_store, folder, options, index) for index in missing]
            for done in as_completed(waiting):
                done.result()
                counter.advance()
    return tuple(_clip(folder, options, k) for k in range(options.clips))


def stored_clips(folder: Path) -> tuple[Samples, ...]:
    """The clips that a folder holds, as memory maps."""
    names = sorted(path.name for path in folder.iterdir() if path.name.isdigit())
    return tuple(load_stage(folder / name, Samples) for name in names)


def _store(folder: Path, options: LibraryOptions, index: int) -> None:
    cv2.setNumThreads(1)
    with one_torch_thread():
        _clip(folder, options, index)


def _clip(folder: Path, options: LibraryOptions, index: int) -> Samples:
    def compute(own: Path) -> Samples:
        for attempt in range(TRIES):
            seed = int(np.random.SeedSequence((options.seed, index, attempt)).generate_state(1)[0])
            frames = int(np.random.default_rng(seed).integers(FRAMES[0], FRAMES[1] + 1))
            clip = render_clip(seed, _material(options.textures), SIZES[index % len(SIZES)], frames)
            scratch = own / "scratch"
            scratch.mkdir(exist_ok=True)
            try:
                return make_samples(clip, seed, scratch)
            except Recon4DError as error:
                refusal = error
            finally:
                for path in scratch.iterdir():
                    os.remove(path)
                scratch.rmdir()
        raise refusal

    return run_stage(folder, _name(index), Samples, compute)


@lru_cache(maxsize=1)
def _material(textures: tuple[Path, ...]) -> Material:
    return load_material(textures)


def _name(index: int) -> str:
    return f"{index:06d}"
