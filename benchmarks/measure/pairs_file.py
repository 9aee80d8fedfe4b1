"""Reads `recon4d-pairs` files: what a pairwise pointmap network and a flow network said about pairs of frames.

Such a file is a `.npz` with `images` (N,H,W,3) uint8, `edges` (E,2) directed pairs (n, m), `pts3d_i` and `pts3d_j`
(E,H,W,3), `conf_i` and `conf_j` (E,H,W), and `flow` (E,2,H,W) in pixels; see `recon4d.optim.pairwise.pairs.Pairs`. It
may hold more, such as the truth of a rendered scene, which is not read.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recon4d.core.errors import InputError
from recon4d.optim.pairwise.pairs import Pairs, check_frames, check_shapes

ARRAYS: Mapping[str, tuple[str, type[np.generic]]] = {
    "images": ("images", np.uint8),
    "edges": ("edges", np.int64),
    "pts3d_i": ("source_points", np.float32),
    "pts3d_j": ("target_points", np.float32),
    "conf_i": ("source_confidence", np.float32),
    "conf_j": ("target_confidence", np.float32),
    "flow": ("flow_px", np.float16),
}
"""Arrays that are read: where they go, and what they are stored as in memory."""


def read_pairs(path: Path) -> Pairs:
    """Read pairwise predictions.

    Raises:
        InputError: There is no such file, it is not an `.npz` of arrays, or an array is missing or has a wrong shape.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; a recon4d-pairs .npz was expected")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file.files]
            if missing:
                raise InputError(
                    f"{path} has no arrays {missing}; a recon4d-pairs file has {list(ARRAYS)}"
                )
            fields: dict[str, Any] = {
                field: file[name].astype(kind, copy=False) for name, (field, kind) in ARRAYS.items()
            }
    except (ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as an .npz of plain arrays: {error}") from error
    check_shapes({field: array.shape for field, array in fields.items()})
    pairs = Pairs(**fields)
    check_frames(pairs.edges, pairs.num_frames)
    return pairs
