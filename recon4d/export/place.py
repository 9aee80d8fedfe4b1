"""Where an export goes: it appears there when it is complete, and nothing of the user's is replaced."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recon4d.errors import InputError
from recon4d.io.output import check_writable, missing_parents, remove_empty, writing

MARKER = "recon4d_export.json"
"""What an export says about itself; a folder with it may be replaced by another export."""


@contextmanager
def placed(out: Path, is_ours: bool, file: str | None = None) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `out` when the block ends without an error.

    Args:
        out: A folder, which must not exist, be empty, or hold an earlier export; or the name of a file.
        is_ours: Whatever is at `out` was chosen by recon4d, and is replaced.
        file: The one file of the filled folder that becomes `out`; None: the folder does.

    Raises:
        InputError: There is something else at `out`, or it cannot be written.
    """
    if not is_ours:
        _check_free(out, is_file=file is not None)
    target = out.resolve()
    check_writable(target)
    new_parents = missing_parents(target)
    try:
        with writing(out):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as aside:
                filled = Path(aside) / "export"
                filled.mkdir()
                yield filled
                _publish(filled if file is None else filled / file, target, Path(aside) / "old")
    except BaseException:
        remove_empty(new_parents)
        raise


def _check_free(out: Path, is_file: bool) -> None:
    if is_file and (out.exists() or out.is_symlink()):
        raise InputError(
            f"{out} exists and is never overwritten; remove it, or choose another --out"
        )
    if not (out.exists() or out.is_symlink()):
        return
    if not out.is_dir():
        raise InputError(f"{out} is a file, a folder was needed; choose another --out")
    if (out / MARKER).is_file():
        return
    if any(out.iterdir()):
        raise InputError(
            f"{out} holds files that are not an export of recon4d; they are never overwritten: choose another --out"
        )


def _publish(finished: Path, target: Path, aside: Path) -> None:
    """Move what is finished to its place; what was there comes back if that fails."""
    if not target.exists():
        os.replace(finished, target)
        return
    os.replace(target, aside)
    try:
        os.replace(finished, target)
    except OSError:
        os.replace(aside, target)
        raise
