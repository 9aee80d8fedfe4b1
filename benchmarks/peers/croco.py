"""Our networks of the CroCo family against the official ones: DUSt3R, Align3R, and the attention that Easi3R reads.

Tolerances: golden README; rounding alone moves the official code by up to 9e-6 of tokens and 3e-6 relative of points.

Numbers here that name no source were set by hand.
"""

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.parity import Compared, Fixture
from recon4d.networks.croco.align3r import input_points, normalised_points
from recon4d.networks.croco.blocks import Attention, CrossAttention, DecoderBlock
from recon4d.networks.croco.config import CrocoConfig, config_of_arguments
from recon4d.networks.croco.input import input_image
from recon4d.networks.croco.load import network_of
from recon4d.networks.croco.network import Croco, View, moving_tokens
from recon4d.networks.transformer import Angles, SelfAttention, rope_angles, rotate

ATOL, RTOL = 3e-5, 1e-5
"""Of golden/README.md."""
SAME_IMAGE = 1e-6
"""Rounding of an 8-bit image that was scaled to [-1, 1]."""
SAME_POINTS = 2e-6
"""Rounding of point maps that were normalised and resized with either release of OpenCV."""
LONG_SIDE = 96
"""Of the images that were prepared for the fixture."""

Arrays = dict[str, NDArray[Any]]
Keep = Callable[[str, Tensor], None]


def compare(fixture: Fixture) -> list[Compared]:
    """Every array of a network's fixture."""
    with torch.no_grad():
        network = network_of(fixture.weights, fixture_config(fixture))
        ours: Arrays = {}
        for case in ("land", "port", "mixed", "sym", "many"):
            if f"{case}/in/view1_img" in fixture.arrays:
                ours.update(_case(network, fixture, case))
        if "rope/tokens" in fixture.arrays:
            ours["rope/out"] = _rope(fixture)
        if "pre/rgb0" in fixture.arrays:
            ours.update(_prepared(fixture))
    return _against(fixture, ours, "")


def fixture_config(fixture: Fixture) -> CrocoConfig:
    """Sizes of the network of a fixture, through the parser of descriptions."""
    said = dict(fixture.described["ctor"])
    dpt = fixture.described["dpt"]
    for mode in ("depth_mode", "conf_mode"):
        said[mode] = ast.literal_eval(said[mode].replace("inf", "1e999"))
    parsed = config_of_arguments(said)
    return CrocoConfig(
        **{
            **vars(parsed),
            "feature_dim": dpt["feature_dim"],
            "last_dim": dpt["last_dim"],
            "layer_dims": tuple(dpt["layer_dims"]),
            "point_cloud": "sd/zero_convs.0.0.weight" in fixture.arrays,
        }
    )


def _against(fixture: Fixture, ours: Arrays, begin: str) -> list[Compared]:
    """All arrays that begin so, but inputs and weights; one that we do not have is an error."""
    names = [
        name
        for name in fixture.arrays
        if name.startswith(begin) and not name.startswith(("sd/", "agg/", "otsu/"))
    ]
    given = ("/in/", "rope/tokens", "rope/pos", "pre/rgb", "pre/depth", "pre/focal")
    return [
        Compared(name, ours[name], fixture.arrays[name], *_tolerance(name))
        for name in names
        if not any(word in name for word in given)
    ]


def _tolerance(name: str) -> tuple[float, float]:
    if name.startswith("pre/"):
        return (SAME_IMAGE if name.startswith("pre/img") else SAME_POINTS), 0
    return ATOL, RTOL


def _rope(fixture: Fixture) -> NDArray[Any]:
    tokens = fixture.tensor("rope/tokens")
    angles = rope_angles(fixture.tensor("rope/pos").long(), tokens.shape[-1])
    return rotate(tokens, angles).numpy()


