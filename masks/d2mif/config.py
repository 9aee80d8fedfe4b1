"""Which evidence the network of D2MIF uses and how wide it is, as its files of weights say it.

Numbers here that name no source were set by hand.
"""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType

from recon4d.core.errors import ConfigError

BRANCHES = ("geometry", "appearance", "motion")
SIZES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "width": (1, 2048),
        "head": (1, 2048),
        "encoder": (1, 4096),
        "blocks": (0, 32),
        "token_channels": (0, 16384),
        "attention_channels": (0, 1024),
    }
)
"""Least and most of the sizes of `NetworkConfig`: several times the paper's, and those of known backbones."""


@dataclass(frozen=True)
class NetworkConfig:
    """What a file of weights needs to say about its network."""

    branches: tuple[str, ...] = BRANCHES
    """Which evidence is used, a subset of `BRANCHES`."""
    width: int = 256
    """Channels of the fused maps, D."""
    head: int = 64
    """Channels at 1/2 of the image."""
    encoder: tuple[int, int, int, int] = (64, 128, 192, 256)
    """Channels of the encoders of flow and geometry at 1/4, 1/8, 1/16 and 1/32."""
    blocks: int = 2
    """Residual blocks per scale of those encoders."""
    appearance: str = "lite0"
    """Encoder of the image: `lite0`, or `resnet` for the one of the other branches."""
    token_channels: int = 0
    """Channels of a backbone's tokens, the second feed of the evidence of 3D; 0: there is none."""
    attention_channels: int = 0
    """Maps of statistics of its cross-attention beside the tokens."""
    backbone: str = ""
    """Which network's tokens they are, by its name on the command line, ..."""
    fingerprint: str = ""
    """... and of which weights (`recon4d.networks.tokens.fingerprint`)."""

    def __post_init__(self) -> None:
        is_known = all(branch in BRANCHES for branch in self.branches)
        if not is_known or not 0 < len(self.branches) == len(set(self.branches)):
            raise ConfigError(
                f"branches of the network are {_few(self.branches)}; choose some of {', '.join(BRANCHES)}"
            )
        if self.appearance not in ("lite0", "resnet"):
            raise ConfigError(f"appearance is {_few(self.appearance)}; choose lite0 or resnet")
        if not (isinstance(self.backbone, str) and isinstance(self.fingerprint, str)):
            raise ConfigError(f"backbone of the network is {_few(self.backbone)}; give its name")
        for key, (least, most) in SIZES.items():
            found = getattr(self, key)
            if not all(least <= size <= most for size in (found if key == "encoder" else (found,))):
                raise ConfigError(
                    f"{key} of the network is {_few(found)}; choose from {least} to {most}"
                )
        if bool(self.token_channels) != bool(self.backbone):
            raise ConfigError(
                f"there are {self.token_channels} channels of tokens of the backbone '{self.backbone}'; "
                "give both or none"
            )

    def to_json(self) -> str:
        """Text that `from_json` reads; it does not speak of a backbone where there is none."""
        said = asdict(self)
        return json.dumps(
            {k: v for k, v in said.items() if v or k not in ("backbone", "fingerprint")}
        )

    @classmethod
    def from_json(cls, text: str) -> "NetworkConfig":
        """Read what `to_json` wrote.

        Raises:
            ConfigError: It is not that.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError("the configuration of the network is no valid JSON") from error
        known = {each.name for each in fields(cls)}
        if not isinstance(values, dict) or not values.keys() <= known:
            odd = sorted(values.keys() - known) if isinstance(values, dict) else values
            raise ConfigError(f"the configuration of the network has {_few(odd)}, which is unknown")
        for key, value in values.items():
            if not _is_kind(key, value):
                raise ConfigError(f"{key} of the network is {_few(value)}, which it cannot be")
        lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        return cls(**{**values, **lists})


def _is_kind(key: str, value: object) -> bool:
    """Whether a value read from JSON is of the type of an entry of `NetworkConfig`."""
    if key == "branches":
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if key == "encoder":
        return isinstance(value, list) and [type(each) for each in value] == [int] * 4
    return type(value) is (int if key in SIZES else str)


def _few(value: object) -> str:
    """A wrong value, shortened."""
    return reprlib.repr(value)


LIGHT = NetworkConfig(width=64, head=16, encoder=(32, 48, 64, 96), blocks=1)
"""The shipped network: a CPU's share of a second per frame."""
FULL = NetworkConfig()
"""The paper's width."""
