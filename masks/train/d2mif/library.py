"""The clips of a training, seen by the front end once and kept in a folder; half-finished work goes on.

Rendered clips are numbered; parts of real videos have the name of their data set, video and first frame; videos that
label themselves have their own name and a number that follows from where they lie.

Numbers here that name no source were set by hand.
"""

import logging
import shutil
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from recon4d.core.errors import ConfigError, Recon4DError
from recon4d.core.parallel import one_torch_thread
from recon4d.core.progress import Progress
from recon4d.core.stages import load_stage, run_stage
from recon4d.masks.train.d2mif.own_labels import own_samples, videos_in
from recon4d.masks.train.d2mif.samples import Samples, real_samples, rendered_samples
from recon4d.masks.train.datasets import TRAINING, Part, read_dataset
from recon4d.masks.train.worlds.clip import render_clip
from recon4d.masks.train.worlds.material import Material, load_material

SIZES = ((512, 288), (512, 384), (512, 288), (512, 272))
"""Sizes of the clips in turn: working sizes of 16:9, 4:3 and wider videos."""
FRAMES = (6, 16)
"""Fewest and most frames of a clip."""
FIRST_ROUNDS = 0.5
"""Part of the rendered clips that show the first round of the loop; the rest shows later ones."""
TRIES = 5
"""Other seeds for a clip that the front end refuses (nothing to track, say)."""


@dataclass(frozen=True)
class LibraryOptions:
    """Which clips there are; a clip follows from these and its name alone."""

    textures: tuple[Path, ...] = ()
    """Folders of photographs; without one, what installed packages ship, and procedural textures."""
    clips: int = 400
    """Rendered clips."""
    seed: int = 0
    data: Mapping[str, Path] = field(default_factory=dict)
    """Root folders of real data sets, by the names of `recon4d.masks.train.datasets.TRAINING`."""
    videos: tuple[Path, ...] = ()
    """Folders of videos without truth, which label themselves."""

    def __post_init__(self) -> None:
        unknown = set(self.data) - set(TRAINING)
        if unknown:
            raise ConfigError(
                f"there is no training set '{sorted(unknown)[0]}'; available: {', '.join(TRAINING)}"
            )


def clip_library(
    folder: Path, options: LibraryOptions, workers: int, progress: Progress
) -> tuple[Samples, ...]:
    """All clips, computed where they are missing, as memory maps; real ones that the front end refuses are left out.

    Args:
        folder: Holds one sub-folder per clip.
        options: Which clips.
        workers: Processes.
        progress: Told about every finished clip.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rendered = [f"{k:06d}" for k in range(options.clips)]
    parts = real_parts(options.data)
    own = {_own_name(video): video for each in options.videos for video in videos_in(each)}
    names = [*rendered, *(part.name for part in parts), *own]
    missing = {name for name in names if not (folder / name).exists()}
    with progress("clips", total=len(names)) as counter:
        counter.advance(len(names) - len(missing))
        with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
            waiting = [
                *(pool.submit(_render, folder, options, int(n)) for n in rendered if n in missing),
                *(pool.submit(_film, folder, options.seed, p) for p in parts if p.name in missing),
                *(pool.submit(_own, folder, options.seed, own[n]) for n in own if n in missing),
            ]
            try:
                for done in as_completed(waiting):
                    done.result()
                    counter.advance()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return tuple(load_stage(folder / n, Samples) for n in names if (folder / n).exists())


def real_parts(data: Mapping[str, Path]) -> list[Part]:
    """The parts of all videos of some data sets that hold an annotated frame."""
    found = []
    for name, root in data.items():
        for video in read_dataset(name, root).videos:
            for start in range(0, len(video.frames), FRAMES[1]):
                stop = min(start + FRAMES[1], len(video.frames))
                part = Part(name, video, start, stop)
                if stop - start >= FRAMES[0] and part.labelled:
                    found.append(part)
    return found


def stored_clips(folder: Path) -> tuple[Samples, ...]:
    """The clips that a folder holds, as memory maps."""
    names = sorted(path.name for path in folder.iterdir() if path.name.isdigit())
    return tuple(load_stage(folder / name, Samples) for name in names)


def _render(folder: Path, options: LibraryOptions, index: int) -> None:
    is_later = index >= FIRST_ROUNDS * options.clips

    def compute(scratch: Path) -> Samples:
        refusal: Recon4DError | None = None
        for attempt in range(TRIES):
            seed = _seed(options.seed, index, attempt)
            frames = int(np.random.default_rng(seed).integers(FRAMES[0], FRAMES[1] + 1))
            clip = render_clip(seed, _material(options.textures), SIZES[index % len(SIZES)], frames)
            try:
                return rendered_samples(clip, seed, scratch, is_later)
            except Recon4DError as error:
                refusal = error
        assert refusal is not None
        raise refusal

    _store(folder, f"{index:06d}", compute)


def _film(folder: Path, seed: int, part: Part) -> None:
    own = _seed(seed, *part.name.encode())
    try:
        _store(folder, part.name, lambda scratch: real_samples(part, own, scratch))
    except Recon4DError as error:
        logging.getLogger(__name__).warning("%s is left out: %s", part.name, error)


def _own(folder: Path, seed: int, video: Path) -> None:
    name = _own_name(video)
    own = _seed(seed, *name.encode())
    try:
        _store(folder, name, lambda scratch: own_samples(video, own, scratch))
    except Recon4DError as error:
        logging.getLogger(__name__).warning("%s is left out: %s", video.name, error)


def _own_name(video: Path) -> str:
    return f"own-{video.name}-{zlib.crc32(str(video.resolve()).encode()):08x}"


def _store(folder: Path, name: str, compute: Callable[[Path], Samples]) -> None:
    """Compute a clip in this process, with one thread, and a scratch folder for its flow."""

    def with_scratch(own: Path) -> Samples:
        scratch = own / "scratch"
        scratch.mkdir()
        try:
            return compute(scratch)
        finally:
            shutil.rmtree(scratch)

    cv2.setNumThreads(1)
    with one_torch_thread():
        run_stage(folder, name, Samples, with_scratch)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@lru_cache(maxsize=1)
def _material(textures: tuple[Path, ...]) -> Material:
    return load_material(textures)
