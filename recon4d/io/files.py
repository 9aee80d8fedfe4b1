"""Where results go: nothing of the user's is overwritten by accident, nothing unfinished looks finished.

Numbers here that name no source were set by hand.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from recon4d.core.errors import ConfigError, InputError
from recon4d.core.files import LONGEST_NAME, fitting, resolved, writing
from recon4d.io.ours import is_result, strangers_in_result

FORMAT = 1
"""Version of the result folder's layout; `run.json` holds it under `format`."""
SHOWN = 3
"""Names that a sentence lists."""
_RENAME_EXCHANGE = 2
"""Flag of renameat2 that swaps two names (linux/fs.h)."""
_AT_FDCWD = -100
"""Stands for the current folder in the place of an open one (linux/fcntl.h)."""


class PlaceTakenError(InputError):
    """Something appeared where the result was to go while it was computed; what is finished is kept."""


@dataclass(frozen=True)
class WaysOut:
    """What a message tells to do where something is in the way."""

    replace: str = "give --overwrite"
    elsewhere: str = "choose another --out"


COMMAND_LINE = WaysOut()
PYTHON = WaysOut(replace="say overwrite=True", elsewhere="choose another folder")


def partial_folder(out: Path) -> Path:
    """Return the hidden folder beside `out` in which a run grows."""
    place = resolved(out)
    return place.with_name(fitting(place.name, ".", ".partial"))


def check_output(out: Path, overwrite: bool, ways: WaysOut = COMMAND_LINE) -> None:
    """Raise an `InputError` where a result could not, or must not, be put at `out`."""
    target = resolved(out)  # which is what would be replaced, whatever the path to it looks like
    if out.is_symlink() or target.exists():
        if not is_result(target):
            raise InputError(
                f"{out} exists and is not a result of recon4d; it is never overwritten: {ways.elsewhere}"
            )
        if not overwrite:
            raise InputError(
                f"{out} already holds a result; {ways.replace} to replace it, or {ways.elsewhere}"
            )
        refuse_strangers(strangers_in_result(target), out, ways)
    check_place(out)


def check_place(out: Path) -> None:
    """Raise an error where no folder can be made, whatever is there now."""
    target = resolved(out)
    if not target.name:
        raise ConfigError(f"{out} is the root of the file system; choose a folder in it with --out")
    if len(os.fsencode(target.name)) > LONGEST_NAME:
        raise ConfigError(
            f"the name of {out} has more than {LONGEST_NAME} bytes; choose a shorter one"
        )
    check_writable(target)


def refuse_strangers(found: Iterable[Path], folder: Path, ways: WaysOut = COMMAND_LINE) -> None:
    """Raise an `InputError` that names what in a folder is not recon4d's and would be deleted with it."""
    names = [str(path.relative_to(resolved(folder))) for path in islice(found, SHOWN + 1)]
    if names:
        more = ", ..." if len(names) > SHOWN else ""
        raise InputError(
            f"{folder} also holds what recon4d did not write ({', '.join(names[:SHOWN])}{more}), and replacing it "
            f"would delete that; move it away, or {ways.elsewhere}"
        )


def publish(finished: Path, out: Path, overwrite: bool, ways: WaysOut = COMMAND_LINE) -> None:
    """Move a finished result to its place; an old one is left where the new one was.

    Both change places at once where the system can do that, so that there is always a result at `out`; elsewhere the
    old one is moved aside first, and comes back if the new one cannot be moved.

    Args:
        finished: The folder with the complete result, on the same file system as `out`.
        out: Where it goes.
        overwrite: Replace a result that is there; anything else that is there is never replaced.
        ways: What messages tell to do.

    Raises:
        PlaceTakenError: Something is there that must not be replaced.
    """
    try:
        check_output(out, overwrite, ways)
    except InputError as error:
        raise PlaceTakenError(str(error)) from error
    target = resolved(out)
    with writing(out):
        if not target.exists():
            os.rename(finished, target)
        elif not exchange(finished, target):
            aside = aside_of(finished)
            os.rename(target, aside)
            try:
                os.rename(finished, target)
            except OSError:
                os.rename(aside, target)
                raise


def publish_entries(finished: Path, target: Path, aside: Path) -> None:
    """Move finished files and folders into a folder, by renaming alone; entries of their names leave it first.

    If a step fails, all come back. What is killed half-way leaves a part of the old entries or of the new ones, never
    some of each; and never a list (`x.json`) without what it lists (`x/`).

    Args:
        finished: The folder that holds them, on the same file system as `target`.
        target: Where they go.
        aside: An empty folder there, for what they replace.
    """
    names = sorted(path.name for path in finished.iterdir())
    old = [name for name in names if os.path.lexists(target / name)]
    steps = [(target / name, aside / name) for name in reversed(old)]
    steps += [(finished / name, target / name) for name in names]
    done: list[tuple[Path, Path]] = []
    try:
        for before, after in steps:
            os.rename(before, after)
            done.append((before, after))
    except BaseException:
        for before, after in reversed(done):
            os.rename(after, before)
        raise


def aside_of(finished: Path) -> Path:
    """Where an old result waits while a finished one takes its place, on a system that cannot exchange the two."""
    return finished.with_name("replaced")


def exchange(one: Path, other: Path) -> bool:
    """Let two folders change their names in one step; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    names = os.fsencode(one), os.fsencode(other)
    done = library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    return bool(done == 0)


def missing_parents(path: Path) -> tuple[Path, ...]:
    """Return the folders above `path` that do not exist yet, the innermost first."""
    return tuple(parent for parent in path.parents if not parent.exists())


def remove_empty(folders: tuple[Path, ...]) -> None:
    """Remove folders, the innermost first, up to one that holds something."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def check_file_output(path: Path, option: str) -> None:
    """Raise an `InputError` where a file could not be written, before any work is done.

    Args:
        path: The file; an old one may be there.
        option: What names it, for messages.
    """
    target = resolved(path)
    if target.is_dir():
        raise InputError(f"{option} {path} is a folder, a file was needed; add the file's name")
    if target.exists() and not target.is_file():
        raise InputError(f"{option} {path} is not a file; choose another name")
    if not target.parent.is_dir():
        raise InputError(
            f"{option} {path} would be in the folder {path.parent}, which is not there; make it, or choose another"
        )
    if len(os.fsencode(target.name)) > LONGEST_NAME:
        raise InputError(f"the name of {option} has more than {LONGEST_NAME} bytes; shorten it")
    if not target.exists():
        check_writable(target)


def check_writable(target: Path) -> None:
    """Raise an `InputError` where `target` (resolved) could not be made.

    Permissions, read-only and virtual file systems are all seen by making a folder.
    """
    parent = target.parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(
            f"{parent} is a file, a folder was needed; choose another --out than {target}"
        )
    probe = parent / f".recon4d.{os.getpid()}.probe"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise InputError(
            f"{parent} is not writable ({error.strerror}); recon4d needs to make {target.name} there: change its "
            "permissions, or choose another place with --out"
        ) from error
