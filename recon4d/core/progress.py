"""How long work tells how far it is: a `Progress` is passed down; the library itself shows nothing."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar, runtime_checkable

Part = TypeVar("Part")


@runtime_checkable
class Counter(Protocol):
    """Counts the finished parts of one stage."""

    def advance(self, count: int = 1) -> None:
        """Tell that `count` more parts are done."""


@runtime_checkable
class Progress(Protocol):
    """Opens a counter for a stage: `with progress("flow", total=120) as counter: ... counter.advance()`."""

    def __call__(self, stage: str, total: int) -> AbstractContextManager[Counter]:
        """Begin a stage.

        Args:
            stage: Name that the user reads, e.g. `flow`.
            total: How many parts the stage has.
        """


class _Silent:
    def advance(self, count: int = 1) -> None:
        pass


def no_progress(stage: str, total: int) -> AbstractContextManager[Counter]:
    """Show nothing: what the library does unless it is given something else."""
    return nullcontext(_Silent())


def counted(parts: Iterable[Part], counter: Counter) -> Iterator[Part]:
    """The parts, each told to a counter once it is used."""
    for part in parts:
        yield part
        counter.advance()
