"""Readers of data sets with motion masks in their official layouts, for benchmarks and for training."""

from pathlib import Path

from recon4d.core.errors import ConfigError, InputError, did_you_mean
from recon4d.core.text import read_rows
from recon4d.masks.train.datasets import davis, fbms
from recon4d.masks.train.datasets.flying_things import read_flying_things
from recon4d.masks.train.datasets.folder import read_folder
from recon4d.masks.train.datasets.labels import read_foreground, read_labels
from recon4d.masks.train.datasets.layout import Reader
from recon4d.masks.train.datasets.movi import read_movi
from recon4d.masks.train.datasets.segtrack import read_segtrack
from recon4d.masks.train.datasets.video import Dataset, LabelledVideo, Names, Part
from recon4d.masks.train.datasets.youtube_vos import read_youtube_vos

__all__ = [
    "BENCHMARKS",
    "READERS",
    "TRAINING",
    "Dataset",
    "LabelledVideo",
    "Part",
    "read_dataset",
    "read_foreground",
    "read_labels",
    "read_names",
]

BENCHMARKS: dict[str, Reader] = {
    "davis16": davis.READERS["davis16"],
    "davis17": davis.READERS["davis17"],
    "davis-all": davis.READERS["davis-all"],
    "segtrackv2": read_segtrack,
    "fbms59": fbms.READERS["Testset"],
    "folder": read_folder,
}
"""Test sets, and folders of anybody."""
TRAINING: dict[str, Reader] = {
    "davis16-train": davis.READERS["davis16-train"],
    "davis17-train": davis.READERS["davis17-train"],
    "fbms59-train": fbms.READERS["Trainingset"],
    "youtube-vos": read_youtube_vos,
    "movi": read_movi,
    "flyingthings3d": read_flying_things,
    "folder": read_folder,
}
"""Sets to train on. The sequences of davis17-train are among those of davis-all: after it, davis-all is no test."""
READERS = BENCHMARKS | TRAINING


def read_dataset(name: str, root: Path, videos: Names = None) -> Dataset:
    """Find the videos of a data set; their files are read when they are asked for.

    Args:
        name: One of `READERS`.
        root: The folder as users unpack it.
        videos: Names of the videos that are wanted; without, those of the data set's own list.

    Raises:
        ConfigError: There is no such reader.
        InputError: The first path that is missing.
    """
    if name not in READERS:
        raise ConfigError(
            f"there is no data set '{name}'{did_you_mean(name, READERS)}; available: {', '.join(READERS)}"
        )
    if not root.is_dir():
        raise InputError(f"{root} is missing; the folder of the data set {name} was needed")
    return READERS[name](root, videos)


def read_names(path: Path) -> tuple[str, ...]:
    """Read a list of videos: one name per line, `#` begins a comment."""
    names = tuple(line for _, line in read_rows(path))
    if not names:
        raise InputError(f"{path} lists no videos; one name per line was needed")
    return names
