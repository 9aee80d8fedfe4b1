"""Which weights the methods of a run get: given, or fetched. `Resources` is the only way to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recon4d.choices import readers
from recon4d.core.errors import ConfigError
from recon4d.weights.catalogue import fetched_model, weights_path

MONO = ("depth-pro", "depth-anything")
"""Networks whose depth Align3R can get; its released weights come in one kind for each."""
NEED_MONO = ("align3r",)
"""Networks of `--geometry` that get such depth."""
MONO_OF = {"align3r": "depth-pro", "align3r-depth-anything": "depth-anything"}
"""What the models of `recon4d models` were trained with."""
MODEL_OF = {"easi3r": "monst3r", "raft": "raft-large"}
"""The model of `recon4d models` that stands in for weights which are not given, where its name is another."""
NO_MONO = (
    "Align3R reads the depth of single images, and no network for it is there: give --weights depth-pro=FOLDER or "
    "depth-anything=FOLDER, the one that the Align3R weights were trained with, or fetch it with: recon4d models fetch "
)


@dataclass(frozen=True)
class Mono:
    """A network that says the depth of single images, which Align3R gets with them."""

    name: str
    """`depth-pro` or `depth-anything`."""
    weights: Path


@dataclass(frozen=True)
class Backbone:
    """A network by its name on the command line, and its checkpoints."""

    name: str
    weights: Path
    """File or folder of its checkpoint."""
    mono: Mono | None = None
    """For a network that needs the depth of single images."""


@dataclass(frozen=True)
class Resources:
    """What a method may use that is not in the video: files of weights, and where to compute."""

    given: Mapping[str, Path] = field(default_factory=dict)
    """Files of the user by the names of `--weights`."""
    geometry: str = "parallax"
    """The value of `--geometry`."""
    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    """Of every random choice."""
    looked_at: set[str] = field(default_factory=set, compare=False)
    """Names of weights that some method asked for."""

    def own(self, name: str) -> Path | None:
        """The file that the user gave for weights; None where it is not given."""
        self.looked_at.add(name)
        return self.given.get(name)

    def weights(self, name: str) -> Path:
        """The file that the user gave, or what was fetched.

        Raises:
            ConfigError: It is not there.
        """
        path = weights_path(MODEL_OF.get(name, name), self.own(name))
        if not path.exists():
            raise ConfigError(f"the weights {path} of {name} are not there; check the path")
        return path

    def mono(self) -> Mono | None:
        """The network of single images that was given, else one that was fetched; None where none is there.

        Raises:
            ConfigError: Two were given, or what was given or fetched is not there.
        """
        given = [name for name in MONO if self.own(name) is not None]
        if len(given) > 1:
            raise ConfigError(
                "--weights names depth-pro and depth-anything, and Align3R reads the depth of one; give the one that "
                "its weights were trained with"
            )
        if given:
            return Mono(given[0], self.weights(given[0]))
        fetched = [name for name in self._fitting() if fetched_model(name) is not None]
        return Mono(fetched[0], weights_path(fetched[0], None)) if fetched else None

    def backbone(self, name: str) -> Backbone:
        """A network with all that it needs.

        Raises:
            ConfigError: Its weights are not there, or no network of single images for one that needs it.
        """
        weights, mono = self.weights(name), self.mono() if name in NEED_MONO else None
        if mono is None and name in NEED_MONO:
            raise ConfigError(NO_MONO + self._fitting()[0])
        return Backbone(name, weights, mono)

    def refuse_unused(self) -> None:
        """Refuse weights that were given and that no method asked for.

        Raises:
            ConfigError: What would look at them is named.
        """
        for name, path in self.given.items():
            if name not in self.looked_at:
                raise ConfigError(
                    f"--weights {name}={path} would not be used: it is for {readers(name)}; add that, or leave it out"
                )

    def _fitting(self) -> tuple[str, ...]:
        """What the Align3R weights may have been trained with: a file does not say it, the name of a model does."""
        known = None if "align3r" in self.given else fetched_model("align3r")
        return MONO if known is None else (MONO_OF[known],)
