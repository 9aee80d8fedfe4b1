"""Weights from the hub: a small hub that the tests serve themselves; nothing else is reached."""

import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from recon4d.core.errors import ConfigError, MissingDependencyError
from recon4d.weights import catalogue, transfer
from recon4d.weights.catalogue import MODELS, Model, fetch, list_models, recognise, weights_path
from recon4d.weights.transfer import Hub
from tests import needs

needs.package("huggingface_hub", "models")

COMMIT, LATER = "1" * 40, "2" * 40
WEIGHTS = bytes(range(256)) * 400
"""Stands for a file of weights; 102 kB."""
ONE = Model(
    name="one",
    purpose="a test",
    repository="someone/one",
    files=("one.pth",),
    licence="LICENCE-1",
    use="tests alone",
    option="one",
)
MANY = Model(
    name="many",
    purpose="a test",
    repository="someone/many",
    files=("*.json", "model.safetensors"),
    licence="LICENCE-2",
    use="tests alone",
    option="many",
)


@dataclass
class Served:
    """What the hub has, and what it was asked."""

    files: dict[str, dict[str, bytes]]
    """Of every repository."""
    head: str = COMMIT
    asked: list[str] = field(default_factory=list)
    break_after: int | None = None
    """Bytes after which connections that send a file end, as long as this is set."""
    times_broken: int = 0
    spoil: bytes | None = None
    """Sent instead of a file, while its hash is stated as before."""
    state_hashes: bool = True

    def info(self, repository: str, revision: str | None) -> dict[str, Any]:
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": hashlib.sha1(data).hexdigest(),
                **({"lfs": self.lfs(data)} if self.state_hashes else {}),
            }
            for name, data in self.files[repository].items()
        ]
        return {"id": repository, "sha": self.commit(revision), "siblings": siblings}

    def lfs(self, data: bytes) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}

    def commit(self, revision: str | None) -> str:
        return self.head if revision in (None, "main") else str(revision)


class Handler(BaseHTTPRequestHandler):
    served: Served

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        self.served.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        info = re.fullmatch(r"/api/models/(\w+/\w+)(?:/revision/(\w+))?", path)
        file = re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/(.+)", path)
        if info and info[1] in self.served.files:
            self.send(json.dumps(self.served.info(info[1], info[2])).encode(), {}, with_body)
        elif file and file[3] in self.served.files.get(file[1], {}):
            self.send_stored(file[1], file[2], file[3], with_body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def send_stored(self, repository: str, revision: str, name: str, with_body: bool) -> None:
        data = self.served.files[repository][name]
        known = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": self.served.commit(revision),
        }
        self.send(self.served.spoil or data, known, with_body, is_file=True)

    def send(
        self, data: bytes, headers: dict[str, str], with_body: bool, is_file: bool = False
    ) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        if with_body:
            self.wfile.write(data[first : self.end(is_file, first)])

    def end(self, is_file: bool, first: int) -> int | None:
        if not is_file or self.served.break_after is None:
            return None
        self.served.times_broken += 1
        return first + self.served.break_after


@dataclass(frozen=True)
class World:
    """A hub that is up, and its cache."""

    hub: Hub
    served: Served

    @property
    def cache(self) -> Path:
        assert self.hub.cache is not None
        return self.hub.cache

    def fetch(self, name: str, **given: Any) -> Path:
        return fetch(name, **{"yes": True, "hub": self.hub, **given})

    def gets(self) -> list[str]:
        return [line for line in self.served.asked if line.startswith("GET") and "resolve" in line]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    files = {
        ONE.repository: {"one.pth": WEIGHTS, "README.md": b"not wanted"},
        MANY.repository: {"config.json": b"{}", "model.safetensors": WEIGHTS, "old.bin": b"no"},
    }
    served = Served(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"served": served}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(catalogue, "MODELS", (*MODELS, ONE, MANY))
    yield World(Hub(f"http://127.0.0.1:{server.server_port}", tmp_path / "cache"), served)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_model_says_its_licence_and_what_it_may_be_used_for(model: Model) -> None:
    assert model.licence and model.use
    row = next(line for line in list_models().splitlines() if line.split()[0] == model.name)
    assert model.licence in row and model.use in row


