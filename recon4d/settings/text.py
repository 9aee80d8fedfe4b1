"""From text to `RunConfig` and back: command-line options, `--set`, Python keywords and TOML files.

All of them become a flat mapping with dotted keys (`optim.kernel_px`), and `build` makes the config from it.

Numbers here that name no source were set by hand.
"""

import dataclasses
import os
import reprlib
import tomllib
import types
import typing
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from recon4d.core.errors import ConfigError, InputError, did_you_mean
from recon4d.core.text import read_text
from recon4d.settings.config import RunConfig
from recon4d.settings.optim import OptimConfig

LARGEST_TOML = 100_000
"""Bytes of a configuration: a hundred times those of all options."""
MOST_DOTS = 4096
"""In a line, as many as a path may have; the time that a key of many dots takes grows with their square."""
_NESTED: dict[str, type] = {"optim": OptimConfig}
_RIVALS = {"fps": "stride", "stride": "fps"}  # one given on the command line replaces the other
_URI = "file://"
_YES = {"yes": True, "true": True, "no": False, "false": False}
_WORDS = {bool: "yes or no", int: "a whole number", float: "a number", str: "text", Path: "a path"}


def build(values: Mapping[str, object]) -> RunConfig:
    """Make a config.

    Args:
        values: Options by name, nested ones dotted or as a mapping; text is converted to the type of the option.
    """
    flat = {key: convert(key, value) for key, value in _flatten(values)}
    if "input" not in flat:
        raise ConfigError(
            "the input is missing; give a video file, a folder of images or an RGB-D folder "
            "(recon4d run INPUT), or a --config file that names it"
        )
    nested = {name: _split_off(flat, name) for name in _NESTED}
    parts = {name: kind(**nested[name]) for name, kind in _NESTED.items()}
    return RunConfig(**flat, **parts)


def convert(key: str, value: object) -> Any:
    """Convert the value of the option `key` to the option's type, or raise a `ConfigError` that names both."""
    kinds = _kinds()
    if key not in kinds:
        guess = did_you_mean(key, kinds) or f"; the options are: {', '.join(kinds)}"
        raise ConfigError(f"there is no option '{key}'{guess}")
    kind, optional = kinds[key]
    is_auto = isinstance(value, str) and value == "auto" and kind in (int, float)
    if optional and (value is None or is_auto):
        return None
    if _has_nul(value):
        raise ConfigError(f"{key} has a NUL byte, which no name and no path has; correct it")
    if kind is tuple:
        texts = (value,) if isinstance(value, str) else value
        if isinstance(texts, Iterable) and all(isinstance(text, str) for text in texts):
            return tuple(texts)
        raise ConfigError(f"{key} must be a list of texts, got {reprlib.repr(value)}")
    return _convert_scalar(
        key, value, kind, " or auto" if optional and kind in (int, float) else ""
    )


def _convert_scalar(key: str, value: object, kind: type, other: str = "") -> Any:
    if kind is bool:
        if isinstance(value, bool) or value in _YES:
            return _YES.get(str(value).lower())
        raise ConfigError(f"{key} must be {_WORDS[kind]}, got {reprlib.repr(value)}")
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is float and (is_whole or isinstance(value, float)):
        try:
            return float(typing.cast(float, value))
        except OverflowError:
            raise ConfigError(f"{key} is an enormous number; give a smaller one") from None
    if kind is int and is_whole:
        return value
    if isinstance(value, str) or (kind in (str, Path) and isinstance(value, os.PathLike)):
        try:
            return kind(os.fspath(value))
        except ValueError:
            pass  # said below
    raise ConfigError(f"{key} must be {_WORDS[kind]}{other}, got {reprlib.repr(value)}")


def _has_nul(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(each, str) and "\0" in each for each in value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return isinstance(value, str) and "\0" in value


def parse_assignment(text: str) -> tuple[str, str]:
    """Split the `KEY=VALUE` of `--set`."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set needs KEY=VALUE, e.g. optim.kernel_px=0.5, got '{text}'")
    return key.strip(), value.strip()


def read_toml(path: Path) -> dict[str, object]:
    """Read the options in a TOML file as a flat mapping."""
    try:
        return parse_toml(read_text(path, LARGEST_TOML))
    except InputError as error:
        raise ConfigError(
            f"the configuration {str(error).partition(';')[0]}; give the path of a TOML file"
        ) from error
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(
            f"the configuration {path} is not valid TOML ({why}); correct it there"
        ) from error


def parse_toml(text: str) -> dict[str, object]:
    """The options in TOML as a flat mapping, paths as they are on the disk.

    Raises:
        ValueError: It is not TOML, or (RecursionError) nested too deeply.
    """
    if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise RecursionError
    return {key: _stored(value) for key, value in _flatten(tomllib.loads(text))}


def override(base: Mapping[str, object], *layers: Mapping[str, object]) -> dict[str, object]:
    """Lay options over others: later layers win, and `fps` and `stride` replace each other."""
    merged = dict(base)
    for layer in layers:
        for key in layer:
            if key in _RIVALS and _RIVALS[key] not in layer:
                merged.pop(_RIVALS[key], None)
        merged.update(layer)
    return merged


def to_toml(config: RunConfig) -> str:
    """Write a config as TOML with absolute paths: `recon4d run --config` on it repeats the run."""
    head: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config.anchored(), field.name)
        if field.name in _NESTED:
            tables[field.name] = dataclasses.asdict(value)
        elif value is not None:
            head[field.name] = _storable(value)
    return tomli_w.dumps(head | tables)


def _storable(value: Any) -> Any:
    """A value as TOML takes it: a path whose name is not UTF-8 becomes a `file:` URI."""
    if isinstance(value, tuple | list):
        return [_storable(item) for item in value]
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str) or text.isprintable():
        return text
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        name, equals, path = ("", "", text) if text.startswith("/") else text.partition("=")
        return f"{name}{equals}{_URI}{urllib.parse.quote(os.fsencode(path))}"


def _stored(value: object) -> object:
    """The inverse of `_storable`."""
    if isinstance(value, list):
        return [_stored(item) for item in value]
    if not isinstance(value, str) or _URI not in value:
        return value
    before, _, path = value.partition(_URI)
    return before + os.fsdecode(urllib.parse.unquote_to_bytes(path))


def _flatten(values: Mapping[str, object]) -> list[tuple[str, object]]:
    """List the leaves of a nested mapping with dotted keys."""
    leaves: list[tuple[str, object]] = []
    for key, value in values.items():
        if isinstance(value, tuple(_NESTED.values())):
            value = dataclasses.asdict(typing.cast(Any, value))
        if isinstance(value, Mapping):
            leaves += [(f"{key}.{name}", leaf) for name, leaf in _flatten(value)]
        else:
            leaves.append((key, value))
    return leaves


def _split_off(flat: dict[str, Any], name: str) -> dict[str, Any]:
    """Remove the options of the nested config `name` from `flat` and return them without the prefix."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): flat.pop(key) for key in list(flat) if key.startswith(prefix)}


def _kinds() -> dict[str, tuple[type, bool]]:
    """List the dotted key, the type and whether it may be None, of every option."""
    kinds: dict[str, tuple[type, bool]] = {}
    for prefix, owner in (("", RunConfig), *((f"{n}.", kind) for n, kind in _NESTED.items())):
        for name, hint in typing.get_type_hints(owner).items():
            if prefix + name in _NESTED:
                continue
            arms = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
            kind = next(arm for arm in arms if arm is not types.NoneType)
            kinds[prefix + name] = (typing.get_origin(kind) or kind, types.NoneType in arms)
    return kinds
