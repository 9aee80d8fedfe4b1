"""Where the samples of `Flow` lie, which cells hold pixels, and what depth maps say at the samples."""

import numpy as np
import torch

from recon4d.core.pinhole import rays_array
from recon4d.core.sampling import (
    cell_of,
    image_size,
    sample_at,
    sample_index,
    sample_place,
    sample_px,
    shrink,
)
from recon4d.core.tensors import cells_of, depth_at_samples, nearest_cells, sample_grid_px

ROWS, COLS = 5, 7
INTRINSICS = np.array([20.0, 20.0, 7.0, 5.0])


def all_samples() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(ROWS), np.arange(COLS), indexing="ij"), axis=-1)


def test_a_sample_lies_in_its_own_cell() -> None:
    samples = all_samples()
    assert (cell_of(sample_at(samples)) == samples).all()
    for corner in (-0.99, 0.99):  # the cell is two pixels wide
        assert (cell_of(sample_at(samples) + np.float32(corner)) == samples).all()


def test_tensors_and_arrays_agree() -> None:
    grid = sample_grid_px(ROWS, COLS, torch.device("cpu"))
    assert (grid.numpy().reshape(ROWS, COLS, 2) == sample_px(ROWS, COLS)).all()
    row, col = cells_of(grid)
    assert (torch.stack((row, col), -1).numpy() == all_samples().reshape(-1, 2)).all()
    inside = nearest_cells(grid[:, 0], grid[:, 1], ROWS, COLS)
    assert (inside.numpy() == np.arange(ROWS * COLS)).all()
    far = nearest_cells(grid[:, 0] + 100, grid[:, 1] + 100, ROWS, COLS)
    assert (far == ROWS * COLS - 1).all()


def test_places_in_samples_are_whole_at_samples() -> None:
    u = sample_px(ROWS, COLS)[..., 0]
    assert (sample_index(u) == np.arange(COLS)).all()
    assert (sample_place(np.arange(COLS)) == u).all()
    assert image_size(ROWS, COLS) == (2 * COLS, 2 * ROWS)


def test_the_small_image_is_the_mean_of_cells() -> None:
    image = np.random.default_rng(0).integers(0, 64, (2 * ROWS, 2 * COLS, 3)).astype(np.uint8) * 4
    cells = image.reshape(ROWS, 2, COLS, 2, 3).astype(float).mean((1, 3))
    assert np.abs(shrink(image) - cells).max() <= 0.5


def test_depth_of_a_plane_is_that_at_the_samples() -> None:
    """Both conventions of taking one pixel of a cell were half a pixel off: 1 % of the depth here."""
    width, height = image_size(ROWS, COLS)
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) + 0.5
    normal = np.array([0.1, 0.2, 1.0])
    depth = torch.from_numpy(1 / (rays_array(pixels, INTRINSICS) @ normal))
    at_samples = 1 / (rays_array(sample_px(ROWS, COLS).astype(float), INTRINSICS) @ normal)
    found = depth_at_samples(depth[None])[0].numpy()
    np.testing.assert_allclose(found, at_samples, rtol=1e-12)
    one = depth[1::2, 1::2].numpy()
    assert np.abs(one / at_samples - 1).max() > 0.005


def test_depth_of_two_surfaces_is_not_mixed_and_unknown_depth_stays_unknown() -> None:
    depth = torch.ones(4, 4)
    depth[:, 1] = 3.0  # an edge within the first cells
    depth[3, 3] = 0.0  # unknown, in the last cell
    found = depth_at_samples(depth)
    assert found.tolist() == [[3.0, 1.0], [3.0, 0.0]]


def test_odd_sizes_have_no_half_samples() -> None:
    assert depth_at_samples(torch.ones(2, 5, 9)).shape == (2, 2, 4)
