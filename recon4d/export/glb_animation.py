"""Shows the parts of a binary glTF file one after the other: an animation without interpolation of their nodes' scale.

glTF has no channel for visibility that every program knows; a node whose scale jumps between 0 and 1 appears and
disappears in all of them. Programs that play nothing show the part that is first.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

HEADER, CHUNK = 12, 8
"""Bytes of the file's and of a chunk's header."""
JSON_CHUNK, BIN_CHUNK = 0x4E4F534A, 0x004E4942
"""Types of chunks: "JSON" and "BIN" in ASCII, little-endian (glTF 2.0)."""
FLOAT = 5126
"""glTF's code of float32."""
NAME = "frames"


def shown_one_by_one(
    data: bytes, nodes: Mapping[int, str], starts_s: Float64[np.ndarray, " moments"]
) -> bytes:
    """A binary glTF file with an animation that shows a node at every moment until the next, and then begins again.

    Args:
        data: The file.
        nodes: Name of the node that is seen at a moment, by the moment's index; at the others none is.
        starts_s: When each moment begins, in seconds, rising.
    """
    tree, binary = _opened(data)
    if not nodes or len(starts_s) < 2:
        return data
    places = {node.get("name"): place for place, node in enumerate(tree["nodes"])}
    seconds = _with_end(starts_s)
    binary, when = _appended(tree, binary, seconds[:, None])
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    for moment, name in nodes.items():
        scale = np.zeros((len(seconds), 3), np.float32)
        scale[moment] = 1
        if moment == len(starts_s) - 1:
            scale[-1] = 1  # the end is a key, too
        binary, values = _appended(tree, binary, scale)
        channels.append(_channel(len(samplers), places[name]))
        samplers.append({"input": when, "output": values, "interpolation": "STEP"})
        _begin(tree["nodes"][places[name]], is_shown=moment == min(nodes))
    tree["animations"] = [{"name": NAME, "samplers": samplers, "channels": channels}]
    tree["buffers"][0]["byteLength"] = len(binary)
    return _closed(tree, binary)


def _with_end(starts_s: Float64[np.ndarray, " moments"]) -> Float32[np.ndarray, " keys"]:
    """Seconds from the first moment; the last one lasts as long as the others do in the middle."""
    seconds = starts_s - starts_s[0]
    return np.append(seconds, seconds[-1] + np.median(np.diff(seconds))).astype(np.float32)


def _channel(sampler: int, node: int) -> dict[str, Any]:
    return {"sampler": sampler, "target": {"node": node, "path": "scale"}}


def _begin(node: dict[str, Any], is_shown: bool) -> None:
    """What programs that play nothing show; an animated node must not have a matrix."""
    node.pop("matrix", None)
    node["scale"] = [1.0, 1.0, 1.0] if is_shown else [0.0, 0.0, 0.0]


def _appended(
    tree: dict[str, Any], binary: bytes, values: Float32[np.ndarray, "rows columns"]
) -> tuple[bytes, int]:
    """The binary part with more numbers at its end, and the index of their accessor."""
    binary += bytes(-len(binary) % 4)
    view = {"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes}
    accessor = {
        "bufferView": len(tree["bufferViews"]),
        "componentType": FLOAT,
        "count": len(values),
        "type": "SCALAR" if values.shape[1] == 1 else "VEC3",
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
    }
    tree["bufferViews"].append(view)
    tree["accessors"].append(accessor)
    return binary + values.astype("<f4").tobytes(), len(tree["accessors"]) - 1


def _opened(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The description and the numbers of a binary glTF file."""
    (length,) = struct.unpack_from("<I", data, HEADER)
    text = data[HEADER + CHUNK : HEADER + CHUNK + length]
    rest = HEADER + CHUNK + length
    (size,) = struct.unpack_from("<I", data, rest)
    return json.loads(text), data[rest + CHUNK : rest + CHUNK + size]


def _closed(tree: dict[str, Any], binary: bytes) -> bytes:
    """The binary glTF file of a description and numbers."""
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    size = HEADER + 2 * CHUNK + len(text) + len(binary)
    head = struct.pack("<4sIIII", b"glTF", 2, size, len(text), JSON_CHUNK)
    return head + text + struct.pack("<II", len(binary), BIN_CHUNK) + binary
