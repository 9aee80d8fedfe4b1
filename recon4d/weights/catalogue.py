"""Weights of the models: where the official ones are, what they may be used for, and how they get here.

Nothing is fetched unless `fetch` is called. A revision or a hash that is not known is None here; both are recorded at
the first fetch and checked from then on.
"""

import sys
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recon4d.core.errors import ConfigError, MissingDependencyError, did_you_mean
from recon4d.core.text import printable
from recon4d.weights import transfer
from recon4d.weights.transfer import Hub, Listing, Record

USERS_HUB = Hub()
"""The hub and the cache that the user's environment names."""


@dataclass(frozen=True)
class Model:
    """Official weights."""

    name: str
    purpose: str
    repository: str
    """On the Hugging Face hub."""
    files: tuple[str, ...]
    """Names or patterns in the repository; where it is one alone, the weights' path is that file, else the folder."""
    licence: str
    """Of the weights."""
    use: str
    """What they may be used for."""
    option: str
    """NAME of `--weights NAME=PATH`."""
    size: int | None = None
    """Bytes, where it is known."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Of each file for which it is known."""

    def place(self, paths: Mapping[str, Path]) -> Path:
        """What is given to the reader of the weights: the only file, or the folder of several."""
        return next(iter(paths.values())) if len(self.files) == 1 else _folder(paths)


def _folder(paths: Mapping[str, Path]) -> Path:
    name, path = next(iter(paths.items()))
    return path.parents[name.count("/")]


def _read() -> tuple[Model, ...]:
    """The models of `models.toml`, in its order."""
    entries = tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))
    return tuple(Model(**{**each, "files": tuple(each["files"])}) for each in entries["model"])


MODELS = _read()
"""All models whose weights are fetched by name."""


def find_model(name: str) -> Model:
    """Look a model up.

    Raises:
        ConfigError: There is none of that name.
    """
    names = [model.name for model in MODELS]
    if name not in names:
        raise ConfigError(
            f"'{name}' is no model{did_you_mean(name, names)}; the models are {', '.join(names)}"
        )
    return MODELS[names.index(name)]


def list_models() -> str:
    """Table of the models, with the licences of their weights."""
    rows = [("NAME", "SIZE", "LICENCE OF THE WEIGHTS", "MAY BE USED FOR", "WHAT IT IS FOR")]
    rows += [(m.name, size_text(m.size), m.licence, m.use, m.purpose) for m in MODELS]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def size_text(num_bytes: int | None) -> str:
    """A size in words."""
    return "unknown" if num_bytes is None else f"{num_bytes / 1e6:.1f} MB"


def fetch(
    name: str,
    revision: str | None = None,
    yes: bool = False,
    offline: bool = False,
    ask: Callable[[str], str] = input,
    hub: Hub = USERS_HUB,
) -> Path:
    """Fetch the weights of a model into the hub's cache, after the user has agreed to size and licence.

    What is there and unharmed is not fetched again, nor asked about.

    Args:
        name: Of the model.
        revision: Branch, tag or commit; None: that of the first fetch, at first the newest.
        yes: Agreed already.
        offline: Never use the network.
        ask: Shows a question and returns the answer.
        hub: Where the weights come from and are kept.

    Returns:
        The file, or the folder of several.

    Raises:
        ConfigError: Not agreed, not reachable, or not the file that was recorded.
        MissingDependencyError: The package huggingface_hub is not installed.
    """
    model = find_model(name)
    record = _record(model, hub)
    asked_for = revision in (None, record.revision if record else None)
    if record and asked_for and not _faults(record, hub):
        return model.place(record.paths(hub.folder))
    if offline or transfer.is_offline():
        raise ConfigError(
            f"the weights of {name} are not complete on this machine, and fetching is switched off; where there is "
            f"a network: recon4d models fetch {name}; or give a file with --weights {model.option}=PATH"
        )
    if not yes and ask is input and not is_terminal():
        raise ConfigError(
            f"nothing was fetched, and nobody was asked: the weights of {name} ({model.licence}: {model.use}) need an "
            "answer, and there is no terminal to give it; give --yes if you agree"
        )
    wanted = revision or (record.revision if record else None)
    listing = transfer.list_files(hub, model.repository, wanted, model.files)
    if not yes:
        _agree(model, listing, ask)
    return _download(model, listing, record, hub)


def is_terminal() -> bool:
    """Whether somebody sits there who can answer."""
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # closed
        return False


