"""What comes from users' files reaches the screen escaped, and text files are read within bounds."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from recon4d import cli
from recon4d.core.errors import InputError
from recon4d.core.text import printable, read_rows, read_text
from recon4d.results.folder import write_result
from tests.media import textured_frames, write_images
from tests.test_info import small_result

HOSTILE = "a\x1b]0;owned\x07\x1b[2J\u202egpj.exe\u2028b\nrecon4d: error: c\x9b31m"
"""Title of the window, cleared screen, turned direction, new lines, and a control of 8 bits."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Größe_日本_مرحبا_🏃🏽‍♀️_e\u0301.mp4", "Größe_日本_مرحبا_🏃🏽‍♀️_e\u0301.mp4"),
        ("a\x1b[31m\x07", r"a\x1b[31m\x07"),
        ("a\nb\tc\u2028d\u2029e\x85", r"a\nb\tc\u2028d\u2029e\x85"),
        ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
    ],
)
def test_what_a_screen_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode()


def check_harmless(shown: str) -> None:
    assert not set(shown) & set("\x1b\x07\u202e\u2028\x9b"), shown
    shown.encode()


def test_info_shows_a_hostile_result_without_obeying_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_result(small_result({}), tmp_path / "out")
    run = json.loads((tmp_path / "out/run.json").read_text())
    run |= {
        "masks": HOSTILE,
        "stages": {HOSTILE: {"seconds": 1.0}},
        "warnings": [{"code": "x", "message": HOSTILE, "frames": []}],
    }
    (tmp_path / "out/run.json").write_text(json.dumps(run))
    assert cli.main(["info", str(tmp_path / "out")]) == 0
    out, _ = capsys.readouterr()
    check_harmless(out)
    assert r"warning:    a\x1b]0;owned" in out and out.count("\n") == 8


def test_info_shows_hostile_weights_without_obeying_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({HOSTILE: np.zeros(3)}, tmp_path / "w.safetensors", metadata={HOSTILE: HOSTILE})
    assert cli.main(["info", str(tmp_path / "w.safetensors")]) == 0
    out, _ = capsys.readouterr()
    check_harmless(out)
    assert out.count("\n") == 3


def test_errors_and_warnings_about_hostile_names_are_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["info", HOSTILE]) == 2
    out, err = capsys.readouterr()
    check_harmless(err)
    assert out == "" and err.count("\n") == 1 and err.startswith("recon4d: error: a\\x1b]0;")
    from recon4d.cli.screen import logging_to_screen

    with logging_to_screen():
        logging.getLogger("recon4d.x").warning("%s is odd", HOSTILE)
    _, err = capsys.readouterr()
    check_harmless(err)
    assert err.count("\n") == 1


def test_text_is_read_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf1 2\n# no\n 3 \n")
    assert read_rows(path) == [(1, "1 2"), (3, "3")]
    for content, why in ((b"caf\xe9", "is not text"), (b"a\0b", "NUL"), (b"a" * 11, "more than")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=why):
            read_text(path, largest=10)
    with pytest.raises(InputError, match="is a folder"):
        read_text(tmp_path)
    with pytest.raises(InputError, match="none of a file"):
        read_text(Path("a\0b"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a device"):
        read_text(tmp_path / "pipe")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs the device of zeros")
def test_a_device_is_no_list_of_poses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "in", textured_frames(2))
    out = str(tmp_path / "out")
    assert cli.main(["run", str(tmp_path / "in"), "--poses", "/dev/zero", "--out", out]) == 2
    assert "error: /dev/zero is a device, no text file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_shell_may_give_a_pipe(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"1 2 3\n")
    os.close(writing)
    path = Path(f"/dev/fd/{reading}")
    if not path.exists():
        pytest.skip("needs /dev/fd")
    assert read_rows(path) == [(1, "1 2 3")]
    os.close(reading)