def test_names_differ() -> None:
    assert len({model.name for model in MODELS}) == len(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_hash_is_whole_or_unknown(model: Model) -> None:
    for file, digest in model.sha256.items():
        assert file in model.files
        assert re.fullmatch("[0-9a-f]{64}", digest)
        assert digest.startswith(file.rpartition("-")[2].removesuffix(".pth"))


def test_what_does_not_allow_commerce_says_so() -> None:
    free = {model.name for model in MODELS if model.use.startswith("any use")}
    assert free == {
        "raft-large",
        "raft-small",
        "sam2-large",
        "sam2-small",
        "sam2-tiny",
        "depth-anything",
    }


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'must3r' is no model \(did you mean '(mon|du)st3r'"):
        fetch("must3r")


def test_a_file_is_fetched_and_found_from_then_on(world: World) -> None:
    path = world.fetch("one")
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(world.cache)
    before = len(world.served.asked)
    assert weights_path("one", None, world.hub) == path
    assert world.fetch("one", yes=False, ask=never) == path
    assert len(world.served.asked) == before, "what is there needs no network"


def never(question: str) -> str:
    raise AssertionError(f"asked: {question}")


def test_revision_and_hash_are_recorded(world: World) -> None:
    world.fetch("one")
    stored = json.loads((world.cache / transfer.RECORDS).read_text())
    assert stored == {
        "one": {
            "repository": "someone/one",
            "revision": COMMIT,
            "files": {"one.pth": hashlib.sha256(WEIGHTS).hexdigest()},
        }
    }


def test_several_files_are_a_folder_without_what_is_not_wanted(world: World) -> None:
    world.fetch("one")
    folder = world.fetch("many")
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert weights_path("many", None, world.hub) == folder
    assert set(transfer.read_records(world.cache)) == {"one", "many"}


def test_the_question_shows_size_and_licence(world: World) -> None:
    questions: list[str] = []

    def agree(question: str) -> str:
        questions.append(question)
        return " Yes"

    world.fetch("one", yes=False, ask=agree)
    for told in ("0.1 MB", "LICENCE-1", "tests alone", "someone/one", COMMIT, "one.pth"):
        assert told in questions[0]


@pytest.mark.parametrize("answer", ["", "n", "maybe"])
def test_without_agreement_nothing_is_fetched(world: World, answer: str) -> None:
    with pytest.raises(ConfigError, match=r"nothing was fetched.*--yes"):
        world.fetch("one", yes=False, ask=lambda _: answer)
    assert world.gets() == []
    with pytest.raises(ConfigError, match="recon4d models fetch one"):
        weights_path("one", None, world.hub)


def test_without_a_terminal_to_ask_nothing_is_fetched(world: World) -> None:
    def closed(question: str) -> str:
        raise EOFError

    with pytest.raises(ConfigError, match="nothing was fetched"):
        world.fetch("one", yes=False, ask=closed)
    assert world.gets() == []


def test_the_first_revision_is_kept(world: World) -> None:
    world.fetch("one")
    world.served.head = LATER
    transfer.forget(weights_path("one", None, world.hub))
    assert COMMIT in str(world.fetch("one"))


def test_another_revision_is_fetched_when_asked_for(world: World) -> None:
    world.fetch("one")
    path = world.fetch("one", revision=LATER)
    assert LATER in str(path)
    assert weights_path("one", None, world.hub) == path


def test_a_revision_is_resolved_to_its_commit(world: World) -> None:
    world.fetch("one", revision="main")
    assert transfer.read_records(world.cache)["one"].revision == COMMIT


def test_a_file_that_changed_on_the_disk_is_not_used_and_is_fetched_anew(world: World) -> None:
    path = world.fetch("one")
    path.resolve().write_bytes(b"something else")
    with pytest.raises(ConfigError, match=r"SHA-256 .* expected; it is not used; fetch it again"):
        weights_path("one", None, world.hub)
    assert world.fetch("one").read_bytes() == WEIGHTS
    assert weights_path("one", None, world.hub) == path


def test_a_file_with_another_hash_than_the_known_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = MappingProxyType({"one.pth": "0" * 64})
    monkeypatch.setattr(catalogue, "MODELS", (Model(**{**vars(ONE), "sha256": known}),))
    with pytest.raises(ConfigError, match=rf"SHA-256 .*{'0' * 64} was expected; it was removed"):
        world.fetch("one")
    assert list(world.cache.rglob("one.pth")) == []
    with pytest.raises(ConfigError, match="not on this machine"):
        weights_path("one", None, world.hub)


def test_a_file_that_changed_on_the_hub_is_refused(world: World) -> None:
    """Under the commit that was recorded; also where the hub states no hash."""
    world.served.state_hashes = False
    path = world.fetch("one")
    transfer.forget(path)
    world.served.files[ONE.repository]["one.pth"] = WEIGHTS[::-1]
    with pytest.raises(ConfigError, match="it was removed"):
        world.fetch("one")
    assert not path.exists()


def test_a_file_that_is_not_what_the_hub_states_is_refused(world: World) -> None:
    world.served.spoil = WEIGHTS[::-1]
    with pytest.raises(ConfigError, match="it was removed"):
        world.fetch("one")
    assert not (world.cache / transfer.RECORDS).exists()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the seconds that the hub's package waits before it tries again."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def test_an_interrupted_download_goes_on_where_it_ended(
    world: World, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    world.served.break_after = 60_000
    assert world.fetch("one").read_bytes() == WEIGHTS
    assert world.served.times_broken == 2, "60 kB, then the 42 kB that were missing"


def test_a_download_that_keeps_breaking_is_told_and_can_be_had_later(
    world: World, impatient: None
) -> None:
    world.served.break_after = 0
    with pytest.raises(ConfigError, match=r"fetching from someone/one failed \(.*try again"):
        world.fetch("one")
    with pytest.raises(ConfigError, match="not on this machine"):
        weights_path("one", None, world.hub)
    world.served.break_after = None
    assert world.fetch("one").read_bytes() == WEIGHTS


def test_a_repository_that_is_not_there_is_named(world: World) -> None:
    del world.served.files[ONE.repository]
    with pytest.raises(ConfigError, match="no public repository someone/one"):
        world.fetch("one")


def test_a_file_that_is_not_there_is_named(world: World) -> None:
    del world.served.files[ONE.repository]["one.pth"]
    with pytest.raises(ConfigError, match=r"someone/one has no file one\.pth"):
        world.fetch("one")


def test_offline_what_is_there_is_used_and_else_the_command_is_named(world: World) -> None:
    with pytest.raises(ConfigError, match=r"switched off.*recon4d models fetch one.*--weights one"):
        world.fetch("one", offline=True)
    assert world.served.asked == []
    path = world.fetch("one")
    assert world.fetch("one", offline=True) == path


def test_the_hubs_own_switch_is_heeded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="switched off"):
        world.fetch("one")


def test_a_hub_that_does_not_answer_is_told(world: World, tmp_path: Path, impatient: None) -> None:
    with pytest.raises(ConfigError, match=r"fetching from someone/one failed.*--weights"):
        world.fetch("one", hub=Hub("http://127.0.0.1:9", tmp_path))


def test_a_given_file_needs_no_hub(tmp_path: Path) -> None:
    assert weights_path("pi3", tmp_path / "mine.pth") == tmp_path / "mine.pth"


def test_weights_that_are_not_there_end_in_one_sentence_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        weights_path("align3r-depth-anything", None, Hub(cache=tmp_path))
    assert "recon4d models fetch align3r-depth-anything" in str(caught.value)
    assert "--weights align3r=PATH" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_hubs_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "recon4d\[models\]"'):
        fetch("pi3", yes=True)
    with pytest.raises(ConfigError, match="recon4d models fetch pi3"):
        weights_path("pi3", None)


def test_an_option_of_several_models_takes_the_one_that_was_fetched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Model(**{**vars(ONE), "name": "other", "option": "several"})
    first = Model(**{**vars(MANY), "option": "several"})
    monkeypatch.setattr(catalogue, "MODELS", (first, other))
    with pytest.raises(
        ConfigError, match=r"of several are not .* models fetch many .*several=PATH"
    ):
        weights_path("several", None, world.hub)
    path = world.fetch("other")
    assert weights_path("several", None, world.hub) == path
    folder = world.fetch("many")
    assert weights_path("several", None, world.hub) == folder, "the first of the table"
    with pytest.raises(ConfigError, match="'other2' is no model"):
        weights_path("other2", None, world.hub)


def test_spoilt_records_are_told(tmp_path: Path) -> None:
    (tmp_path / transfer.RECORDS).write_text("{")
    with pytest.raises(ConfigError, match="remove it and fetch again"):
        weights_path("pi3", None, Hub(cache=tmp_path))


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("update_block.flow_head.conv2.weight", "RAFT small"),
        ("zero_convs.0.0.weight", "Align3R"),
        ("something", None),
    ],
)
def test_a_checkpoint_is_recognised_by_its_names(key: str, what: str | None) -> None:
    assert recognise({key, "other"}) == what


def test_the_page_of_weights_says_what_every_model_may_be_used_for() -> None:
    page = (Path(__file__).parents[1] / "docs/WEIGHTS.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 4]
    for model in MODELS:
        mine = [row for row in rows if f"`{model.name}`" in row.split("|")[1]]
        assert len(mine) == 1, model.name
        kind = "any use" if model.use.startswith("any use") else model.use.split(";")[0]
        assert kind in mine[0].split("|")[3], model.name
