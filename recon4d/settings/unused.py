"""Options that are given and that the chosen methods would not look at: refused, with what would look at them."""

from recon4d.core.errors import ConfigError
from recon4d.settings.config import NETWORKS, RunConfig

MONO = ("depth-anything", "depth-pro")
"""Networks of single images, whose depth Align3R gets, too."""
READERS = {
    "d2mif": "--masks d2mif",
    "easi3r": "--masks easi3r",
    "geomotion": "--masks geomotion",
    "raft": "--flow raft or --masks geomotion",
    "sam2": "--refine sam2 with a method of masks",
    **{name: f"--geometry {name}" for name in NETWORKS},
    **{name: f"--geometry {name} or align3r" for name in MONO},
}
"""What looks at the weights of each name of `--weights NAME=PATH`."""


def refuse_unused(config: RunConfig, backbone: str | None) -> None:
    """Refuse options without effect.

    Args:
        config: Of the run.
        backbone: The network whose tokens the weights of the masks were trained with, if any.

    Raises:
        ConfigError: An option would not be looked at; what would is named.
    """
    if config.refine == "sam2" and config.masks_folder is not None:
        raise ConfigError(
            f"--refine sam2 refines the masks of a method, and those of the folder {config.masks} stay as they are; "
            "leave it out, or choose a method"
        )
    used = used_weights(config, backbone)
    for name, path in config.given_weights:
        if name not in used:
            raise ConfigError(
                f"--weights {name}={path} would not be used: it is for {READERS[name]}; add that, or leave it out"
            )


def used_weights(config: RunConfig, backbone: str | None) -> frozenset[str]:
    """Names of the weights that the methods of a run look at."""
    used = {config.masks, config.geometry, config.flow, config.refine, backbone or config.geometry}
    if config.masks == "geomotion":
        used.add("raft")
    if "align3r" in used or config.masks == "easi3r":  # whose own weights may be Align3R's
        used.update(MONO)
    return frozenset(used)