def weights_path(name: str, given: Path | None, hub: Hub = USERS_HUB) -> Path:
    """Path of a model's weights: what the user gave, else what was fetched. Never uses the network.

    Args:
        name: Of a model, or of an option that takes one of several: `raft` is the first of its models that was fetched.
        given: The user's own file or folder.
        hub: Where fetched weights are kept.

    Raises:
        ConfigError: Neither is there, or a fetched file is not what was recorded.
    """
    if given is not None:
        return given
    models = [m for m in MODELS if m.name == name] or [m for m in MODELS if m.option == name]
    first, *_ = models or [find_model(name)]
    fetched = [(model, record) for model in models if (record := _fetched(model, hub))]
    if not fetched:
        raise ConfigError(
            f"the weights of {name} are not on this machine; fetch them with: recon4d models fetch {first.name} "
            f"({first.licence}: {first.use}), or give a file with --weights {first.option}=PATH"
        )
    model, record = fetched[0]
    faults = _faults(record, hub)
    if faults:
        raise ConfigError(
            f"{faults[0]}; it is not used; fetch it again with: recon4d models fetch {model.name}"
        )
    return model.place(record.paths(hub.folder))


def fetched_model(option: str, hub: Hub = USERS_HUB) -> str | None:
    """Name of the first model of `--weights OPTION=PATH` that was fetched; None where none was."""
    return next((m.name for m in MODELS if m.option == option and _fetched(m, hub)), None)


def _fetched(model: Model, hub: Hub) -> Record | None:
    """What was recorded of a model, if its files are still there."""
    try:
        record = _record(model, hub)
    except MissingDependencyError:
        return None
    return None if record is None or _missing(record, hub) else record


def _record(model: Model, hub: Hub) -> Record | None:
    record = transfer.read_records(hub.folder).get(model.name)
    return record if record and record.repository == model.repository else None


def _missing(record: Record, hub: Hub) -> list[Path]:
    return [path for path in record.paths(hub.folder).values() if not path.is_file()]


def _faults(record: Record, hub: Hub) -> list[str]:
    """Files of a record that are not there or not what was recorded, in words."""
    faults = [f"{path} is not there" for path in _missing(record, hub)]
    for name, path in record.paths(hub.folder).items():
        if path.is_file() and transfer.sha256_of(path) != record.files[name]:
            faults.append(_wrong(path, record.files[name]))
    return faults


def _wrong(path: Path, needed: str) -> str:
    return f"{path} has the SHA-256 {transfer.sha256_of(path)}, but {needed} was expected"


def _agree(model: Model, listing: Listing, ask: Callable[[str], str]) -> None:
    sizes = [file.size for file in listing.files if file.size is not None]
    question = (
        f"{model.name}: {model.purpose}\n"
        f"from     {model.repository}, revision {printable(listing.revision)}\n"
        f"files    {printable(', '.join(file.name for file in listing.files))}\n"
        f"size     {size_text(sum(sizes) if sizes else None)}\n"
        f"licence  {model.licence}\n"
        f"use      {model.use}\n"
        "Fetch, and keep to the licence? [y/N] "
    )
    try:
        answer = ask(question)
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise ConfigError(
            f"nothing was fetched, because the licence of {model.name} was not agreed to; answer y, or give --yes"
        )


def _download(model: Model, listing: Listing, record: Record | None, hub: Hub) -> Path:
    recorded = record.files if record and record.revision == listing.revision else {}
    paths = {}
    for file in listing.files:
        stated = (model.sha256.get(file.name), recorded.get(file.name), file.sha256)
        needed = next((value for value in stated if value), None)
        paths[file.name] = _fetch_one(hub, listing, file.name, needed)
    hashes = {name: transfer.sha256_of(path) for name, path in paths.items()}
    fetched = Record(listing.repository, listing.revision, hashes)
    transfer.write_record(hub.folder, model.name, fetched)
    return model.place(paths)


def _fetch_one(hub: Hub, listing: Listing, name: str, needed: str | None) -> Path:
    before = Record(listing.repository, listing.revision, {name: ""}).paths(hub.folder)[name]
    spoilt = before.is_file() and needed not in (None, transfer.sha256_of(before))
    path = transfer.download(hub, listing, name, anew=spoilt)
    if needed is not None and transfer.sha256_of(path) != needed:
        fault = _wrong(path, needed)
        transfer.forget(path)
        raise ConfigError(
            f"{fault}; it was removed; try again, and if that does not help, give a file with --weights"
        )
    return path


def recognise(keys: Collection[str]) -> str | None:
    """Say which model a checkpoint is of, from the names of its tensors; None where they tell nothing."""
    return next((what for key, what in _TELLING if key in keys), None)


_TELLING = (
    ("motion_aware_decoder.fusion_proj.weight", "GeoMotion"),
    ("point_decoder.projects.weight", "pi3"),
    ("zero_convs.0.0.weight", "Align3R"),
    ("dec_blocks.0.cross_attn.projq.weight", "DUSt3R or MonST3R, whose names are the same"),
    ("mask_predictor.conv.weight", "RAFT large"),
    ("update_block.flow_head.conv2.weight", "RAFT small"),
)
"""Names of tensors, and what has them; the first that is found counts."""
