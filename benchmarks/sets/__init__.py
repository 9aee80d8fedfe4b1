"""Finding the sequences of any data set."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.sets.kitti import find_kitti
from benchmarks.sets.protocols import Protocol
from benchmarks.sets.recordings import FoundSet, Names, Task
from benchmarks.sets.sintel import find_sintel
from benchmarks.sets.tum import find_bonn, find_tum, find_tumlike

FINDERS: dict[str, Callable[[Path, Names, Protocol, Task], FoundSet]] = {
    "tum": find_tum,
    "bonn": find_bonn,
    "sintel": find_sintel,
    "kitti": find_kitti,
    "tumlike": find_tumlike,
}


def find(root: Path, names: Names, protocol: Protocol, task: Task) -> FoundSet:
    """Find the sequences of a protocol.

    Args:
        root: The data set as users unpack it.
        names: Sequences; without, those of the protocol, or all that are there.
        protocol: Names the data set.
        task: What is measured.

    Raises:
        InputError: The first path that is missing.
    """
    unique = None if names is None else tuple(dict.fromkeys(names))
    return FINDERS[protocol.dataset](root, unique, protocol, task)
