"""Sizes of networks of the CroCo family, and how a checkpoint says them: read as literals, never evaluated.

Numbers here that name no source were set by hand.
"""

import ast
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor

from recon4d.core.errors import ConfigError
from recon4d.weights.files import WeightsFile, count_blocks, shape_of

HEADS = ("dpt", "linear")
CLASS = "AsymmetricCroCo3DStereo"
"""What the official code calls its network, Align3R's too."""
HEAD_DIM = 64
"""Channels of each attention head in all released weights."""
LONGEST_TEXT = 10_000
"""Characters of a class string; official ones have about 300."""

SIZES = {
    "enc_embed_dim": "enc_dim",
    "enc_depth": "enc_depth",
    "enc_num_heads": "enc_heads",
    "dec_embed_dim": "dec_dim",
    "dec_depth": "dec_depth",
    "dec_num_heads": "dec_heads",
    "head_type": "head",
}
"""Names that a description must have, and our fields."""
OPTIONAL = {"mlp_ratio": "mlp_ratio", "patch_size": "patch"}
FIXED: Mapping[str, tuple[Any, ...]] = {
    "pos_embed": ("RoPE100",),
    "patch_embed_cls": ("PatchEmbedDust3R", "ManyAR_PatchEmbed"),
    "output_mode": ("pts3d",),
    "depth_mode": (("exp", -math.inf, math.inf),),
    "conf_mode": (("exp", 1, math.inf),),
    "norm_im2_in_dec": (True,),
}
"""Values that our networks know; released weights are used with `PatchEmbedDust3R` whichever of both is named."""
_KINDS = {"head_type": "name", "mlp_ratio": "number"}
IGNORED = ("img_size", "landscape_only", "freeze", "mask_ratio")
"""What does not change what a network computes of images as they are."""


@dataclass(frozen=True)
class CrocoConfig:
    """Sizes of a network; the defaults are those of the released weights at 512 pixels."""

    enc_dim: int = 1024
    enc_depth: int = 24
    enc_heads: int = 16
    dec_dim: int = 768
    dec_depth: int = 12
    dec_heads: int = 12
    mlp_ratio: float = 4.0
    """Hidden channels of an MLP over its input's."""
    head: str = "dpt"
    """`dpt` or `linear`."""
    feature_dim: int = 256
    """Channels of DPT's maps, ..."""
    last_dim: int = 128
    """... of those at full size, ..."""
    layer_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    """... and of its four levels before they are fused."""
    patch: int = 16
    """Pixels along the side of a token."""
    point_cloud: bool = False
    """Whether monocular depth goes in, too (Align3R)."""

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ConfigError(f"head must be one of {HEADS}, got {self.head!r}")
        for name in (f.name for f in fields(self) if f.name not in ("head", "point_cloud")):
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(0 < number < math.inf for number in numbers):
                raise ConfigError(f"{name} must be positive, got {value!r}")
        for side in ("enc", "dec"):
            self._check_heads(side)

    def _check_heads(self, side: str) -> None:
        dim, heads = getattr(self, f"{side}_dim"), getattr(self, f"{side}_heads")
        if dim % (4 * heads):
            raise ConfigError(
                f"{side}_dim {dim} cannot be split into {heads} heads of a multiple of 4 channels; "
                "give sizes that belong together"
            )


def parse_class_string(text: str) -> CrocoConfig:
    """Read a class string of an official `.pth` file, e.g. `AsymmetricCroCo3DStereo(pos_embed='RoPE100', ...)`.

    Raises:
        ConfigError: It is no such call, has anything but literals, or a name or value that is unknown.
    """
    call = _parse(text).body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise _refused(text, f"it is no call of {CLASS} with named arguments")
    if call.func.id != CLASS:
        raise _refused(text, f"its class is {call.func.id}, {CLASS} was needed")
    values: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise _refused(text, "it has ** arguments")
        values[keyword.arg] = _literal(keyword.value, text)
    return config_of_arguments(values)


def _parse(text: str) -> ast.Expression:
    if len(text) > LONGEST_TEXT:
        raise _refused(text, f"it has {len(text)} characters, at most {LONGEST_TEXT} are read")
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(text, f"it is no expression: {error}") from error


def _refused(text: str, why: str) -> ConfigError:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return ConfigError(
        f"the network's description {shown!r} is refused: {why}; give an official checkpoint"
    )


def _literal(node: ast.expr, text: str) -> object:
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, type(None))):
        return node.value
    if isinstance(node, ast.Name) and node.id == "inf":
        return math.inf
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_literal(element, text) for element in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand, text)
        if isinstance(value, (int, float)):
            return -value
    raise _refused(text, f"'{ast.unparse(node)[:40]}' is no literal")


