"""Where results go: nothing of the user's is overwritten by accident, nothing unfinished looks finished."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recon4d.errors import InputError

FORMAT = 1
"""Version of the result folder's layout; `run.json` holds it under `format`."""
WHAT_TO_DO = {
    errno.ENOSPC: "free some space there, or choose another place with --out",
    errno.EDQUOT: "free some of your quota there, or choose another place with --out",
    errno.EFBIG: "choose a place that takes larger files with --out, or a smaller --size or --max-frames",
    errno.EACCES: "change its permissions, or choose another place with --out",
    errno.EPERM: "change its permissions, or choose another place with --out",
    errno.EROFS: "choose a place that is not read-only with --out",
}
"""What the user can do about an error of the file system; any other error is a bug or a broken disk."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk and missing permissions into an `InputError` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in WHAT_TO_DO:
            raise
        raise InputError(
            f"{path} cannot be written ({error.strerror}); {WHAT_TO_DO[error.errno]}"
        ) from error


def is_result(folder: Path) -> bool:
    """True for a result folder of any format version."""
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(run, dict) and "format" in run


def default_output(source: Path) -> Path:
    """Return `NAME_recon4d` in the current directory."""
    resolved = source.resolve()
    name = resolved.stem if resolved.is_file() else resolved.name
    return Path(f"{name or 'input'}_recon4d")


def partial_folder(out: Path) -> Path:
    """Return the hidden folder beside `out` in which a run grows."""
    resolved = out.resolve()
    return resolved.with_name(f".{resolved.name}.partial")


def check_output(out: Path, overwrite: bool) -> None:
    """Raise an `InputError` where a result could not, or must not, be put at `out`."""
    if out.is_symlink() or out.exists():
        if not is_result(out):
            raise InputError(
                f"{out} exists and is not a result of recon4d; it is never overwritten: choose another --out"
            )
        if not overwrite:
            raise InputError(
                f"{out} already holds a result; give --overwrite to replace it, or choose another --out"
            )
    check_writable(out.resolve())


def publish(finished: Path, out: Path, overwrite: bool) -> None:
    """Move a finished result to its place.

    An old result there is moved aside first and deleted only when the new one is in place; if the new one cannot be
    moved, the old one comes back.

    Args:
        finished: The folder with the complete result, on the same file system as `out`.
        out: Where it goes.
        overwrite: Replace a result that is there; anything else that is there is never replaced.
    """
    check_output(out, overwrite)
    target = out.resolve()
    aside = target.with_name(f".{target.name}.replaced")
    with writing(out):
        if not target.exists():
            os.replace(finished, target)
            return
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(target, aside)
        try:
            os.replace(finished, target)
        except OSError:
            os.replace(aside, target)
            raise
        shutil.rmtree(aside)


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
    probe = parent / f".{target.name}.{os.getpid()}.probe"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise InputError(
            f"{parent} is not writable ({error.strerror}); recon4d needs to make {target.name} there: change its "
            "permissions, or choose another place with --out"
        ) from error
