"""Options of a run: checks, conversion from text, and TOML that repeats the run."""

from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon4d.core.errors import ConfigError, did_you_mean
from recon4d.settings.config import RunConfig
from recon4d.settings.named import CHOICES
from recon4d.settings.optim import OptimConfig
from recon4d.settings.text import build, override, parse_assignment, read_toml, to_toml

VIDEO = {"input": "video.mp4"}
TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=20
).filter(lambda text: text not in (".", ".."))


def options() -> st.SearchStrategy[dict[str, Any]]:
    """Valid options; not the config itself, because beartype draws random numbers while it checks one."""
    rate = st.one_of(
        st.fixed_dictionaries({"fps": st.floats(0.001, 10_000)}),
        st.fixed_dictionaries({"stride": st.integers(1, 1_000_000)}),
    )
    rest = st.fixed_dictionaries(
        {"input": TEXT.map(Path)},
        optional={
            "out": TEXT.map(Path),
            **{
                key: st.sampled_from(choice.now)
                for key, choice in CHOICES.items()
                if key not in ("focal", "lens", "masks_mean", "depth_kind", "depth_scale")
            },
            "size": st.integers(64, 8192),
            "start": st.floats(0, 1e9),
            "max_frames": st.none() | st.integers(2, 1_000_000),
            "loop": st.integers(0, 100),
            "workers": st.none() | st.integers(1, 1024),
            "seed": st.integers(0, 2**63 - 1),
            "optim": st.fixed_dictionaries(
                {"kernel_px": st.floats(0.01, 10), "grid_px": st.integers(4, 128)}
            ),
        },
    )
    cameras = st.one_of(
        st.fixed_dictionaries(
            {key: st.sampled_from(CHOICES[key].now) for key in ("focal", "lens")}
        ),
        st.just({"intrinsics": "525.5,525,319.5,239.5"}),
    )
    poses = st.fixed_dictionaries(
        {}, optional={"poses": TEXT.map(Path), "pose_sigma": st.floats(0, 1e9)}
    ).filter(lambda given: "poses" in given or "pose_sigma" not in given)
    return st.builds(lambda *parts: reduce(or_, parts), rest, rate, cameras, poses)


@settings(deadline=None, max_examples=40)
@given(given_options=options())
def test_a_config_survives_toml(
    given_options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    optim = OptimConfig(**given_options.pop("optim", {}))
    config = RunConfig(**given_options, optim=optim)
    file = tmp_path_factory.getbasetemp() / "config.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    assert build(read_toml(file)) == config.anchored()


def test_paths_in_toml_work_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "k.txt").write_text("500 500 320 240")
    (tmp_path / "a.mp4").touch()
    monkeypatch.chdir(tmp_path)
    text = to_toml(build({"input": "a.mp4", "masks": "m", "intrinsics": "k.txt"}))
    (tmp_path / "config.toml").write_text(text)
    monkeypatch.chdir("/")
    config = build(read_toml(tmp_path / "config.toml"))
    assert config.input == tmp_path / "a.mp4"
    assert config.out == tmp_path / "a_recon4d"
    assert config.masks_folder == tmp_path / "m"
    assert config.intrinsics == str(tmp_path / "k.txt")


def test_a_file_and_a_folder_name_the_result_folder(tmp_path: Path) -> None:
    folder, file = tmp_path / "walk.2026", tmp_path / "walk.mp4"
    folder.mkdir()
    file.touch()
    assert build({"input": file}).out_folder == Path("walk_recon4d")
    assert build({"input": folder}).out_folder == Path("walk.2026_recon4d")


def test_text_becomes_the_type_of_the_option() -> None:
    config = build({**VIDEO, "size": "640", "fps": "12.5", "optim.kernel_px": "1", "out": "x"})
    assert (config.size, config.fps, config.optim.kernel_px) == (640, 12.5, 1.0)
    assert config.out == Path("x") and config.input == Path("video.mp4")


