"""Networks of the package transformers from a local folder. Nothing is downloaded, and no code of a folder is run."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from recon4d.core.errors import ConfigError, MissingDependencyError

FILES = ("config.json", "model.safetensors")


def transformers_package(what: str, *names: str) -> ModuleType:
    """Import the package.

    Args:
        what: The model that needs it, for messages.
        names: Classes that it must have.

    Raises:
        MissingDependencyError: It is not installed, or too old.
    """
    try:
        package = importlib.import_module("transformers")
        for name in names:
            getattr(package, name)  # imported when first asked for
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"{what} needs the package transformers, version 5 or later ({error}): "
            'pip install "recon4d[models]"'
        ) from error
    return package


def load_pretrained(package: ModuleType, name: str, folder: Path, what: str, device: str) -> Any:
    """Make a network of a class of transformers from its configuration and its weights, ready for inference.

    Args:
        package: Of `transformers_package`.
        name: Of the class.
        folder: Holds `config.json` and `model.safetensors`.
        what: The model, for messages.
        device: Where it goes.

    Raises:
        ConfigError: The folder holds no such model, or not all of its weights.
    """
    check_pretrained(package, name, folder, what)
    try:
        network, loaded = getattr(package, name).from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (ValueError, KeyError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise ConfigError(f"{folder} holds no {what} ({first}); give the folder of one") from error
    missing = sorted(loaded["missing_keys"])
    if missing:
        raise ConfigError(
            f"{folder / 'model.safetensors'} lacks {len(missing)} weights of {what}, the first {missing[0]}: "
            "give the folder of a whole model"
        )
    return network.to(device).eval().requires_grad_(False)


def check_pretrained(package: ModuleType, name: str, folder: Path, what: str) -> None:
    """Refuse a folder without the files of a network of a class of transformers; nothing is loaded.

    Args:
        package: Of `transformers_package`.
        name: Of the class.
        folder: Is to hold `config.json` and `model.safetensors`.
        what: The model, for messages.

    Raises:
        ConfigError: A file is missing, or the configuration is of another model.
    """
    for file in FILES:
        if not (folder / file).is_file():
            raise ConfigError(
                f"{folder / file} is missing; a folder with {' and '.join(FILES)} of {what} is needed"
            )
    kind = _kind(folder / "config.json")
    wanted = getattr(package, name).config_class.model_type
    if kind != wanted:
        raise ConfigError(
            f"{folder} holds no {what} but a model of type {kind!r}; give the folder of one of type {wanted!r}"
        )


def _kind(path: Path) -> str:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        return str(described["model_type"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} does not say which model it is of; give a folder as the hub has it"
        ) from error
