"""Files from the Hugging Face hub, into its own cache; what came is recorded there, and checked from then on."""

import hashlib
import importlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from recon4d.core.errors import ConfigError, MissingDependencyError

RECORDS = "recon4d-models.json"
"""File in the cache's folder that holds what was fetched."""


@dataclass(frozen=True)
class Hub:
    """Where files come from and are kept."""

    endpoint: str | None = None
    """Address of the hub; None: that of the package huggingface_hub, which heeds HF_ENDPOINT."""
    cache: Path | None = None
    """None: the folder of the package huggingface_hub, which heeds HF_HUB_CACHE and HF_HOME."""

    @property
    def folder(self) -> Path:
        """Folder of the cache."""
        return self.cache or Path(hub_package("constants").HF_HUB_CACHE)


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub lists it."""

    name: str
    size: int | None
    """Bytes."""
    sha256: str | None
    """None where the hub states none: it does for large files alone."""


@dataclass(frozen=True)
class Listing:
    """Files of a repository at one commit."""

    repository: str
    revision: str
    """The commit."""
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True)
class Record:
    """What was fetched."""

    repository: str
    revision: str
    """The commit."""
    files: Mapping[str, str]
    """SHA-256 of each file."""

    def paths(self, folder: Path) -> dict[str, Path]:
        """Where the hub's cache keeps the files."""
        place = folder / f"models--{self.repository.replace('/', '--')}" / "snapshots"
        return {name: place / self.revision / name for name in self.files}


def hub_package(part: str = "") -> ModuleType:
    """Import huggingface_hub, or a part of it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module(f"huggingface_hub.{part}".rstrip("."))
    except ImportError as error:
        raise MissingDependencyError(
            f'fetching weights needs the package huggingface_hub ({error}): pip install "recon4d[models]"'
        ) from error


def is_offline() -> bool:
    """Whether the user has told the hub's package to stay off the network (HF_HUB_OFFLINE)."""
    return bool(hub_package("constants").HF_HUB_OFFLINE)


def list_files(hub: Hub, repository: str, revision: str | None, wanted: tuple[str, ...]) -> Listing:
    """Ask the hub for the files of a repository.

    Args:
        hub: The hub.
        repository: `owner/name`.
        revision: Branch, tag or commit; None: the default branch.
        wanted: Names or patterns; each must fit a file.

    Raises:
        ConfigError: The hub does not answer, or does not have the repository, the revision or a file.
    """
    with hub_errors(repository):
        found = (
            hub_package()
            .HfApi(endpoint=hub.endpoint)
            .model_info(repository, revision=revision, files_metadata=True)
        )
    files = tuple(
        RemoteFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
        for file in found.siblings or ()
        if any(fnmatch(file.rfilename, pattern) for pattern in wanted)
    )
    for pattern in wanted:
        if not any(fnmatch(file.name, pattern) for file in files):
            raise ConfigError(
                f"the repository {repository} has no file {pattern} at revision {found.sha}; "
                "give another --revision, or a file with --weights"
            )
    return Listing(repository, str(found.sha), files)


def download(hub: Hub, listing: Listing, name: str, *, anew: bool) -> Path:
    """Download a file into the cache; where the connection breaks, the package goes on from there some times.

    Args:
        hub: The hub.
        listing: Repository and commit.
        name: Of the file.
        anew: Whether to replace a file that is in the cache.
    """
    with hub_errors(listing.repository):
        path = hub_package().hf_hub_download(
            listing.repository,
            name,
            revision=listing.revision,
            cache_dir=hub.folder,
            endpoint=hub.endpoint,
            force_download=anew,
        )
    return Path(path)


@contextmanager
def hub_errors(repository: str) -> Iterator[None]:
    """Turn what the hub's package raises into a `ConfigError` that says what to do."""
    errors = hub_package("errors")
    try:
        yield
    except errors.GatedRepoError as error:
        raise ConfigError(
            f"the repository {repository} wants its terms accepted: accept them on its page, then: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ConfigError(
            f"the hub has no public repository {repository}; if it asks for an account: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ConfigError(
            f"the repository {repository} has no such revision; give another --revision"
        ) from error
    except (errors.HTTPError, OSError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"fetching from {repository} failed ({first}); try again; without a network, "
            "give a file that you have with --weights"
        ) from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; known again while its size and time stay."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@lru_cache
def _sha256(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def forget(path: Path) -> None:
    """Remove a file from the cache, the link and what it points to."""
    target = path.resolve()
    path.unlink()
    target.unlink(missing_ok=True)


def read_records(folder: Path) -> dict[str, Record]:
    """What was fetched, by the name of the model."""
    path = folder / RECORDS
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {name: Record(**entry) for name, entry in stored.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}, which says what was fetched, cannot be read ({error}); remove it and fetch again"
        ) from error


def write_record(folder: Path, name: str, record: Record) -> None:
    """Record what was fetched; the file is replaced at once, never left half written."""
    every = {**read_records(folder), name: record}
    text = json.dumps({key: asdict(value) for key, value in sorted(every.items())}, indent=1)
    new = folder / f"{RECORDS}.{os.getpid()}"
    new.write_text(text + "\n", encoding="utf-8")
    new.replace(folder / RECORDS)