def _prepared(fixture: Fixture) -> Arrays:
    found: Arrays = {}
    for i in range(3):
        depth = fixture.arrays[f"pre/depth{i}"]
        found[f"pre/pointmap_fullres{i}"] = normalised_points(depth)
        found[f"pre/img{i}"] = input_image(fixture.arrays[f"pre/rgb{i}"], LONG_SIDE)[None]
        found[f"pre/pred_depth{i}"] = input_points(depth, LONG_SIDE)[None]
        found[f"pre/true_shape{i}"] = np.array([found[f"pre/img{i}"].shape[2:]], np.int32)
    found["pre/pred_depth0_depthanything_f200"] = found["pre/pred_depth0"]
    return found


def _case(network: Croco, fixture: Fixture, case: str) -> Arrays:
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str, value: Tensor) -> None:
        seen.setdefault(name, []).append(value.detach())

    with _watched(network, keep):
        views = [_encoded(network, fixture, case, side) for side in (1, 2)]
        _, predicted = network(*views)
    found = {
        name: torch.cat(values)
        for name, values in seen.items()
        if len({value.shape[1:] for value in values}) == 1
    }
    for side, view in enumerate(views, start=1):
        found |= {f"enc{side}": view.tokens, f"pos{side}": view.positions}
        found |= {f"pc/zero_conv{i}_out_view{side}": term for i, term in enumerate(view.added)}
    found["pos"] = found["pc/pos"] = torch.cat([views[0].positions, views[-1].positions])
    found |= _results(predicted)
    return {f"{case}/{name}": value.numpy() for name, value in found.items()}


def _results(predicted: Any) -> dict[str, Tensor]:
    return {
        "res1/pts3d": predicted.points1,
        "res1/conf": predicted.confidence1,
        "res2/pts3d_in_other_view": predicted.points2,
        "res2/conf": predicted.confidence2,
    }


def _encoded(network: Croco, fixture: Fixture, case: str, side: int) -> View:
    begin = f"{case}/in/view{side}_"
    portrait = None
    if case == "many":
        heights, widths = fixture.tensor(f"{begin}true_shape").T
        portrait = widths < heights  # square ones are not
    depth = f"{begin}pred_depth"
    points = fixture.tensor(depth) if depth in fixture.arrays else None
    return network.encode(fixture.tensor(f"{begin}img"), portrait, points)


@contextmanager
def _watched(network: Croco, keep: Keep) -> Iterator[None]:
    """Keep what the modules of a network compute while the context lasts."""
    watched: dict[str, nn.Module] = {"patch_embed": network.patch_embed}
    watched |= {f"enc/block{i:02d}": block for i, block in enumerate(network.enc_blocks)}
    if network.config.point_cloud:
        watched["pc/patch_embed"] = network.get_submodule("patch_embed_point_cloud")
        branch = network.get_submodule("dec_blocks_pc").named_children()
        watched |= {f"pc/block{name}": block for name, block in branch}
    for side, head in ((1, network.downstream_head1), (2, network.downstream_head2)):
        if network.config.head == "dpt":
            watched |= _dpt_parts(head, f"dpt{side}")
    hooks = [
        module.register_forward_hook(partial(_keep_output, keep, name))
        for name, module in watched.items()
    ]
    for side, blocks in ((1, network.dec_blocks), (2, network.dec_blocks2)):
        for i, block in enumerate(blocks):
            hooks += _watch_decoder(block, f"dec{side}/", i, keep)
    yield
    for hook in hooks:
        hook.remove()


def _keep_output(keep: Keep, name: str, module: nn.Module, given: Any, out: Tensor) -> None:
    keep(name, out)


def _dpt_parts(head: nn.Module, begin: str) -> dict[str, nn.Module]:
    parts = {f"act_postprocess{i}": f"act_postprocess.{i}" for i in range(4)}
    parts |= {f"layer_rn{i}": f"scratch.layer_rn.{i}" for i in range(4)}
    parts |= {f"refinenet{i}": f"scratch.refinenet{i}" for i in range(1, 5)}
    parts |= {"head0": "head.0", "raw": "head"}
    return {f"{begin}/{name}": head.get_submodule(f"dpt.{at}") for name, at in parts.items()}


