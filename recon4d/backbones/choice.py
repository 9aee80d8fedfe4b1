"""Which checkpoints a run's networks are made from, where one network needs another's."""

from recon4d.backbones import Mono
from recon4d.config import RunConfig
from recon4d.errors import ConfigError
from recon4d.models import fetched_model, weights_path

MONO = ("depth-pro", "depth-anything")
"""Networks whose depth Align3R can get; its released weights come in one kind for each."""
NEED_MONO = ("align3r",)
"""Networks of `--geometry` that get such depth."""
MONO_OF = {"align3r": "depth-pro", "align3r-depth-anything": "depth-anything"}
"""What the models of `recon4d models` were trained with."""
NO_MONO = (
    "Align3R reads the depth of single images, and no network for it is there: give --weights depth-pro=FOLDER or "
    "depth-anything=FOLDER, the one that the Align3R weights were trained with, or fetch it with: recon4d models fetch "
)


def mono_weights(config: RunConfig) -> Mono | None:
    """The network of single images that was given, else one that was fetched; None where none is there.

    Raises:
        ConfigError: Two were given, or what was given or fetched is not there.
    """
    given = [(name, path) for name in MONO if (path := config.weights_of(name)) is not None]
    if len(given) > 1:
        raise ConfigError(
            "--weights names depth-pro and depth-anything, and Align3R reads the depth of one; give the one that its "
            "weights were trained with"
        )
    if given and not given[0][1].exists():
        raise ConfigError(
            f"the weights {given[0][1]} of {given[0][0]} are not there; check the path"
        )
    fetched = [name for name in _fitting(config) if fetched_model(name) is not None]
    found = given or [(name, weights_path(name, None)) for name in fetched[:1]]
    return Mono(*found[0]) if found else None


def geometry_mono(config: RunConfig) -> Mono | None:
    """The network of single images that the one of `--geometry` needs; None where it needs none.

    Raises:
        ConfigError: It is needed and not there.
    """
    if config.geometry not in NEED_MONO:
        return None
    found = mono_weights(config)
    if found is None:
        raise ConfigError(NO_MONO + _fitting(config)[0])
    return found


def _fitting(config: RunConfig) -> tuple[str, ...]:
    """What the Align3R weights may have been trained with: a file does not say it, the name of a model does."""
    known = None if config.weights_of("align3r") else fetched_model("align3r")
    return MONO if known is None else (MONO_OF[known],)
