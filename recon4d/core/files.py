"""Files and names that the system takes or refuses: what is wrong, in one sentence with what to do."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recon4d.core.errors import InputError

WHAT_TO_DO = {
    errno.ENOSPC: "free some space there, or choose another place with --out",
    errno.EDQUOT: "free some of your quota there, or choose another place with --out",
    errno.EFBIG: "choose a place that takes larger files with --out, or a smaller --size or --max-frames",
    errno.EACCES: "change its permissions, or choose another place with --out",
    errno.EPERM: "change its permissions, or choose another place with --out",
    errno.EROFS: "choose a place that is not read-only with --out",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "it is a link that leads back to itself: give the file or folder that was meant",
    errno.ENOTDIR: "a part of the path is a file: check the path",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n), or close other programs",
    errno.ENFILE: "too many files are open on this machine: close other programs",
}
"""What the user can do about an error of the file system; any other error is a bug or a broken disk."""
LONGEST_NAME = 255
"""Bytes of a file's name that every usual file system takes."""


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


def resolved(path: Path) -> Path:
    """The absolute path without links.

    Raises:
        InputError: Links lead in a circle.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # Python 3.11 has a RuntimeError for a circle
        raise InputError(
            f"{path} cannot be followed ({error}); give the file or folder that was meant"
        ) from error


def straight(path: Path) -> Path:
    """The path without `..`: `no/../x` is `x` wherever it is used, though there is no folder `no` to go through."""
    return resolved(path) if ".." in path.parts else path


def fitting(name: str, before: str, after: str) -> str:
    """The name between two others; cut, and told apart by a part of its hash, where it would be too long."""
    whole = before + name + after
    if len(os.fsencode(whole)) <= LONGEST_NAME:
        return whole
    mark = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    room = LONGEST_NAME - len(os.fsencode(before + mark + after))
    return before + os.fsencode(name)[:room].decode(errors="ignore") + mark + after
