"""`recon4d run --tracks --objects --scene-flow`: of one piece and of clips, ids are stable over the seams."""

import json
from pathlib import Path

import numpy as np
import pytest

import recon4d
from recon4d import cli
from recon4d.core.errors import ConfigError
from recon4d.settings.config import RunConfig
from recon4d.settings.text import build, parse_toml, to_toml
from tests.crossing import make_crossing
from tests.media import write_images
from tests.test_tracks import named_right

FRAMES, SIZE = 24, (160, 120)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, their masks, and ids of what moves."""
    folder = tmp_path_factory.mktemp("clip")
    truth = make_crossing(FRAMES, SIZE, seed=0)
    write_images(folder / "in", truth.result.images)
    write_images(folder / "masks", 255 * truth.result.is_dynamic.astype(np.uint8))
    np.save(folder / "ids.npy", truth.ids)
    return folder


CLIPS = ["--set", "optim.clip_frames=12", "--set", "optim.whole_frames=12"]
CLIPS += ["--set", "optim.clip_overlap=4"]


@pytest.mark.parametrize(
    "way", [[], pytest.param(CLIPS, marks=pytest.mark.slow)], ids=["whole", "clips"]
)
def test_a_run_makes_tracks_and_objects(clip: Path, way: list[str], tmp_path: Path) -> None:
    focal = 0.86 * SIZE[0]
    camera = f"{focal},{focal},{SIZE[0] / 2 - 0.5},{SIZE[1] / 2 - 0.5}"
    words = [
        "run",
        str(clip / "in"),
        "--out",
        str(tmp_path / "out"),
        "--masks",
        str(clip / "masks"),
    ]
    words += ["--intrinsics", camera, "--loop", "0", "--workers", "1", "--readout", "0"]
    assert cli.main([*words, *way, "--objects", "--tracks", "60", "--scene-flow"]) == 0
    found = recon4d.load(tmp_path / "out")
    assert found.tracks is not None and found.objects is not None and found.scene_flow is not None
    assert 50 < found.tracks.num_points <= 60
    right, share = named_right(found.objects.ids, np.load(clip / "ids.npy"))
    assert right >= 0.85 and share > 0.85
    run = json.loads((tmp_path / "out/run.json").read_text())
    assert run["stages"]["motion"]["seconds"] > 0
    total_s = sum(cost["seconds"] for cost in run["stages"].values())
    assert run["seconds"] == pytest.approx(total_s)
    assert not list(tmp_path.glob(".motion-*"))


def test_options_of_motion_are_options_like_others() -> None:
    config = build({"input": "a.mp4", "tracks": "7", "objects": "yes"})
    assert (config.tracks, config.objects, config.scene_flow) == (7, True, False)
    again = build(parse_toml(to_toml(config)))
    assert (again.tracks, again.objects, again.scene_flow) == (7, True, False)
    assert RunConfig(input=Path("a")).tracks == 0


@pytest.mark.parametrize(
    "values, message",
    [
        ({"objects": "perhaps"}, "objects must be yes or no"),
        ({"objects": 1}, "objects must be yes or no"),
        ({"tracks": "many"}, "tracks must be a whole number"),
        ({"tracks": -1}, "tracks must be from 0"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build({"input": "a.mp4", **values})


@pytest.mark.parametrize(
    "words, message",
    [
        (["track"], "RESULT"),
        (["track", "absent"], "is not a result"),
        (["track", "absent", "--tracks", "-1"], "at least 0"),
        (["track", "absent", "--tracks", "1000001"], "from 0 to 1000000"),
        (["track", "absent", "--tracks", "5", "--points", "p.csv"], "give one"),
    ],
)
def test_wrong_words_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert message in capsys.readouterr().err