def config_of_arguments(arguments: Mapping[str, Any]) -> CrocoConfig:
    """Sizes from the arguments of the official class, as a class string or a `config.json` has them.

    Raises:
        ConfigError: A name or a value is unknown, or a size is missing.
    """
    known = {**SIZES, **OPTIONAL}
    odd = sorted(arguments.keys() - known.keys() - FIXED.keys() - set(IGNORED))
    if odd:
        raise ConfigError(
            f"the network's description has unknown names ({', '.join(odd)}); give an official checkpoint"
        )
    missing = sorted((SIZES.keys() | {"pos_embed"}) - arguments.keys())
    if missing:
        raise ConfigError(
            f"the network's description lacks {', '.join(missing)}; give an official checkpoint"
        )
    for name, allowed in FIXED.items():
        if name in arguments and _frozen(arguments[name]) not in allowed:
            raise ConfigError(
                f"the network's description has {name}={arguments[name]!r}; "
                f"known is {' or '.join(map(repr, allowed))}"
            )
    return CrocoConfig(**{known[k]: _size(k, v) for k, v in arguments.items() if k in known})


def _size(name: str, value: object) -> Any:
    if name == "head_type" and isinstance(value, str):
        return value
    if name == "mlp_ratio" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if name not in ("head_type", "mlp_ratio") and type(value) is int:
        return value
    raise ConfigError(f"{name} must be a {_KINDS.get(name, 'whole number')}, got {value!r}")


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def config_of(weights: WeightsFile) -> CrocoConfig:
    """Sizes of the network that a checkpoint belongs to.

    Widths and depths are those of the tensors. The number of heads, which no tensor shows, is read from the class
    string of a `.pth` or the `config.json` beside a `.safetensors`; where neither is, heads have 64 channels as in all
    released weights.

    Raises:
        ConfigError: The description is refused, contradicts the tensors, or there is none and 64 does not fit.
    """
    seen = config_of_tensors(weights.tensors)
    said = _described(weights)
    if said is None:
        return seen
    expected = replace(
        said,
        feature_dim=seen.feature_dim,
        last_dim=seen.last_dim,
        layer_dims=seen.layer_dims,
        point_cloud=seen.point_cloud,
    )
    differ = _differences(expected, seen)
    if differ:
        raise ConfigError(
            f"the description of {weights.path} has {', '.join(differ)} in its tensors; give a complete checkpoint"
        )
    return expected


def _differences(said: CrocoConfig, seen: CrocoConfig) -> list[str]:
    return [
        f"{name} {getattr(said, name)} but {getattr(seen, name)}"
        for name in (f.name for f in fields(seen))
        if name not in ("enc_heads", "dec_heads") and getattr(said, name) != getattr(seen, name)
    ]


def _described(weights: WeightsFile) -> CrocoConfig | None:
    text = getattr(weights.extra.get("args"), "model", None)
    if isinstance(text, str):
        return parse_class_string(text)
    beside = weights.path.parent / "config.json"
    if weights.path.suffix != ".safetensors" or not beside.is_file():
        return None
    try:
        arguments = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{beside} is no JSON ({error}); fetch it again or remove it") from error
    if not isinstance(arguments, dict):
        raise ConfigError(f"{beside} holds no names and values; fetch it again or remove it")
    return config_of_arguments(arguments)


def config_of_tensors(tensors: Mapping[str, Tensor]) -> CrocoConfig:
    """Sizes from the shapes of a state dict, heads of 64 channels assumed.

    Raises:
        ConfigError: A tensor that has a size is not there or has too few dimensions.
    """
    enc_dim, _, patch, _ = _shape(tensors, "patch_embed.proj.weight", 4)
    dec_dim, _ = _shape(tensors, "decoder_embed.weight", 2)
    hidden, _ = _shape(tensors, "enc_blocks.0.mlp.fc1.weight", 2)
    return CrocoConfig(
        enc_dim=enc_dim,
        enc_depth=count_blocks(tensors, "enc_blocks"),
        enc_heads=max(enc_dim // HEAD_DIM, 1),
        dec_dim=dec_dim,
        dec_depth=count_blocks(tensors, "dec_blocks"),
        dec_heads=max(dec_dim // HEAD_DIM, 1),
        mlp_ratio=hidden / enc_dim,
        patch=patch,
        point_cloud="patch_embed_point_cloud.proj.weight" in tensors,
        **_head_sizes(tensors),
    )


def _head_sizes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    if "downstream_head1.proj.weight" in tensors:
        return {"head": "linear"}
    dpt = "downstream_head1.dpt."
    levels = [_shape(tensors, f"{dpt}act_postprocess.{i}.0.weight", 4)[0] for i in range(4)]
    last_dim, feature_dim, _, _ = _shape(tensors, f"{dpt}head.0.weight", 4)
    return {"feature_dim": feature_dim, "last_dim": last_dim, "layer_dims": tuple(levels)}


def _shape(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    return shape_of(tensors, name, dimensions, "the DUSt3R family")
