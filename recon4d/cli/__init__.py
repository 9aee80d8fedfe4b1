"""The command line. `main` maps what happens to an exit code; each command is a function in `recon4d.cli.commands`.

Exit codes: 0 done; 2 the user can fix it (one sentence on standard error); 130 interrupted; 1 a bug (traceback).
"""

import shlex
import sys
import time
from collections.abc import Sequence

from recon4d.cli import parser, streams
from recon4d.cli.limits import check_process
from recon4d.cli.screen import complain, logging_to_screen, remark, say
from recon4d.cli.streams import EXIT_INTERRUPTED
from recon4d.core.errors import Recon4DError
from recon4d.core.files import WHAT_TO_DO

EXIT_DONE, EXIT_USER = 0, 2
"""Exit codes: done, and something that the user can put right, as argparse has it."""
_NO_MEMORY = (
    "there is not enough memory; close other programs, raise the limit (ulimit -v), or give a smaller --size, "
    "--max-frames or --workers"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit code; a bug is raised, which makes it 1.

    Args:
        argv: The words; None: those of this process, which is the program then.
    """
    streams.open_missing()
    if argv is None:
        streams.take_interrupts()
    try:
        return _outcome(sys.argv[1:] if argv is None else list(argv))
    finally:
        streams.flush_all()


def _outcome(words: Sequence[str]) -> int:
    try:
        with logging_to_screen():
            return _dispatch(words)
    except Recon4DError as error:
        complain(f"recon4d: error: {error}")
        return EXIT_USER
    except OSError as error:
        if error.errno not in WHAT_TO_DO:
            raise  # a bug: the traceback and exit code 1 of the interpreter
        place = f": {error.filename}" if error.filename else ""
        complain(f"recon4d: error: {error.strerror}{place}; {WHAT_TO_DO[error.errno]}")
        return EXIT_USER
    except MemoryError:
        remark(f"recon4d: error: {_NO_MEMORY}")
        return EXIT_USER
    except KeyboardInterrupt:
        complain(_explain_interrupt(words))
        return EXIT_INTERRUPTED


def _dispatch(words: Sequence[str]) -> int:
    began_s = time.monotonic()
    arguments = parser.parse(words)
    arguments.began_s = began_s
    if arguments.version:
        from recon4d import __version__

        say(f"recon4d {__version__}")
        return EXIT_DONE
    if arguments.command is None:
        remark(parser.format_help())
        return EXIT_USER
    check_process()
    from recon4d.cli.commands import COMMANDS

    COMMANDS[arguments.command](arguments)
    return EXIT_DONE


def _explain_interrupt(words: Sequence[str]) -> str:
    if words[:1] != ["run"]:
        return "recon4d: interrupted"
    again = ["recon4d", *words, *(() if "--resume" in words else ("--resume",))]
    return f"recon4d: interrupted; what is done is kept, continue with: {shlex.join(again)}"
