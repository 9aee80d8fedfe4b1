"""Where the page of the web viewer is served: one address, of this machine alone unless the user says otherwise.

Numbers here that name no source were set by hand.
"""

import socket
from dataclasses import dataclass

from recon4d.core.errors import ConfigError

FIRST_PORT = 8080
"""Port where none is asked for; if it is in use, the next one that is free."""
EVERYWHERE = ("0.0.0.0", "::")
"""Hosts that stand for every interface of the machine."""
LAST_PORT = 65_535
"""Largest number of a TCP port."""


@dataclass(frozen=True)
class Address:
    """Where to listen."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: `FIRST_PORT`, or the next free one."""

    def __post_init__(self) -> None:
        """Refuse what no machine has."""
        if not self.host:
            raise ConfigError("--host is empty; give an address of this machine, e.g. 127.0.0.1")
        if self.port is not None and not 0 <= self.port <= LAST_PORT:
            raise ConfigError(
                f"--port must be from 0 (any free one) to {LAST_PORT}, got {self.port}"
            )

    def check_free(self) -> None:
        """Refuse, in one sentence, what cannot be listened on.

        Raises:
            ConfigError: The host is not this machine's, or the port is in use or not allowed.
        """
        try:
            found = socket.getaddrinfo(self.host, self.port or 0, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ConfigError(
                f"--host {self.host} is not known ({error}); give an address of this machine, e.g. 127.0.0.1, or "
                "0.0.0.0 for all of its interfaces"
            ) from error
        family, kind, protocol, _, place = found[0]
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen(1)
        except OSError as error:
            raise ConfigError(self._explain(error)) from error

    def _explain(self, error: OSError) -> str:
        if self.port:
            return (
                f"port {self.port} of {self.host} cannot be used ({error.strerror}); give another --port, or none for "
                "the first free one"
            )
        return (
            f"--host {self.host} cannot be listened on ({error.strerror}); give an address of this machine, e.g. "
            "127.0.0.1, or 0.0.0.0 for all of its interfaces"
        )

    def invitation(self, port: int) -> str:
        """What the user is told, once the server listens on `port`."""
        if self.host in EVERYWHERE:
            return (
                f"open http://localhost:{port} in a browser, or http://{socket.gethostname()}:{port} on another "
                "machine (everybody in the network can); Ctrl-C ends it"
            )
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"open http://{name}:{port} in a browser; Ctrl-C ends it"


THIS_MACHINE = Address()
"""Nobody else can open the page."""
