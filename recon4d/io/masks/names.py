"""Which mask belongs to which frame, by the names that COLMAP, nerfstudio and segmentation tools give them."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.scene import Video
from recon4d.io.pictures.files import list_images
from recon4d.io.pictures.kinds import IMAGE_SUFFIXES

MARK = re.compile(r"^masks?[_\-. ]|[_\-. ]masks?$", re.IGNORECASE)
"""What tools add to the name of an image to name its mask: `mask_NAME`, `NAME_mask`."""

Key = Callable[[str], str]


def list_masks(folder: Path) -> list[Path]:
    """The masks in a folder, in natural order; where some names say `mask`, images beside them are not masks.

    Raises:
        InputError: It holds no images.
    """
    images = list_images(folder)
    if not images:
        raise InputError(f"--masks {folder} holds no images; one mask per frame was needed")
    return [path for path in images if MARK.search(_without_suffix(path.stem))] or images


def match_masks(folder: Path, video: Video) -> list[Path]:
    """Return the mask of each frame.

    By the whole name of its source (COLMAP's `a.jpg.png`), by its stem, by its stem with a mark (`a_mask.png`), else by
    its number, else by its index in the source.

    Raises:
        InputError: A frame has none, or two.
    """
    masks = list_masks(folder)
    found = _by_name(masks, folder, video) or _by_number(masks, folder, video)
    for frame, path in enumerate(found):
        if path is None:
            source = video.sources[frame]
            raise InputError(
                f"--masks {folder} has no mask for frame {frame} (source {source}); one image per frame was needed: "
                f"add {Path(source).stem}.png"
            )
    return [path for path in found if path is not None]


def counts_from_one(masks: Sequence[Path]) -> bool:
    """Whether the masks are numbered 1, 2, 3, ... without a gap, as FFmpeg and most tools number frames of a video."""
    numbers = sorted(_number(path.stem) for path in masks)
    return numbers == sorted(str(number) for number in range(1, len(masks) + 1))


def is_of_video(video: Video) -> bool:
    """Whether the sources are indices of a video's frames, not names of files."""
    return all(source.isdecimal() for source in video.sources)


def _by_name(masks: Sequence[Path], folder: Path, video: Video) -> list[Path | None] | None:
    """By the first kind of name that any frame has; None where no kind fits."""
    stems = [Path(source).stem for source in video.sources]
    if is_of_video(video) and counts_from_one(masks):
        return None
    kinds: tuple[tuple[Key, Sequence[str]], ...] = (
        (str, video.sources),
        (str, stems),
        (_bare, stems),
    )
    for key, wanted in kinds:
        there = set(map(key, (path.stem for path in masks)))
        if there & set(wanted):
            named = _unique(masks, key, folder)
            return [named.get(name) for name in wanted]
    return None


def _by_number(masks: Sequence[Path], folder: Path, video: Video) -> list[Path | None]:
    """By the numbers in the names of the frames, or else by the frames' indices in the source."""
    numbered = _unique([path for path in masks if _number(path.stem)], _number, folder)
    first = 1 if counts_from_one(masks) else 0
    indices = video.source_indices or range(video.num_frames)
    by_index = [numbered.get(str(index + first)) for index in indices]
    own = [_number(Path(source).stem) for source in video.sources]
    by_number = [numbered.get(number) for number in own]
    if is_of_video(video) or None in by_number:
        stems_are_numbers = all(Path(source).stem.isdecimal() for source in video.sources)
        prefers_numbers = stems_are_numbers and None in by_index and not is_of_video(video)
        return by_number if prefers_numbers else by_index
    return by_number


def _unique(masks: Sequence[Path], key: Key, folder: Path) -> dict[str, Path]:
    out: dict[str, Path] = {}
    for path in masks:
        name = key(path.stem)
        if name in out:
            raise InputError(
                f"--masks {folder} has {out[name].name} and {path.name} for one frame; remove one of them"
            )
        out[name] = path
    return out


def _without_suffix(stem: str) -> str:
    """`a` for `a.jpg`, from `a.jpg.png`; times such as `0.066667` stay."""
    return Path(stem).stem if Path(stem).suffix.lower() in IMAGE_SUFFIXES else stem


def _bare(stem: str) -> str:
    """The name without what marks a mask."""
    return _without_suffix(MARK.sub("", _without_suffix(stem)))


def _number(stem: str) -> str:
    """The last number in a name, without leading zeros; or nothing."""
    found = re.findall(r"\d+", _bare(stem))
    return (found[-1].lstrip("0") or "0") if found else ""