def _watch_decoder(block: nn.Module, begin: str, index: int, keep: Keep) -> list[Any]:
    assert isinstance(block, DecoderBlock)

    def cross(module: nn.Module, given: Any, out: Any) -> None:
        logits = cross_logits(block.cross_attn, *given[:4])
        keep(f"{begin}cross_logits{index:02d}", logits)
        keep(f"{begin}cross_attn{index:02d}", logits.softmax(-1))
        keep(f"{begin}cross_out{index:02d}", out[0])

    def whole(module: nn.Module, given: Any, out: Any) -> None:
        keep(f"{begin}in_x{index:02d}", given[0])
        keep(f"{begin}in_y{index:02d}", given[1])
        keep(f"{begin}block{index:02d}", out[0])

    def own(module: nn.Module, given: Any, out: Tensor) -> None:
        keep(f"{begin}self_attn{index:02d}", self_attention(block.attn, *given))

    return [
        block.register_forward_hook(whole),
        block.cross_attn.register_forward_hook(cross),
        block.attn.register_forward_hook(own),
        block.norm_y.register_forward_hook(
            partial(_keep_output, keep, f"{begin}norm_y{index:02d}")
        ),
    ]


def cross_logits(
    attention: CrossAttention, x: Tensor, y: Tensor, x_angles: Angles, y_angles: Angles
) -> Tensor:
    """Logits of a cross-attention, (batch, heads, queries, keys)."""
    q, k = attention.queries_and_keys(x, y, x_angles, y_angles)
    logits: Tensor = q @ k.mT * q.shape[-1] ** -0.5
    return logits


def self_attention(attention: SelfAttention, x: Tensor, angles: Angles) -> Tensor:
    """Attention after the softmax, (batch, heads, queries, keys)."""
    q, k, _ = attention.qkv(x).unflatten(-1, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = rotate(q, angles), rotate(k, angles)
    logits: Tensor = q @ k.mT * q.shape[-1] ** -0.5
    return logits.softmax(-1)


def compare_attention(fixture: Fixture) -> list[Compared]:
    """Arrays `net/` of Easi3R: attention, its statistics and its re-weighting."""
    with torch.no_grad():
        network = network_of(fixture.weights, fixture_config(fixture))
        ours: Arrays = {}
        for case in ("nomask", "mask"):
            ours.update(_attention_case(network, fixture, case))
    return [one for one in _against(fixture, ours, "net/") if not one.name.startswith("net/in/")]


def _attention_case(network: Croco, fixture: Fixture, case: str) -> Arrays:
    found: dict[str, Tensor] = {}
    views = [network.encode(fixture.tensor(f"net/in/view{side}_img")) for side in (1, 2)]
    masks = [fixture.tensor(f"net/in/atten_mask{side}") > 0 for side in (1, 2)]
    moving = [moving_tokens(mask, network.config.patch) for mask in masks]
    wanted = Attention(True, *(moving if case == "mask" else ()))
    with _watched(network, found.__setitem__):
        decoded, predicted = network(*views, wanted)
    rows, cols = network.grid(views[0].size)
    named = {_easi3r_name(name): value for name, value in found.items()} | _results(predicted)
    for side, logits in ((1, decoded.logits1), (2, decoded.logits2)):
        assert logits is not None
        maps = logits.flatten(1, 2).transpose(1, 2)
        named[f"res{side}/cross_atten_maps_k"] = maps.reshape(1, rows, cols, -1)
    named["res1/match_feature"] = views[0].tokens.reshape(1, rows, cols, -1)
    for axis, view, mask in zip("xy", views, moving, strict=True):
        named[f"dec1/block00_in_{axis}pos"] = view.positions
        named[f"dec1/block00_in_mask_{axis}"] = mask[..., None].float()
    return {f"net/{case}/{name}": value.numpy() for name, value in named.items()}


def _easi3r_name(ours: str) -> str:
    """Our name of an array of a decoder block, `dec1/what00`, as Easi3R's fixture has it, `dec1/block00_what`."""
    if not ours.startswith("dec"):
        return ours
    side, what = ours.split("/")
    names = {
        "block": "out",
        "cross_attn": "cross_softmax_before_mask",
        "cross_out": "cross_attn_out",
    }
    return f"{side}/block{what[-2:]}_{names.get(what[:-2], what[:-2])}"
