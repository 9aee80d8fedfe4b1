"""The partial folder of a run: whether there is something to go on with, and how it begins."""

import shutil
from pathlib import Path

from recon4d.checkpoint import stage_costs
from recon4d.config import RunConfig
from recon4d.errors import ConfigError
from recon4d.io.output import is_result
from recon4d.io.result import read_run
from recon4d.options import to_toml


def is_begun(folder: Path, config: RunConfig) -> bool:
    """Whether there is something to resume; what was begun with another configuration is refused."""
    settings = folder / "config.toml"
    if not settings.exists():
        return False
    if settings.read_text(encoding="utf-8") != to_toml(config.anchored()):
        raise ConfigError(
            f"{folder} was begun with other options than these; give the same options to resume it, or run without "
            "--resume to begin anew"
        )
    return True


def is_published(folder: Path, out: Path) -> bool:
    """Whether the run was interrupted after its last step, when its stages were being removed.

    The times of its stages, which no other run has, are then in the result.
    """
    costs = stage_costs(folder)
    if not costs or not is_result(out):
        return False
    recorded = read_run(out).get("stages")
    return isinstance(recorded, dict) and costs.items() <= recorded.items()


def begin(folder: Path, config: RunConfig) -> None:
    """Make the folder anew, with the configuration that it belongs to."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(to_toml(config.anchored()), encoding="utf-8")
