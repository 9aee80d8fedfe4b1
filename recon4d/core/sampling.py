"""Some of many, spread evenly: frames to look at, to draw, to measure."""

import numpy as np
from jaxtyping import Int64


def spread_evenly(count: int, most: int) -> Int64[np.ndarray, " chosen"]:
    """At most `most` of the indices 0..count-1, ascending; the first and the last are among them.

    Args:
        count: Of what there is to choose from; 0 gives none.
        most: At least 2, or 1, which chooses the first.
    """
    places = np.linspace(0, count - 1, min(count, most))
    return np.unique(places.round().astype(np.int64))
