"""Errors that a user can act on.

Every message says what was found, what was needed, and what to do. The command line prints it as one line
and exits with code 2; anything else that is raised is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class Recon4DError(Exception):
    """Base of all errors that recon4d raises on purpose."""


class InputError(Recon4DError):
    """A file, a folder, a shape or a value that was given cannot be used."""


class ConfigError(Recon4DError):
    """An option is unknown, contradicts another, or is out of range."""


class MissingDependencyError(Recon4DError):
    """An optional package or a system library is not installed; the message has the command that installs it."""


class DegenerateError(Recon4DError):
    """The data does not determine the answer (no texture, too few static pixels)."""


class DivergedError(Recon4DError):
    """The optimizer met a non-finite number; the message names the term and the step."""


class WorkerError(Recon4DError):
    """A worker process ended before its work; what is finished is kept, and a resumed run goes on."""


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the valid word nearest to `word`, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(valid), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""
