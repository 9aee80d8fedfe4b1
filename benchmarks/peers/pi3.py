"""Our pi3 against the official one.

Tolerance: golden README; rounding alone moves the official code by up to 2e-5 of points of size 14.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.parity import Compared, Fixture
from recon4d.networks.pi3.load import network_of
from recon4d.networks.pi3.network import Pi3

ATOL, RTOL = 5e-5, 1e-5
"""Of golden/README.md."""
GIVEN = ("sd/", "flowmag/forward", "flowmag/backward")
"""How the names of weights and inputs begin."""

Arrays = dict[str, NDArray[Any]]


def compare(fixture: Fixture) -> list[Compared]:
    """Every array of the fixture."""
    network = network_of(fixture.weights)
    ours: Arrays = {}
    for case in fixture.described["cases"]:
        ours |= {f"{case}/{name}": value for name, value in case_arrays(network, fixture, case)}
    return compared(fixture, ours, ATOL)


def compared(fixture: Fixture, ours: Arrays, atol: float) -> list[Compared]:
    """Every array that is no input, with the tokens of all frames in one row where the official code has them so."""
    found = []
    for name, theirs in fixture.arrays.items():
        if "/in/" in name or name.startswith(GIVEN):
            continue
        own = ours[name].reshape(theirs.shape) if ours[name].size == theirs.size else ours[name]
        found.append(Compared(name, own, theirs, atol, RTOL))
    return found


@torch.no_grad()
def case_arrays(network: Pi3, fixture: Fixture, case: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """What we compute of one case, under the names of the fixture."""
    images = fixture.tensor(f"{case}/in/imgs")
    grid = network.grid_of((images.shape[3], images.shape[4]))
    seen: dict[str, Tensor] = {}
    with watched(network, seen):
        tokens = network.encode(images.flatten(0, 1))
        decoded = network.decode(
            tokens, grid, sequences=len(images), keep=range(network.config.depth)
        )
        found = network.predict(decoded)
    normalised = (images.flatten(0, 1) - network.image_mean) / network.image_std
    seen["encoder/tokens_in"] = network.encoder.first_tokens(normalised, grid)
    seen["encoder/x_norm_patchtokens"] = tokens
    seen |= {f"decoder/block{index:02d}": value for index, value in decoded.kept.items()}
    seen |= {"decode/last2": decoded.last, "decode/pos": decoded.positions}
    seen |= {"res/points": found.points, "res/local_points": found.local_points}
    seen |= {"res/conf": found.confidence[..., None], "res/camera_poses": found.world_from_cam}
    yield from ((name, value.numpy()) for name, value in seen.items())


@contextmanager
def watched(network: nn.Module, seen: dict[str, Tensor]) -> Iterator[None]:
    """Keep what the modules of a network compute while the context lasts, under the names of the fixtures."""
    hooks = []
    for name, module in network.named_modules():
        known = _name(name)
        if known is not None:
            hooks.append(module.register_forward_hook(_keeper(seen, known, name)))
    yield
    for hook in hooks:
        hook.remove()


def _name(module: str) -> str | None:
    """How the fixtures call what a module computes."""
    parts = module.split(".")
    if parts[0] == "encoder" and parts[1:2] == ["blocks"] and len(parts) == 3:
        return f"encoder/block{parts[2]}"
    if parts[0] == "decoder" and len(parts) > 2:
        return f"decoder/block{int(parts[1]):02d}_{parts[-1]}"
    if parts[0].endswith("_decoder") and parts[1:2] == ["blocks"] and len(parts) == 3:
        return f"{parts[0]}/block{parts[2]}"
    if parts[0] == "camera_head" and parts[1:2] == ["res_conv"] and len(parts) == 3:
        return f"camera_head/res_conv{parts[2]}"
    names = {
        "encoder.patch_embed": "encoder/patch_embed",
        "point_decoder.projects": "point_decoder/projects",
        "point_decoder": "point_decoder/out",
        "conf_decoder": "conf_decoder/out",
        "camera_decoder": "camera_decoder/out",
        "point_head": "point_head/raw",
        "camera_head.more_mlps": "camera_head/avgpool",
        "camera_head.fc_t": "camera_head/fc_t",
        "camera_head.fc_rot": "camera_head/fc_rot",
    }
    return names.get(module)


def _keeper(seen: dict[str, Tensor], known: str, name: str) -> Any:
    def keep(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        seen[known] = (given[0] if name.endswith("more_mlps") else out).detach()

    return keep
