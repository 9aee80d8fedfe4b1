"""`run.json` of a result folder: which entries have a meaning, and of which type and range they are.

Numbers here that name no source were set by hand.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from recon4d.core.errors import InputError
from recon4d.core.text import printable, read_text
from recon4d.io.files import FORMAT

DAMAGED = "the result is damaged: copy it again, or run recon4d again"
LARGEST_RUN_FILE = 64_000_000
"""Bytes: that of 100,000 frames has a few million."""
LARGEST_FIGURE = 1e15
"""Of any number in the file: seconds, megabytes, pixels, a seed's neighbours; floats still tell whole numbers apart."""
LONGEST_SHOWN = 60
"""Characters of a wrong value that a message shows."""

T = TypeVar("T")
_Check = Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_figure(value: Any) -> bool:
    is_number = isinstance(value, float) or _is_whole(value)
    return is_number and 0 <= value <= LARGEST_FIGURE


def _is_number(value: Any) -> bool:
    return (isinstance(value, float) or _is_whole(value)) and abs(value) <= LARGEST_FIGURE


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any, entry: _Check) -> bool:
    return isinstance(value, list) and all(entry(each) for each in value)


def _is_table(value: Any, entry: _Check) -> bool:
    return isinstance(value, dict) and all(entry(each) for each in value.values())


def _is_stage(value: Any) -> bool:
    return isinstance(value, dict) and _is_figure(value.get("seconds"))


def _is_overlay(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_figure(value.get("share"))
        and _is_list(value.get("frames", []), _is_whole)
    )


def _is_warning(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_text(value.get("code"))
        and _is_text(value.get("message"))
        and _is_list(value.get("frames", []), _is_whole)
    )


_NULL_OR_FIGURE: _Check = lambda value: value is None or _is_figure(value)  # noqa: E731
_KNOWN: Mapping[str, tuple[str, _Check]] = {
    "scale": ("'metric' or 'relative'", lambda value: value in ("metric", "relative")),
    "command": ("text", _is_text),
    "versions": ("texts by name", lambda value: _is_table(value, _is_text)),
    "device": ("text", _is_text),
    "frames": ("a whole number", _is_whole),
    "posed": ("a whole number from 0", lambda value: _is_whole(value) and _is_figure(value)),
    "size": (
        "a width and a height",
        lambda value: _is_list(value, _is_whole) and len(value) == 2,
    ),
    "geometry": ("text", _is_text),
    "masks": ("text", _is_text),
    "flow": ("text", _is_text),
    "refine": ("text", _is_text),
    "focal_px": ("numbers", lambda value: _is_list(value, _is_figure)),
    "focal_source": ("text", _is_text),
    "focal_stated_px": ("a number from 0", _NULL_OR_FIGURE),
    "readout_ms": ("a number", _is_number),
    "readout_sigma_ms": ("a number from 0", _is_figure),
    "motion": (
        "a table with a kind",
        lambda value: isinstance(value, dict) and _is_text(value.get("kind")),
    ),
    "lens": (
        "a table with a model",
        lambda value: isinstance(value, dict) and _is_text(value.get("model")),
    ),
    "focal_known": ("true or false", lambda value: isinstance(value, bool)),
    "static_flow_residual_px": (
        "numbers by name",
        lambda value: _is_table(value, _NULL_OR_FIGURE),
    ),
    "overlay": ("a table with the share of the picture", _is_overlay),
    "rounds": ("a list of tables", lambda value: _is_list(value, lambda x: isinstance(x, dict))),
    "stages": ("tables with seconds by name", lambda value: _is_table(value, _is_stage)),
    "seconds": ("a number from 0", _NULL_OR_FIGURE),
    "peak_rss_mb": ("a number from 0", _NULL_OR_FIGURE),
    "warnings": (
        "a list of tables with code, message and frames",
        lambda value: _is_list(value, _is_warning),
    ),
}
"""What an entry must be, in words and as a check; other entries may be anything."""


def read_run(folder: Path) -> dict[str, object]:
    """Read `run.json` of a result folder whose format this version knows.

    Raises:
        InputError: There is none, it is of another format, or an entry is not what it must be.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise InputError(
            f"{folder} is not a result of recon4d (no run.json with a format); give the folder that recon4d run wrote"
        )
    run = _parse(path)
    if not isinstance(run, dict) or "format" not in run:
        raise InputError(
            f"{folder} is not a result of recon4d (no run.json with a format); give the folder that recon4d run wrote"
        )
    if run["format"] != FORMAT or isinstance(run["format"], bool):
        raise InputError(
            f"{folder} has result format {_shown(run['format'])}, this version reads {FORMAT}; use the recon4d that "
            "wrote it, or run again"
        )
    check_run(run, path)
    return run


def check_run(run: Mapping[str, object], path: Path) -> None:
    """Raise an `InputError` where an entry of `run.json` is not what it must be."""
    for key, (needed, is_right) in _KNOWN.items():
        if key in run and not is_right(run[key]):
            raise InputError(f"{path}: {key} is {_shown(run[key])}, {needed} was needed; {DAMAGED}")
    if "scale" not in run:
        raise InputError(f"{path} does not say whether the scale is metric or relative; {DAMAGED}")


def check_frames(run: Mapping[str, Any], path: Path, count: int, size: tuple[int, int]) -> None:
    """Raise an `InputError` where `run.json` speaks of other frames than the result has.

    Args:
        run: What `check_run` accepts.
        path: The file, for messages.
        count: Frames of the result.
        size: (width, height) of its images.
    """
    if run.get("frames", count) != count:
        raise InputError(
            f"{path} speaks of {run['frames']} frames, frames.txt has {count}; {DAMAGED}"
        )
    if run.get("posed", 0) > count:
        raise InputError(f"{path}: {run['posed']} of {count} frames are posed; {DAMAGED}")
    if tuple(run.get("size", size)) != size:
        raise InputError(
            f"{path}: the size is {_shown(run['size'])}, that of intrinsics.txt {list(size)}; {DAMAGED}"
        )
    for warning in run.get("warnings", ()):
        outside = [frame for frame in warning.get("frames", ()) if not 0 <= frame < count]
        if outside:
            raise InputError(
                f"{path}: a warning is about frame {outside[0]}, there are frames 0 to {count - 1}; {DAMAGED}"
            )


def of_result(read: Callable[[], T]) -> T:
    """Read a file of a result by a reader of anybody's files, which does not know what to do about it."""
    try:
        return read()
    except InputError as error:
        raise InputError(f"{str(error).partition(';')[0]}; {DAMAGED}") from error


def _parse(path: Path) -> object:
    text = of_result(lambda: read_text(path, LARGEST_RUN_FILE))
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{path} is not valid JSON ({why}); {DAMAGED}") from error


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _shown(value: object) -> str:
    """A wrong value in few words."""
    if isinstance(value, float) and not math.isfinite(value):
        return "no finite number"
    if isinstance(value, dict | list) and len(value) > 4:
        return f"a {type(value).__name__} of {len(value)} entries"
    if isinstance(value, int) and abs(value) > LARGEST_FIGURE:
        return "an enormous number"
    try:
        text = printable(json.dumps(value, ensure_ascii=False))
    except (RecursionError, ValueError, TypeError):
        return f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
