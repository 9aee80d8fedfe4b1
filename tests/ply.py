"""A reader of PLY files of its own: what the header says, with no other program's help."""

from pathlib import Path

import numpy as np

_TYPES = {"float": "<f4", "double": "<f8", "uchar": "u1", "int": "<i4", "uint": "<u4"}


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) and colours (n, 3) from 0 to 255 of a binary little-endian file that has vertices alone."""
    header, end, body = path.read_bytes().partition(b"end_header\n")
    lines = [line.split() for line in header.decode("ascii").splitlines()]
    assert end and lines[:2] == [["ply"], ["format", "binary_little_endian", "1.0"]]
    ((_, element, count),) = [line for line in lines if line[0] == "element"]
    assert element == "vertex"
    kinds = [(name, _TYPES[kind]) for word, kind, name in lines[3:] if word == "property"]
    vertices = np.frombuffer(body, np.dtype(kinds))
    assert len(vertices) == int(count)  # nothing is missing, nothing follows
    points = np.stack([vertices[axis] for axis in ("x", "y", "z")], axis=1)
    colors = np.stack([vertices[shade] for shade in ("red", "green", "blue")], axis=1)
    return points.astype(np.float64), colors.astype(np.float64)
