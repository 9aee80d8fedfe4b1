"""Tokens of a transformer as maps at 1/4, 1/8, 1/16 and 1/32 of the image, without the lattice of its patches.

MuBe4D (Zhang et al., Information Fusion 133, 2026) concatenates the tokens of the encoder and of three decoder layers,
projects them to D channels and resamples them. Enlarged bilinearly, tokens have a kink at every centre: the lattice of
the patches shows in the maps. Here every token is spread with a window of four patches that overlaps its neighbours', a
cubic B-spline; the windows sum to one everywhere, and the tokens are sharpened beforehand such that the surface passes
through them (Unser, Splines, IEEE Signal Processing Magazine, 1999). It has two continuous derivatives.

Token (row, col) sits at pixel ((col + 0.5) * patch, (row + 0.5) * patch), sample (row, col) of the map at 1/s at pixel
((col + 0.5) * s, (row + 0.5) * s). Resampling is linear and separable: one small matrix per axis.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from recon4d.core.errors import InputError
from recon4d.networks.tokens import LAYERS

SCALES = (4, 8, 16, 32)
"""Pixels of the image per sample of each map."""
REACH = 2
"""Tokens beyond the border that the window of a sample in the image may touch: half the width of a cubic B-spline."""

TokenMaps = tuple[
    Float[Tensor, "batch width rows_4 cols_4"],
    Float[Tensor, "batch width rows_8 cols_8"],
    Float[Tensor, "batch width rows_16 cols_16"],
    Float[Tensor, "batch width rows_32 cols_32"],
]
"""F_3D at each of `SCALES`."""


Patch = int | float | tuple[int | float, int | float]
"""Pixels of the image between tokens: in both directions, or (across, down)."""
Part = tuple[int, int, int, int]
"""(left, top, width, height) in pixels of the image."""


class TokenFeed(nn.Module):
    """Four maps from the tokens of one image: concatenate, project, resample.

    The projection is linear and acts on single tokens, hence before the resampling: the same result for less work.
    """

    def __init__(self, token_channels: int, width: int, attention_channels: int = 0):
        """Make one with random weights.

        Args:
            token_channels: Of every layer's tokens, equal in all (of DUSt3R's family, take the encoder's tokens after
                `decoder_embed`).
            width: Channels of the maps, D.
            attention_channels: Of the statistics of the cross-attention; 0 where they are not used.
        """
        super().__init__()
        self.attention_channels = attention_channels
        self.project = nn.Linear(LAYERS * token_channels + attention_channels, width)

    def forward(
        self,
        tokens: Float[Tensor, f"batch {LAYERS} tokens channels"],
        grid: tuple[int, int],
        patch_px: Patch,
        size: tuple[int, int],
        attention: Float[Tensor, "batch statistics rows cols"] | None = None,
        part: Part | None = None,
    ) -> TokenMaps:
        """Maps of (ceil(height / s), ceil(width / s)) samples for every s of `SCALES`.

        Args:
            tokens: Of the encoder and of `sampled_layers`, row by row, without class or register tokens.
            grid: (rows, cols) of tokens.
            patch_px: Pixels of the image between tokens.
            size: (width, height) of the image in pixels.
            attention: Statistics of the cross-attention at the tokens.
            part: Of the image, whose maps are wanted; None: all of it.

        Raises:
            InputError: The tokens are not those of the grid, or do not cover the image; attention is missing or was
                not expected.
        """
        _check_grid(tokens.shape[2], grid, patch_px, size)
        found = 0 if attention is None else attention.shape[1]
        if found != self.attention_channels:
            raise InputError(
                f"{found} maps of attention were given, {self.attention_channels} were needed: give as many as the "
                "network was made for"
            )
        together = tokens.transpose(1, 2).flatten(2)
        if attention is not None:
            together = torch.cat((together, attention.flatten(2).transpose(1, 2)), dim=2)
        projected: Tensor = self.project(together)
        maps = projected.transpose(1, 2).reshape(len(tokens), -1, *grid)
        fine, middle, coarse, last = (
            resample(maps, patch_px, size, scale, part) for scale in SCALES
        )
        return fine, middle, coarse, last


def resample(
    maps: Float[Tensor, "batch channels token_rows token_cols"],
    patch_px: Patch,
    size: tuple[int, int],
    scale: int,
    part: Part | None = None,
) -> Float[Tensor, "batch channels rows cols"]:
    """Maps at the tokens to maps at 1/scale of the image.

    Args:
        maps: One value per token and channel.
        patch_px: Pixels of the image between tokens.
        size: (width, height) of the image in pixels.
        scale: Pixels of the image between samples of the result.
        part: Of the image, whose maps are wanted; None: all of it.
    """
    rows, cols = maps.shape[-2:]
    across, down = _both(patch_px)
    left, top, width, height = part or (0, 0, *size)
    by_row = spline_matrix(rows, down, height, scale, top)
    by_col = spline_matrix(cols, across, width, scale, left)
    vertical, horizontal = (
        torch.tensor(matrix, dtype=maps.dtype, device=maps.device) for matrix in (by_row, by_col)
    )
    return vertical @ maps @ horizontal.T


def _both(patch_px: Patch) -> tuple[int | float, int | float]:
    return patch_px if isinstance(patch_px, tuple) else (patch_px, patch_px)


@lru_cache(maxsize=64)
def spline_matrix(
    tokens: int, patch_px: int | float, length_px: int, scale: int, start_px: int = 0
) -> Float64[np.ndarray, "samples tokens"]:
    """Weights of an axis's tokens in its samples; every row sums to one.

    Where samples are farther apart than tokens, a sample is the mean over its pixels: no token is skipped. What lies
    outside the image has the value at its edge.

    Args:
        tokens: Along the axis.
        patch_px: Pixels between them.
        length_px: Of the image, or of the part of it that samples are wanted of, along the axis.
        scale: Pixels between samples.
        start_px: Where the part begins.
    """
    starts = scale * np.arange(-(-length_px // scale))
    inside = np.arange(scale) + 0.5 if scale > patch_px else np.array([scale / 2])
    at_px = start_px + np.clip(starts[:, None] + inside, 0, length_px)
    at = np.clip(at_px / patch_px, 0, tokens) - 0.5  # in tokens, 0 at the first centre
    spread = _cubic(at[..., None] - np.arange(-REACH, tokens + REACH)).mean(axis=1)
    matrix: Float64[np.ndarray, "samples tokens"]
    matrix = spread @ _extension(tokens) @ _sharpening(tokens)
    matrix.setflags(write=False)  # every caller gets the same one
    return matrix


def _cubic(distance: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Cubic B-spline: a box of width 1, convolved with itself three times."""
    size = np.abs(distance)
    near, far = 2 / 3 - size**2 * (1 - size / 2), np.maximum(2 - size, 0) ** 3 / 6
    return np.asarray(np.where(size < 1, near, far))


