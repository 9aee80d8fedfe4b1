"""What about the process makes work impossible, told before it begins. Imports nothing heavy."""

import os
import resource

from recon4d.core.errors import ConfigError

ADDRESS_SPACE_MB = 2048
"""Least address space: torch and its libraries map 1.5 GiB before they compute; with less, OpenBLAS tries for ever to
start its threads while numpy is imported. MiB, as measured with two cores."""


def check_process() -> None:
    """Raise a `ConfigError` where libraries would hang or fail before they say why."""
    _check_address_space()
    _check_working_folder()


def _check_working_folder() -> None:
    """Where it was removed, MKL ends the process while torch is imported."""
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError(
            f"the working folder of this process cannot be reached ({error.strerror}); was it removed? change to one "
            "that is there"
        ) from error


def _check_address_space() -> None:
    """Raise a `ConfigError` where the limit of the address space is so low that libraries hang or fail."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < ADDRESS_SPACE_MB << 20:
        raise ConfigError(
            f"this process may use {soft >> 20} MiB of address space, recon4d needs {ADDRESS_SPACE_MB} or more; raise "
            "the limit, for example by: ulimit -v unlimited"
        )
