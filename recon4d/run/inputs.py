"""What a run was begun with: this version of recon4d, and every file that it reads, so that nothing is mixed.

Numbers here that name no source were set by hand.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from recon4d.core.errors import ConfigError
from recon4d.io.ours import is_result
from recon4d.settings.config import RunConfig

WHOLE_BYTES = 64_000_000
"""Files up to this size are hashed whole; of larger ones, and of folders with more in all, the time of the last change
counts, and the samples below."""
SAMPLES, SAMPLE_BYTES = 16, 65_536
"""Pieces of a large file that are hashed, spread over it evenly, first and last included."""
DEPTH = 2
"""Levels of a folder that can be input: its files, and those in folders like rgb/ and depth/."""


def fingerprint(config: RunConfig) -> dict[str, str]:
    """What tells whether a run can be resumed: the code, and the content of every input by its path."""
    return {"recon4d": code()} | {str(path): _of_path(path) for path in _inputs(config)}


def refuse_changes(begun: Mapping[str, str], config: RunConfig, folder: Path) -> None:
    """Raise a `ConfigError` that names what is another than when the run in `folder` was begun."""
    now = fingerprint(config)
    anew = "run without --resume to begin anew"
    if begun.get("recon4d") != now["recon4d"]:
        theirs = begun.get("recon4d", "an older version")
        raise ConfigError(
            f"{folder} was begun with recon4d {theirs}, this is {now['recon4d']}, and stages of two versions do not "
            f"mix; use that version again, or {anew}"
        )
    changed = [path for path, hash_ in now.items() if begun.get(path) != hash_]
    if changed:
        raise ConfigError(
            f"{changed[0]} has changed since the run in {folder} was begun; put it back as it was, or {anew}"
        )


@cache
def code() -> str:
    """The version of recon4d with a hash of its source: a checkout's version does not tell one day from the next."""
    from recon4d import __version__

    found = hashlib.blake2b(digest_size=6)
    package = Path(__file__).parents[1]
    for path in sorted(_sources(package)):
        found.update(path.read_bytes())
    return f"{__version__} ({found.hexdigest()})"


def _sources(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        yield from (Path(place) / name for name in names if name.endswith(".py"))


def _inputs(config: RunConfig) -> Iterator[Path]:
    """Every file and folder of the user's that a run reads, with absolute paths."""
    anchored = config.anchored()
    yield anchored.input
    if anchored.masks_folder is not None:
        yield anchored.masks_folder
    if anchored.depth is not None:
        yield anchored.depth
    if anchored.intrinsics is not None and Path(anchored.intrinsics).is_file():
        yield Path(anchored.intrinsics)
    if anchored.poses is not None:
        yield anchored.poses
    yield from (Path(text.partition("=")[2]) for text in anchored.weights)


def _of_path(path: Path) -> str:
    found = hashlib.blake2b(digest_size=16)
    files = sorted(_files(path, DEPTH)) if path.is_dir() else [path]
    whole = sum(file.stat().st_size for file in files if file.is_file()) <= WHOLE_BYTES
    for file in files:
        found.update(os.fsencode(file.relative_to(path)) + b"\0")
        if file.is_file():
            found.update(_of_file(file, whole, samples=max(1, SAMPLES // len(files))))
    return found.hexdigest()


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """Files that can be input; neither what is hidden, as the folder of a run is, nor results that lie there."""
    if (
        depth == 0
        or (depth < DEPTH and is_result(folder))
        or not os.access(folder, os.R_OK | os.X_OK)
    ):
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files(path, depth - 1)
        elif path.is_file():
            yield path


def _of_file(path: Path, whole: bool, samples: int) -> bytes:
    facts = path.stat()
    found = hashlib.blake2b(str(facts.st_size).encode(), digest_size=16)
    if not os.access(path, os.R_OK):  # the reader tells, if it needs it
        return found.digest()
    with path.open("rb") as file:
        if whole:
            found.update(file.read())
            return found.digest()
        found.update(str(facts.st_mtime_ns).encode())
        room = max(0, facts.st_size - SAMPLE_BYTES)
        for sample in range(samples if room else 1):
            file.seek(room * sample // max(1, samples - 1))
            found.update(file.read(SAMPLE_BYTES))
    return found.digest()
