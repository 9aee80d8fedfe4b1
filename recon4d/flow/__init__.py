"""Optical flow between frames: what a method of flow is. Uses core, networks and the geometry of optim."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from recon4d.choices import module_of
from recon4d.flow.views import FrameView
from recon4d.weights.resolve import Resources

WINDOW_OFFSETS = (1, 2, 3, 5, 8)
"""Frames apart. Short offsets carry the flow's precision, long ones the parallax."""


Measured = tuple[int, tuple[np.ndarray, np.ndarray]]
"""Index of a pair and `(flow, confidence)` of both directions: (2, rows, cols, 2) float16 and (2, rows, cols) uint8."""


@runtime_checkable
class FlowMethod(Protocol):
    """A way to measure flow. All flow of a run comes from one: of all pairs, with the geometry's help, and of loops."""

    at_once: bool
    """Whether it is fast to call `warped` from several threads at the same time."""

    def pairs(
        self,
        images: UInt8[np.ndarray, "frames height width 3"],
        pairs: Int64[np.ndarray, "pairs 2"],
        threads: int,
    ) -> Iterator[Measured]:
        """Flow and confidence (`recon4d.flow.views.with_confidence`) of unordered pairs, each once, in any order.

        A method that loses fast motion begins from sparse matches by `recon4d.flow.matched.flow_of_pairs`.
        """

    def warped(
        self, first: FrameView, second: FrameView, at: Float32[np.ndarray, "height width 2"]
    ) -> Float32[np.ndarray, "rows cols 2"]:
        """Flow of `first` to `second` looked at through a map: what is left of the motion that the map has.

        Args:
            first: A frame.
            second: Another.
            at: Column and row of `second` that every pixel is compared with.

        Returns:
            Pixels of the working size, at the sampling of `Flow`.
        """


def flow_method(name: str, resources: Resources | None = None) -> FlowMethod:
    """Make the method of a name on the command line ready.

    Raises:
        ConfigError: Its weights are not there.
    """
    made: FlowMethod = module_of("flow", name).make(resources or Resources())
    return made


def window_pairs(
    num_frames: int, offsets: tuple[int, ...] = WINDOW_OFFSETS
) -> Int64[np.ndarray, "pairs 2"]:
    """Unordered pairs (n, n + offset), sorted by n, then by offset."""
    pairs = [(n, n + k) for n in range(num_frames) for k in offsets if n + k < num_frames]
    return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
