"""Align3R: DUSt3R's network with monocular depth as a second input.

Source: Lu et al., CVPR 2025. Names of parameters are those of the official checkpoints.
"""

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

from recon4d.core.errors import DegenerateError, InputError
from recon4d.networks.croco.blocks import PatchEmbed
from recon4d.networks.croco.config import CrocoConfig
from recon4d.networks.croco.input import LONG_SIDE, centre_crop, resized
from recon4d.networks.croco.network import Croco, View
from recon4d.networks.transformer import Block, rope_angles

Tokens = tuple[Float[Tensor, "batch tokens dec_dim"], ...]


class Align3R(Croco):
    """A branch of plain blocks reads point maps, and adds to the decoder's tokens of the same view.

    What it adds depends on the image alone, hence it is part of the encoding and not computed anew for every pair.
    """

    def __init__(self, config: CrocoConfig) -> None:
        super().__init__(config)
        dim, count = config.dec_dim, max(config.dec_depth // 2 - 2, 0)
        self.patch_embed_point_cloud = PatchEmbed(config.patch, dim)
        self.dec_blocks_pc = nn.ModuleList(
            Block(dim, config.dec_heads, config.mlp_ratio) for _ in range(count)
        )
        self.zero_convs = nn.ModuleList(
            nn.Sequential(nn.Conv1d(dim, dim, 1)) for _ in range(count + 1)
        )

    def encode(
        self,
        images: Float[Tensor, "batch 3 height width"],
        portrait: Bool[Tensor, " batch"] | None = None,
        points: Float[Tensor, "batch height width 3"] | None = None,
    ) -> View:
        """Tokens of images and what their point maps add.

        Args:
            images: Values in [-1, 1], sides multiples of the patch; portrait ones as they are.
            portrait: Not known with point maps; leave it out.
            points: Normalised point maps (`normalised_points`, `input_points`) of the same pixels.

        Raises:
            InputError: Sizes do not fit, there are no point maps, or images are stored transposed.
        """
        if points is None or portrait is not None:
            what = "no point maps" if points is None else "transposed images"
            raise InputError(
                f"{what} were given to Align3R; it needs images as they are, and a point map of each"
            )
        view = self._encode(images, None)
        return replace(view, added=self.point_terms(points, view))

    def point_terms(self, points: Float[Tensor, "batch height width 3"], view: View) -> Tokens:
        """What flows into the decoder's tokens before the first layer and after each of the first ones."""
        angles = rope_angles(view.positions, self.config.dec_dim // self.config.dec_heads)
        tokens = self.patch_embed_point_cloud(points.permute(0, 3, 1, 2)).float()
        terms = [self._term(0, tokens)]
        for depth, block in enumerate(self.dec_blocks_pc, start=1):
            tokens = block(tokens, angles)
            terms.append(self._term(depth, tokens))
        return tuple(terms)

    def _term(self, depth: int, tokens: Tensor) -> Tensor:
        out: Tensor = self.zero_convs[depth](tokens.transpose(1, 2)).transpose(1, 2)
        return out


def normalised_points(
    depth: Float[np.ndarray, "height width"],
) -> Float32[np.ndarray, "height width 3"]:
    """A depth map as points, each axis stretched over the whole image to [0, 1].

    The focal length cancels: any gives the same.

    Args:
        depth: z-depth in any unit.

    Raises:
        DegenerateError: An axis has one value only, e.g. because the depth is the same everywhere.
        InputError: A depth is not finite.
    """
    if not np.isfinite(depth).all():
        raise InputError(
            "monocular depth has pixels that are not finite; give depth of every pixel"
        )
    height, width = depth.shape
    z = depth.astype(np.float32)
    x = (np.arange(width, dtype=np.float32) - width / 2) * z
    y = (np.arange(height, dtype=np.float32)[:, None] - height / 2) * z
    points = np.stack((x, y, z), axis=-1).astype(np.float32)
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    if not (high > low).all():
        raise DegenerateError(
            "monocular depth is the same everywhere, which Align3R cannot read; use other depth or another backbone"
        )
    scaled: np.ndarray = (points - low) / (high - low)
    return scaled


def input_points(
    depth: Float[np.ndarray, "height width"], long_side: int = LONG_SIDE
) -> Float32[np.ndarray, "rows cols 3"]:
    """The point map of a depth map of any size, as the official weights got it in training.

    Normalised first, then resized and cropped like the image; values may leave [0, 1] a little.

    Args:
        depth: z-depth in any unit, of the whole image.
        long_side: Of the image that the network gets, in pixels.
    """
    height, width = depth.shape
    size = resized((width, height), long_side)
    enlarged = resized_points(normalised_points(depth), size, max(height, width) > long_side)
    return np.ascontiguousarray(centre_crop(enlarged), np.float32)


def resized_points(
    points: Float32[np.ndarray, "height width 3"], size: tuple[int, int], shrinks: bool
) -> Float32[np.ndarray, "rows cols 3"]:
    """Point map at (width, height), by the windows of the official loader."""
    how = cv2.INTER_LANCZOS4 if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(points, size, interpolation=how), np.float32)
