"""benchmarks.same tells results apart that differ by one byte."""

from pathlib import Path

import pytest

from benchmarks import same


def a_result(folder: Path, depth: bytes = b"12", name: str = "000000.npy") -> Path:
    for part in ("depth", "masks"):
        (folder / part).mkdir(parents=True)
        (folder / part / name).write_bytes(depth)
    for part in ("poses.txt", "intrinsics.txt"):
        (folder / part).write_text("1 2 3\n")
    return folder


def test_equal_results_have_equal_hashes_and_one_byte_or_a_name_makes_them_differ(
    tmp_path: Path,
) -> None:
    first = {"static": same.hashes_of(a_result(tmp_path / "a"))}
    assert same.differences(first, {"static": same.hashes_of(a_result(tmp_path / "b"))}) == []
    changed = {"static": same.hashes_of(a_result(tmp_path / "c", depth=b"13"))}
    assert same.differences(changed, first) == ["static: depth differs", "static: masks differs"]
    renamed = {"static": same.hashes_of(a_result(tmp_path / "d", name="000001.npy"))}
    assert same.differences(renamed, first) == ["static: depth differs", "static: masks differs"]
    assert same.differences(first, {}) == ["static: not in the file"]


def test_comparing_answers_by_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = tmp_path / "hashes.json"
    root = ["--root", str(tmp_path)]
    answers = [{"static": {"depth": "1"}}, {"static": {"depth": "1"}}, {"static": {"depth": "2"}}]
    monkeypatch.setattr(same, "make", lambda names, root: answers.pop(0))
    assert same.main(["--write", str(stored), *root]) == 0
    assert same.main(["--against", str(stored), *root]) == 0
    assert "equal to" in capsys.readouterr().out
    assert same.main(["--against", str(stored), *root]) == 1
    assert "static: depth differs" in capsys.readouterr().out


def test_a_run_with_known_poses_is_told_some_lines_of_the_true_trajectory(tmp_path: Path) -> None:
    sequence = tmp_path / "exact_dancer"
    sequence.mkdir()
    lines = ["# time", *(f"{index} 0 0 0 0 0 0 1" for index in range(30))]
    (sequence / "groundtruth.txt").write_text("\n".join(lines))
    words = same.words_of(same.RUNS["poses"], tmp_path, tmp_path)
    assert words[0] == str(sequence) and words[-2] == "--poses"
    given = Path(words[-1]).read_text().split("\n")
    assert [line.split()[0] for line in given if line] == [str(i) for i in same.GIVEN_POSES]