def _extension(tokens: int) -> Float64[np.ndarray, "extended tokens"]:
    """Continue coefficients in a straight line beyond both ends: slopes reach the border, nothing darkens there."""
    if tokens == 1:
        return np.ones((1 + 2 * REACH, 1))
    extended = np.eye(tokens + 2 * REACH, tokens, -REACH)
    for beyond in range(1, REACH + 1):
        extended[REACH - beyond, :2] = 1 + beyond, -beyond
        extended[-1 - REACH + beyond, -2:] = -beyond, 1 + beyond
    return extended


def _sharpening(tokens: int) -> Float64[np.ndarray, "tokens tokens"]:
    """Coefficients of the spline that passes through the tokens: the inverse of the spline at their centres."""
    centres = np.arange(tokens)
    at_centres = _cubic(centres[:, None] - np.arange(-REACH, tokens + REACH).astype(np.float64))
    return np.asarray(np.linalg.inv(at_centres @ _extension(tokens)))


def _check_grid(tokens: int, grid: tuple[int, int], patch_px: Patch, size: tuple[int, int]) -> None:
    """Tokens fill the grid and cover the image, but for less than a patch that was cut off or padded."""
    (rows, cols), (width, height), (across, down) = grid, size, _both(patch_px)
    if tokens != rows * cols:
        raise InputError(
            f"{tokens} tokens were given for a grid of {rows}x{cols}; {rows * cols} were needed: leave class and "
            "register tokens out"
        )
    if abs(rows * down - height) >= down or abs(cols * across - width) >= across:
        raise InputError(
            f"{rows}x{cols} tokens of {across:g}x{down:g} pixels were given for an image {height} high and "
            f"{width} wide; they must cover it but for less than a patch: give the size of the image that the tokens "
            "were made of"
        )
