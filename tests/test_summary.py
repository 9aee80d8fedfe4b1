"""What Python shows of a result: one line, a picture in a notebook, its frames and its warnings."""

import base64
import dataclasses
import re

import cv2
import numpy as np
import pytest

from recon4d.core.scene import Notice
from recon4d.results.reconstruction import Reconstruction
from tests.results import FRAMES, SIZE, exact_result, with_unposed
from tests.synthetic import make_scene


@pytest.fixture(scope="module")
def result() -> Reconstruction:
    return exact_result(make_scene(FRAMES, SIZE, seed=9, mover=True))


def test_a_result_is_shown_in_one_line(result: Reconstruction) -> None:
    shown = repr(result)
    assert re.fullmatch(
        rf"Reconstruction\({FRAMES} frames of {SIZE[0]}x{SIZE[1]} px, \d+\.\d\d s, "
        r"focal length \d+\.\d px, relative scale, \d+\.\d % moving\)",
        shown,
    )
    assert "1 warning)" in repr(with_unposed(result, [2]))
    assert "metres" in repr(dataclasses.replace(result, is_metric=True))


def test_the_length_of_a_result_is_its_number_of_frames(result: Reconstruction) -> None:
    assert len(result) == FRAMES


def test_the_warnings_of_a_result_are_notices(result: Reconstruction) -> None:
    assert result.warnings == ()
    assert with_unposed(result, [2, 5]).warnings == (Notice("lost_frames", "lost", (2, 5)),)
    assert dataclasses.replace(result, run={"warnings": "damaged"}).warnings == ()


def test_a_notebook_shows_the_preview(result: Reconstruction) -> None:
    warning = {"code": "odd", "message": "<b>5 & 6</b>", "frames": []}
    page = dataclasses.replace(result, run={"warnings": [warning]})._repr_html_()
    assert "<li>&lt;b&gt;5 &amp; 6&lt;/b&gt;</li>" in page
    assert page.startswith(f"<p><code>Reconstruction({FRAMES} frames")
    (data,) = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape[1] == 960 and picture.std() > 10
    assert len(page) < 400_000