def test_nested_options_are_a_table_or_an_object_or_dotted() -> None:
    expected = OptimConfig(grid_px=24)
    assert build({**VIDEO, "optim": {"grid_px": 24}}).optim == expected
    assert build({**VIDEO, "optim": expected}).optim == expected
    assert build({**VIDEO, "optim.grid_px": 24}).optim == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the input is missing"),
        ({"siez": 3}, "no option 'siez' (did you mean 'size'?)"),
        ({"optim.kernel": 3}, "did you mean 'optim.kernel_px'"),
        ({"qqqq": 3}, "the options are: input, out, fps"),
        ({"size": "big"}, "size must be a whole number, got 'big'"),
        ({"size": 511.5}, "size must be a whole number, got 511.5"),
        ({"size": True}, "size must be a whole number, got True"),
        ({"size": 0}, "size must be from 64 to 8192, got 0"),
        ({"fps": float("nan")}, "fps must be from 0.001 to 10000, got nan"),
        ({"fps": 5, "stride": 2}, "fps 5 and stride 2 both choose frames"),
        ({"start": -1}, "start must be from 0"),
        ({"max_frames": 1}, "max_frames must be from 2"),
        ({"workers": 0}, "workers must be from 1"),
        ({"seed": None}, "seed must be a whole number, got None"),
        ({"masks": "residul"}, "did you mean 'residual'?"),
        ({"masks": ""}, "masks cannot be ''"),
        ({"masks": "nowhere/at/all"}, "an existing folder with one mask image per frame"),
        ({"device": "cdua"}, "did you mean 'cuda'?"),
        ({"flow": "fid"}, "available: dis"),
        ({"pose_sigma": 0.1}, "but none are given; add --poses FILE"),
        ({"poses": "poses.txt", "pose_sigma": -0.1}, "pose_sigma must be from 0"),
        ({"focal": "per-frame", "intrinsics": "1,1,1,1"}, "per-frame has every frame's estimated"),
        ({"weights": ["a.safetensors"]}, "write NAME=PATH with NAME one of: d2mif"),
        ({"weights": ["d2mif=a", "d2mif=b"]}, "--weights d2mif=... is given more than once"),
        ({"weights": [3]}, "weights must be a list of texts"),
        ({"optim.max_steps": 0}, "optim.max_steps must be from 1 to 1000, got 0"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    given = options if message == "the input is missing" else {**VIDEO, **options}
    with pytest.raises(ConfigError) as caught:
        build(given)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"optim.clip_frames": 8},
            "optim.clip_overlap is 8, more than half of optim.clip_frames (8)",
        ),
        ({"optim.clip_frames": 200}, "optim.whole_frames is 100 and optim.clip_frames 200"),
    ],
)
def test_lengths_of_clips_that_do_not_fit_are_both_named(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        build({**VIDEO, **options})
    assert message in str(caught.value)


def test_later_layers_win_and_a_new_frame_rate_replaces_a_stride() -> None:
    file = {"stride": 2, "size": 512, "optim.grid_px": 8}
    merged = override(file, {"size": "256"}, {"fps": "10", "size": "128"})
    assert merged == {"size": "128", "optim.grid_px": 8, "fps": "10"}
    assert override({"fps": 10.0}, {"stride": "3"}) == {"stride": "3"}


def test_both_frame_rate_and_stride_in_one_layer_stay_a_contradiction() -> None:
    with pytest.raises(ConfigError, match="both choose frames"):
        build(override(VIDEO, {"fps": "10", "stride": "3"}))


@pytest.mark.parametrize("text", ["size", "=3", ""])
def test_an_assignment_needs_a_key_and_a_value(text: str) -> None:
    with pytest.raises(ConfigError, match="--set needs KEY=VALUE"):
        parse_assignment(text)


def test_an_assignment_is_split_at_the_first_equals_sign() -> None:
    assert parse_assignment("weights=raft=a.safetensors") == ("weights", "raft=a.safetensors")


def test_unreadable_and_broken_toml_are_named(tmp_path: Path) -> None:
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    broken.write_text("size = = 3")
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"absent.toml cannot be read \(No such file"):
        read_toml(tmp_path / "absent.toml")
    for file, why in ((broken, "is not valid TOML"), (binary, "is not text")):
        with pytest.raises(ConfigError, match=why):
            read_toml(file)


def test_no_guess_is_made_for_a_word_that_is_far_from_all() -> None:
    assert did_you_mean("zzz", ["residual", "none"]) == ""
