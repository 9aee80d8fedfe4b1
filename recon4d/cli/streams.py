"""Standard output and standard error, whatever became of them: closed, a reader that left, a full disk, few characters.

What a run leaves is its folder; a message that nobody can receive is no reason to fail.
"""

import errno
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, TextIO

from recon4d.core.errors import InputError

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
_NOBODY_READS = (errno.EPIPE, errno.EBADF, errno.EIO)
"""Errors of a stream whose reader has left (`| head`), that was closed (`>&-`), or whose terminal is gone."""


def open_missing() -> None:
    """Open the null device in place of standard streams that are closed.

    The interpreter has None for them, and the next file that is opened would get their number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or _null()
    sys.stderr = sys.stderr or _null()


def write(stream: Any, text: str, needed: bool = False) -> None:
    """Write and flush; characters that the stream's encoding lacks are escaped.

    Args:
        stream: Standard output or error, or what stands in its place. Once it fails it is silenced.
        text: What to write.
        needed: The text is all that a command gives: a full disk is then an error, not a detail.

    Raises:
        InputError: The text is needed, and there is a reader whom it cannot reach.
    """
    encoding = stream.encoding or "utf-8"
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        stream.write(shown)
        stream.flush()
    except OSError as error:
        silence(stream)
        if needed and error.errno not in _NOBODY_READS:
            raise InputError(
                f"standard output cannot be written ({error.strerror}); free some space there, or send it elsewhere"
            ) from error
    except ValueError:  # closed within Python
        silence(stream)


def silence(stream: Any) -> None:
    """Send what the stream still holds, and all that comes, to the null device: its end must not fail again."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def flush_all() -> None:
    """Write out what other code has printed (argparse's help), so that the interpreter's end cannot fail."""
    for stream in (sys.stdout, sys.stderr):
        write(stream, "")


def take_interrupts() -> None:
    """Let a first Ctrl-C be a `KeyboardInterrupt`, and a second one end the process at once.

    Does nothing where the signal is ignored (background jobs) or handled by somebody else.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, _first)


def _first(number: int, frame: FrameType | None) -> None:
    signal.signal(number, _second)
    raise KeyboardInterrupt


def _second(number: int, frame: FrameType | None) -> None:
    os._exit(EXIT_INTERRUPTED)  # workers follow


def _null() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
