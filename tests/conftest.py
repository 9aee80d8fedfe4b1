"""What all tests share: their order, the test material, and that no test reaches the network."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from tests import shapes

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # tests run beside each other; set before torch is imported

os.environ["HF_HOME"] = tempfile.mkdtemp()  # as if no weights had ever been fetched

_LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost", "0.0.0.0")
HEAVIEST_FIRST = (
    "test_run_hard",
    "test_run_resume",
    "test_run_safety",
    "test_longvideo",
    "test_optim_synthetic",
    "test_motion_kind",
    "test_fuzz",
    "test_shutter",
    "test_viewer",
    "test_lens",
    "test_pairwise",
    "test_run_refused",
    "test_streams",
    "test_tracks",
    "test_everyday_files",
)
"""Files over 15 s; a worker does whole files, and one of these at the end would leave the other idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Within this order, files stay as they are."""
    place = {name: at for at, name in enumerate(HEAVIEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """In every test, array shapes are checked anew."""
    shapes.check_all_again()


@pytest.fixture
def shared_data() -> Path:
    """Folder of real test sequences; tests that need it are skipped where it is missing."""
    from tests import needs

    return needs.shared("data")


@pytest.fixture
def small_salience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs in which masks of D2MIF are made, but what they are does not matter much."""
    from recon4d.networks.u2net import U2net
    from tests import coarse

    monkeypatch.setattr(U2net, "forward", coarse.forward)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test whose own process connects to another machine."""
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: tuple[str, int] | str | bytes) -> None:
        if isinstance(address, tuple) and address[0] not in _LOCAL_HOSTS:
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was skipped for want of what."""
    from tests import needs

    skipped = terminalreporter.stats.get("skipped", [])
    line = needs.summary(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if line is not None:
        terminalreporter.write_line(line)
