"""The checks of array shapes that all tests run with: wrong calls are found, many right ones cost nothing."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from recon4d.core.pinhole import rays_array
from recon4d.core.scene import Shutter
from tests import shapes

CAMERA = np.array([100.0, 100.0, 64.0, 48.0])
WRONG = np.zeros((5, 3))


def call(count: int) -> None:
    for _ in range(count):
        rays_array(np.zeros((5, 2)), CAMERA)


def test_the_first_calls_in_a_test_are_checked() -> None:
    call(shapes.CALLS - 1)
    with pytest.raises(TypeCheckError, match="rays_array"):
        rays_array(WRONG, CAMERA)


def test_later_ones_are_not_and_those_of_the_next_test_are() -> None:
    call(shapes.CALLS)
    with pytest.raises(ValueError, match="broadcast"):  # numpy's own
        rays_array(WRONG, CAMERA)
    shapes.check_all_again()
    with pytest.raises(TypeCheckError, match="rays_array"):
        rays_array(WRONG, CAMERA)


def test_what_a_dataclass_holds_is_checked() -> None:
    with pytest.raises(TypeCheckError, match="Shutter"):
        Shutter("soon")  # type: ignore[arg-type]
