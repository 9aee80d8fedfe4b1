"""Which of the user's files (masks, depth) belongs to which frame, by the names that tools give them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.scene import Video
from recon4d.io.pictures.kinds import IMAGE_SUFFIXES

Key = Callable[[str], str]


@dataclass(frozen=True)
class PerFrame:
    """Files of the user's, one for every frame."""

    folder: Path
    files: tuple[Path, ...]
    """In natural order, one or more."""
    option: str
    """That named the folder, for messages."""
    what: str
    """What a file holds, for messages."""
    mark: re.Pattern[str]
    """What tools add to the name of an image to name such a file."""

    def match(self, video: Video) -> list[Path]:
        """Return the file of each frame.

        By the whole name of its source (COLMAP's `a.jpg.png`), by its stem, by its stem with a mark (`a_mask.png`),
        else by its number, else by its index in the source.

        Raises:
            InputError: A frame has none, or two.
        """
        found = _by_name(self, video) or _by_number(self, video)
        for frame, path in enumerate(found):
            if path is None:
                source = video.sources[frame]
                raise InputError(
                    f"{self.option} {self.folder} has no {self.what} for frame {frame} (source {source}); one file per "
                    f"frame was needed: add {Path(source).stem}{self.files[0].suffix}"
                )
        return [path for path in found if path is not None]

    @property
    def counts_from_one(self) -> bool:
        """Whether they are numbered 1, 2, 3, ... without a gap, as FFmpeg and most tools number frames of a video."""
        numbers = sorted(self.number(path.stem) for path in self.files)
        return numbers == sorted(str(number) for number in range(1, len(self.files) + 1))

    def unique(self, key: Key) -> dict[str, Path]:
        """The files by a key of their names."""
        out: dict[str, Path] = {}
        for path in self.files:
            name = key(path.stem)
            if name in out:
                raise InputError(
                    f"{self.option} {self.folder} has {out[name].name} and {path.name} for one frame; remove one of "
                    "them"
                )
            out[name] = path
        return out

    def bare(self, stem: str) -> str:
        """A name without what marks such a file."""
        return without_suffix(self.mark.sub("", without_suffix(stem)))

    def number(self, stem: str) -> str:
        """The last number in a name, without leading zeros; or nothing."""
        found = re.findall(r"\d+", self.bare(stem))
        return (found[-1].lstrip("0") or "0") if found else ""


def marked(files: Sequence[Path], mark: re.Pattern[str]) -> tuple[Path, ...]:
    """Those of some files whose names have a mark; all, where none has."""
    return tuple(path for path in files if mark.search(without_suffix(path.stem))) or tuple(files)


def is_of_video(video: Video) -> bool:
    """Whether the sources are indices of a video's frames, not names of files."""
    return all(source.isdecimal() for source in video.sources)


def _by_name(given: PerFrame, video: Video) -> list[Path | None] | None:
    """By the first kind of name that any frame has; None where no kind fits."""
    stems = [Path(source).stem for source in video.sources]
    if is_of_video(video) and given.counts_from_one:
        return None
    kinds: tuple[tuple[Key, Sequence[str]], ...] = (
        (str, video.sources),
        (str, stems),
        (given.bare, stems),
    )
    for key, wanted in kinds:
        there = {key(path.stem) for path in given.files}
        if there & set(wanted):
            named = given.unique(key)
            return [named.get(name) for name in wanted]
    return None


def _by_number(given: PerFrame, video: Video) -> list[Path | None]:
    """By the numbers in the names of the frames, or else by the frames' indices in the source."""
    with_number = tuple(path for path in given.files if given.number(path.stem))
    numbered = replace(given, files=with_number).unique(given.number)
    first = 1 if given.counts_from_one else 0
    indices = video.source_indices or range(video.num_frames)
    by_index = [numbered.get(str(index + first)) for index in indices]
    own = [given.number(Path(source).stem) for source in video.sources]
    by_number = [numbered.get(number) for number in own]
    if is_of_video(video) or None in by_number:
        stems_are_numbers = all(Path(source).stem.isdecimal() for source in video.sources)
        prefers_numbers = stems_are_numbers and None in by_index and not is_of_video(video)
        return by_number if prefers_numbers else by_index
    return by_number


def without_suffix(stem: str) -> str:
    """`a` for `a.jpg`, from `a.jpg.png`; times such as `0.066667` stay."""
    return Path(stem).stem if Path(stem).suffix.lower() in IMAGE_SUFFIXES else stem
