"""The partial folder of a run: who works in it, whether there is something to go on with, how it begins and ends."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from recon4d.core.errors import ConfigError, InputError
from recon4d.core.files import resolved
from recon4d.core.stages import drop_damaged
from recon4d.io.files import aside_of
from recon4d.io.ours import RESULT_FILES
from recon4d.run.inputs import fingerprint, refuse_changes
from recon4d.settings.config import RunConfig
from recon4d.settings.text import to_toml

_LOCK = "lock"
_SETTINGS, _INPUTS, _PUBLISHED = "config.toml", "inputs.json", "published"
_HOW = ("workers", "executor")
"""Options that the results of a run do not depend on."""
_OF_A_RESULT = frozenset(RESULT_FILES) - {_SETTINGS}
"""Files that a result has and a partial folder has not."""
_log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other run out of a partial folder, which is made if it is missing; the lock ends with the process.

    Raises:
        InputError: Another run works there, or something is there that recon4d did not make.
    """
    _refuse_foreign(folder)
    with _lock_file(folder) as file:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            left = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            if left == {_LOCK}:  # nothing to go on with
                shutil.rmtree(folder, ignore_errors=True)  # another run may come here right now


@contextmanager
def _lock_file(folder: Path) -> Iterator[TextIO]:
    """The lock, open and held; another run may remove it with its folder between its opening and its locking."""
    lock = folder / _LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            opened = lock.open("a+")
        except FileNotFoundError:  # the folder was removed by the end of the other run
            continue
        with opened as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"another run of recon4d{_owner(lock)} is at work in {folder}; wait for its end, or choose another "
                    "--out"
                ) from error
            except OSError as error:  # some network file systems have no locks
                _log.warning("%s cannot be locked (%s): let no other run use it", folder, error)
            if os.fstat(file.fileno()).st_nlink:
                yield file
                return


def _owner(lock: Path) -> str:
    try:
        return f" (process {int(lock.read_text())})"
    except (OSError, ValueError):
        return ""


def _refuse_foreign(folder: Path) -> None:
    """Raise where a partial folder is something of the user's that has its name, or a link in it leads to that."""
    if not (folder.is_symlink() or folder.exists()):
        return
    found = "recon4d works there and did not make it"
    ours = not folder.is_symlink() and folder.is_dir()
    if ours:
        names = {path.name for path in folder.iterdir()}
        ours = not names or bool(names & {_LOCK, _SETTINGS, _PUBLISHED})
        if names & _OF_A_RESULT:
            ours, found = False, "recon4d works there, and it holds a finished result"
    if not ours:
        raise InputError(f"{folder} is in the way: {found}; move it away, or choose another --out")
    link = _any_link(folder)
    if link is not None:
        raise InputError(
            f"{link} is a link, which recon4d does not follow where it works; remove it, or choose another --out"
        )


def _any_link(folder: Path) -> Path | None:
    """A symbolic link anywhere in a folder; no run makes any."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if os.path.islink(path := os.path.join(place, name)):
                return Path(path)
    return None


def is_begun(folder: Path, config: RunConfig) -> bool:
    """Whether there is something to resume; what was begun with anything else than this is refused.

    Stages whose files are damaged, and those that came after them, are removed: they are computed again.
    """
    settings, inputs = folder / _SETTINGS, folder / _INPUTS
    if not settings.exists():
        return False
    begun_with = settings.read_text(encoding="utf-8", errors="replace")
    if _what(begun_with) != _what(to_toml(config.anchored())):
        raise ConfigError(
            f"{folder} was begun with other options than these; give the same options to resume it, or run without "
            "--resume to begin anew"
        )
    try:
        begun = json.loads(inputs.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        begun = {}
    refuse_changes(begun if isinstance(begun, dict) else {}, config, folder)
    for name in drop_damaged(folder):
        _log.warning("the stored stage '%s' is damaged; it is computed again", name)
    return True


def _what(toml: str) -> list[str]:
    """The lines of a configuration that say what is computed, not how: a run goes on with fewer workers, too."""
    return [line for line in toml.splitlines() if line.partition(" = ")[0] not in _HOW]


def begin(folder: Path, config: RunConfig) -> None:
    """Empty the folder, and write what the run in it belongs to."""
    _empty(folder, keep=(_LOCK,))
    (folder / _INPUTS).write_text(json.dumps(fingerprint(config), indent=1), encoding="utf-8")
    (folder / _SETTINGS).write_text(to_toml(config.anchored()), encoding="utf-8")


def will_publish(folder: Path, finished: Path) -> None:
    """Note which result is about to be moved to its place, so that it is known there after a sudden end."""
    (folder / _PUBLISHED).write_text(_hash(finished / "run.json"))


def is_published(folder: Path, out: Path) -> bool:
    """Whether the result of this folder is at its place already: only removing the folder was interrupted.

    An old result that was set aside, and whose successor never came, is put back first.
    """
    aside = aside_of(folder / "result")
    if aside.is_dir() and not out.exists():
        os.rename(aside, resolved(out))
    try:
        noted = (folder / _PUBLISHED).read_text()
        return bool(noted) and noted == _hash(out / "run.json")
    except OSError:
        return False


def clear(folder: Path) -> None:
    """Remove what is in a partial folder but its lock; what tells that its result is published goes last."""
    _empty(folder, keep=(_LOCK, _PUBLISHED))
    (folder / _PUBLISHED).unlink(missing_ok=True)


def _empty(folder: Path, keep: tuple[str, ...]) -> None:
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
