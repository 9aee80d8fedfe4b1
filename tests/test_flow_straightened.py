"""Flow behind a lens, straightened, is the flow of a pinhole."""

from pathlib import Path

import numpy as np
import pytest

from recon4d.core.distortion import Bending
from recon4d.core.sampling import sample_px
from recon4d.flow.straightened import straightened_flow
from tests.test_lens import seen_through, world

LENSES = Bending((-0.2, 0.02)), Bending((0.05,)), Bending((), is_fisheye=True)


@pytest.mark.parametrize("lens", LENSES, ids=str)
@pytest.mark.parametrize("longer", [1.0, 1.1])
def test_straightened_flow_is_that_of_a_pinhole(
    lens: Bending, longer: float, tmp_path: Path
) -> None:
    truth = world()
    bent = seen_through(lens, truth)
    seen = np.array(truth.scene.intrinsics[0])
    wanted = seen * (longer, longer, 1, 1)
    flow = straightened_flow(bent, lens, seen, wanted, tmp_path, 1)
    rows, cols = flow.confidence.shape[1:]
    here = sample_px(rows, cols)
    for edge in range(0, len(flow.edges), 7):
        pinhole = (here - wanted[2:]) / longer + wanted[
            2:
        ]  # of the camera with its own focal length
        exact = longer * truth.exact_flow(edge, pinhole.reshape(-1, 2).astype(float))
        off = np.linalg.norm(flow.flow_px[edge].reshape(-1, 2) - exact, axis=1)
        sure = flow.confidence[edge].ravel() == 255
        assert sure.mean() > 0.4
        # depth has steps here, between which nothing is interpolated well; float16 holds 16 px to 0.01
        assert np.median(off[sure]) < 0.02 and np.quantile(off[sure], 0.9) < 0.15


def test_what_only_one_image_shows_has_no_confidence(tmp_path: Path) -> None:
    truth = world()
    bent = seen_through(Bending((0.1,)), truth)
    seen = np.array(truth.scene.intrinsics[0])
    flow = straightened_flow(bent, Bending((0.1,)), seen, seen, tmp_path, 1)
    corner = flow.confidence[
        :, 0, 0
    ]  # a lens of this kind does not see the corners of a pinhole's picture
    assert not corner.any() and (flow.confidence[:, 40, 60] > 0).mean() > 0.9
