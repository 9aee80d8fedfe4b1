"""Choosing some of many evenly."""

import numpy as np
import pytest

from recon4d.core.sampling import spread_evenly


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 400])
def test_first_and_last_are_chosen_and_steps_are_equal(count: int) -> None:
    chosen = spread_evenly(count, 8)
    assert len(chosen) == min(count, 8)
    assert chosen[0] == 0 and chosen[-1] == count - 1
    if count > 1:
        assert np.ptp(np.diff(chosen)) <= 1  # whole numbers


def test_of_nothing_nothing_is_chosen() -> None:
    assert spread_evenly(0, 8).tolist() == []


def test_one_of_many_is_the_first() -> None:
    assert spread_evenly(100, 1).tolist() == [0]
