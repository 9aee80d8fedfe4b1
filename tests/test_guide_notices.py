"""What a long video says of clips without parallax where depth of the user's own is given."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from recon4d.core.scene import Notice, Video
from recon4d.run import long
from recon4d.run.long.clips import Clip
from recon4d.run.long.kept import History
from recon4d.settings.text import build


def test_a_clip_without_parallax_says_where_its_depth_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "depth.npy", np.ones((8, 64, 64), np.float32))
    video = Video(
        images=np.zeros((8, 64, 64, 3), np.uint8),
        timestamps_s=np.arange(8) / 30,
        sources=tuple(str(index) for index in range(8)),
        source_size=(64, 64),
    )
    still = SimpleNamespace(notices=(Notice("no_parallax", "depth is unknown"),))
    silent: Any = SimpleNamespace(notices=())
    for name, found in (("LOCAL", still), ("MOTION", silent), ("WRITTEN", silent)):
        monkeypatch.setattr(long, name, SimpleNamespace(load=lambda _, found=found: found))
    config = build({"input": "in", "depth": str(tmp_path / "depth.npy")})
    run = long.Run(config, tmp_path, video, (Clip(0, 0, 8, 0, 8),))
    (notice,) = long._clip_notices(run, [History((), ())])
    assert (
        notice.message.startswith("Frames 0 to 7: ")
        and "depth is that of --depth" in notice.message
    )
