"""What pi3 makes of its decoder's tokens: values of pixels, and poses of cameras.

Source: pi3 (Wang et al., 2025); the nearest rotation of a matrix: Levinson et al., NeurIPS 2020.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recon4d.core.geometry import rigid
from recon4d.networks.pi3.config import CAMERA_LAYERS, Pi3Config
from recon4d.networks.transformer import Angles, Block


class FrameDecoder(nn.Module):
    """Transformer of the tokens of each frame, between two linear layers."""

    def __init__(self, config: Pi3Config, out_dim: int) -> None:
        super().__init__()
        self.projects = nn.Linear(2 * config.dim, config.dim)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.mlp_ratio) for _ in range(config.head_depth)
        )
        self.linear_out = nn.Linear(config.dim, out_dim)

    def forward(
        self, x: Float[Tensor, "frames tokens twice_dim"], angles: Angles
    ) -> Float[Tensor, "frames tokens out_dim"]:
        """Decode; `angles` are the tokens' rotary positions."""
        x = self.projects(x).float()
        for block in self.blocks:
            x = block(x, angles)
        out: Tensor = self.linear_out(x)
        return out


class PixelHead(nn.Module):
    """Each token to the values of its pixels."""

    def __init__(self, dim: int, channels: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Linear(dim, channels * patch**2)

    def forward(
        self, x: Float[Tensor, "frames patches dim"], grid: tuple[int, int]
    ) -> Float[Tensor, "frames height width channels"]:
        """Values of the pixels; `grid` is the (rows, cols) of patches."""
        maps = self.proj(x).mT.unflatten(-1, grid)
        return F.pixel_shuffle(maps, self.patch).permute(0, 2, 3, 1)


class Residual(nn.Module):
    """Three linear layers, added to what they got."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.res_conv1, self.res_conv2, self.res_conv3 = (nn.Linear(dim, dim) for _ in range(3))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Token by token."""
        return x + F.relu(self.res_conv3(F.relu(self.res_conv2(F.relu(self.res_conv1(x))))))


class CameraHead(nn.Module):
    """The pose of a camera from the tokens of its frame."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.res_conv = nn.ModuleList(Residual(dim) for _ in range(CAMERA_LAYERS))
        self.more_mlps = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU()
        )
        self.fc_t = nn.Linear(dim, 3)
        self.fc_rot = nn.Linear(dim, 9)

    def forward(self, x: Float[Tensor, "frames patches dim"]) -> Float[Tensor, "frames 4 4"]:
        """Camera to world."""
        for block in self.res_conv:
            x = block(x)
        mean = self.more_mlps(x.mean(dim=1))
        return rigid(rotations(self.fc_rot(mean)), self.fc_t(mean))


def rotations(numbers: Float[Tensor, "frames 9"]) -> Float[Tensor, "frames 3 3"]:
    """The rotations nearest to matrices given row by row, whose rows are brought to unit length before."""
    u, _, vh = torch.linalg.svd(F.normalize(numbers.reshape(-1, 3, 3), dim=-1))
    sign = torch.linalg.det(u @ vh)
    flip = torch.stack((torch.ones_like(sign), torch.ones_like(sign), sign), dim=-1)
    nearest: Tensor = (u * flip[:, None]) @ vh
    return nearest
