"""Where an export goes: it appears there when it is complete, and nothing of the user's is replaced."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recon4d.core.errors import InputError
from recon4d.core.files import resolved, writing
from recon4d.io.files import check_place, exchange, missing_parents, refuse_strangers, remove_empty
from recon4d.io.ours import first_link, is_export, strangers_in_export


@contextmanager
def placed(out: Path, inside: Path | None = None, file: str | None = None) -> Iterator[Path]:
    """Give an empty folder to fill; it becomes `out` when the block ends without an error.

    Args:
        out: A folder, which must not exist, be empty, or hold an earlier export; or the name of a file.
        inside: The result folder that `out` is in; no link may lead out of it.
        file: The one file of the filled folder that becomes `out`; None: the folder does.

    Raises:
        InputError: There is something else at `out`, or it cannot be written.
    """
    link = None if inside is None else first_link(out, inside)
    if link is not None:
        raise InputError(
            f"{link} is a link, which exports do not follow; remove it, or name the place with --out"
        )
    check_place(out)
    _check_free(out, is_file=file is not None)
    target = resolved(out)
    new_parents = missing_parents(target)
    try:
        with writing(out):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".recon4d.", dir=target.parent) as aside:
                filled = Path(aside) / "export"
                filled.mkdir()
                yield filled
                _check_free(out, is_file=file is not None)  # it may have come in the meantime
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
    if is_export(out):
        refuse_strangers(strangers_in_export(resolved(out)), out)
        return
    if any(out.iterdir()):
        raise InputError(
            f"{out} holds files that are not an export of recon4d; they are never overwritten: choose another --out"
        )


def _publish(finished: Path, target: Path, aside: Path) -> None:
    """Move what is finished to its place; what was there comes back if that fails."""
    if not target.exists():
        os.rename(finished, target)
        return
    if exchange(finished, target):
        return
    os.replace(target, aside)
    try:
        os.replace(finished, target)
    except OSError:
        os.replace(aside, target)
        raise
