"""Our GeoMotion against the official one.

Tolerance: golden README; rounding alone moves the official code by up to 6e-6 of logits of size 10.
"""

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.parity import Compared, Fixture
from benchmarks.peers.pi3 import Arrays, compared, watched
from recon4d.masks.geomotion.flow import largest_magnitude
from recon4d.masks.geomotion.network import LOW_BLOCKS, GeoMotion, geomotion_of

ATOL = 3e-5
"""Of golden/README.md."""
PARTS = ("feature_proj", "flow_encoder", "fusion_proj")
WITHOUT_FLOW = "noflow"
"""Name of the case that takes the images of the first one."""


def compare(fixture: Fixture) -> list[Compared]:
    """Every array of the fixture."""
    network = geomotion_of(fixture.weights)
    cases = list(fixture.described["cases"])
    ours: Arrays = {}
    for case in cases:
        ours |= {f"{case}/{name}": value for name, value in _case(network, fixture, case)}
    ours[f"{WITHOUT_FLOW}/res/conf"] = _without_flow(network, fixture.tensor(f"{cases[0]}/in/imgs"))
    if "flowmag/out" in fixture.arrays:
        ours["flowmag/out"] = _magnitude(fixture)
    return compared(fixture, ours, ATOL)


@torch.no_grad()
def _case(network: GeoMotion, fixture: Fixture, case: str) -> Iterator[tuple[str, NDArray[Any]]]:
    images, flow = fixture.tensor(f"{case}/in/imgs"), fixture.tensor(f"{case}/in/flow_mag")
    seen: dict[str, Tensor] = {}
    with watched(network, seen):
        hooks = [
            getattr(network.motion_aware_decoder, part).register_forward_hook(_keeper(seen, part))
            for part in PARTS
        ]
        hooks.append(network.motion_aware_decoder.register_forward_hook(_keeper(seen, "enhanced")))
        looked = network.look(images.flatten(0, 1), sequences=len(images))
        logits = network.motion(looked, flow.flatten(0, 1))
        for hook in hooks:
            hook.remove()
    decoded, registers = looked.decoded, network.config.registers
    keep = network.decode(
        network.encode(images.flatten(0, 1)),
        decoded.grid,
        sequences=len(images),
        keep=range(network.config.depth),
    )
    seen |= {f"decoder/block{index:02d}": value for index, value in keep.kept.items()}
    seen |= _motion_parts(seen, registers)
    seen["encoder/x_norm_patchtokens"] = network.encode(images.flatten(0, 1))
    seen |= {"decode/last2": decoded.last, "decode/pos": decoded.positions}
    seen["decode/low"] = torch.cat([decoded.kept[index] for index in LOW_BLOCKS], dim=-1)
    logits = logits.reshape(*images.shape[:2], *logits.shape[1:])
    seen |= {"res/conf": logits[..., None], "res/motion_mask": logits.sigmoid()}
    seen["res/camera_poses"] = network.predict(decoded).world_from_cam
    yield from ((name, value.numpy()) for name, value in seen.items())


def _motion_parts(seen: dict[str, Tensor], registers: int) -> dict[str, Tensor]:
    """What the fusion computed; the official code projects registers and patches apart."""
    given, out = seen["motion/feature_proj_in"], seen["motion/feature_proj"]
    return {
        "motion/feature_proj_patches_in": given[:, registers:],
        "motion/feature_proj_patches_out": out[:, registers:],
        "motion/feature_proj_registers_in": given[:, :registers],
        "motion/feature_proj_registers_out": out[:, :registers],
        "motion/enhanced_hidden": seen["motion/enhanced"],
    }


def _keeper(seen: dict[str, Tensor], part: str) -> Any:
    def keep(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        name, before = f"motion/{part}", seen.get(f"motion/{part}", out[:0])
        seen[name] = torch.cat((before, out.detach()))  # the flow is encoded frame by frame
        seen[f"motion/{part}_in"] = given[0].detach()

    return keep


@torch.no_grad()
def _without_flow(network: GeoMotion, images: Tensor) -> NDArray[Any]:
    """Logits of pi3's own path through the decoder that was trained for motion."""
    found: NDArray[Any] = network(images).confidence[..., None].numpy()
    return found


def _magnitude(fixture: Fixture) -> NDArray[Any]:
    pairs = torch.stack([fixture.tensor(f"flowmag/{way}") for way in ("forward", "backward")], 1)
    return largest_magnitude(
        enumerate(pairs.permute(0, 1, 3, 4, 2)), len(pairs) + 1, pairs.shape[-2:]
    )
