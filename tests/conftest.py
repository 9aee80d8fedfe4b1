"""What all tests share: the test material, and that no test reaches the network."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # tests run beside each other; set before torch is imported

os.environ["HF_HOME"] = tempfile.mkdtemp()  # as if no weights had ever been fetched

_LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost", "0.0.0.0")


@pytest.fixture
def shared_data() -> Path:
    """Folder of real test sequences; tests that need it are skipped where it is missing."""
    from tests import needs

    return needs.shared("data")


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
