"""Which checkpoints a run's networks are made from, where one network needs another's."""

from dataclasses import dataclass
from pathlib import Path

from recon4d.core.errors import ConfigError
from recon4d.settings.config import RunConfig
from recon4d.weights.catalogue import fetched_model, weights_path

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


@dataclass(frozen=True)
class Mono:
    """A network that says the depth of single images, which Align3R gets with them."""

    name: str
    """Of `recon4d.priors.mono`: `depth-pro` or `depth-anything`."""
    weights: Path


@dataclass(frozen=True)
class Backbone:
    """A network by its name on the command line, and its checkpoints."""

    name: str
    weights: Path
    """File or folder of its checkpoint."""
    mono: Mono | None = None
    """For a network that needs the depth of single images."""


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
    if given:
        return Mono(given[0][0], _there(*given[0]))
    fetched = [name for name in _fitting(config) if fetched_model(name) is not None]
    return Mono(fetched[0], weights_path(fetched[0], None)) if fetched else None


def geometry_mono(config: RunConfig) -> Mono | None:
    """The network of single images that the one of `--geometry` needs; None where it needs none.

    Raises:
        ConfigError: It is needed and not there.
    """
    return _needed_mono(config, config.geometry)


def backbone_weights(config: RunConfig, name: str) -> Backbone:
    """The checkpoints of a network that is not that of `--geometry`, or is.

    Raises:
        ConfigError: They are not there.
    """
    weights = _there(name, weights_path(name, config.weights_of(name)))
    return Backbone(name, weights, _needed_mono(config, name))


def _needed_mono(config: RunConfig, network: str) -> Mono | None:
    if network not in NEED_MONO:
        return None
    found = mono_weights(config)
    if found is None:
        raise ConfigError(NO_MONO + _fitting(config)[0])
    return found


def _there(name: str, path: Path) -> Path:
    if not path.exists():
        raise ConfigError(f"the weights {path} of {name} are not there; check the path")
    return path


def _fitting(config: RunConfig) -> tuple[str, ...]:
    """What the Align3R weights may have been trained with: a file does not say it, the name of a model does."""
    known = None if config.weights_of("align3r") else fetched_model("align3r")
    return MONO if known is None else (MONO_OF[known],)
