"""Encoders of images made of residual blocks of convolutions, as RAFT has them; parameters have torchvision's names."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Encoder(nn.Module):
    """Convolutions from an image to a map at an eighth of its size."""

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        block: "type[ResidualBlock | BottleneckBlock]",
        norm: type[nn.Module] | None,
        out: int,
    ) -> None:
        super().__init__()
        self.convnormrelu = conv_norm(3, widths[0], 7, norm, stride=2)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(block(before, after, norm, stride), block(after, after, norm, 1))
            for before, after, stride in zip(widths[:-1], widths[1:], (1, 2, 2), strict=True)
        )
        self.conv = nn.Conv2d(widths[-1], out, 1)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch out rows cols"]:
        """Encode."""
        x = self.convnormrelu(images)
        out: Tensor = self.conv(self.layer3(self.layer2(self.layer1(x))))
        return out


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions."""

    def __init__(self, inside: int, out: int, norm: type[nn.Module] | None, stride: int) -> None:
        super().__init__()
        self.convnormrelu1 = conv_norm(inside, out, 3, norm, stride=stride)
        self.convnormrelu2 = conv_norm(out, out, 3, norm)
        self.downsample = shortcut(inside, out, norm, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Transform, add, rectify."""
        return F.relu(self.downsample(x) + self.convnormrelu2(self.convnormrelu1(x)))


class BottleneckBlock(nn.Module):
    """A 3x3 convolution on a quarter of the channels, between two of 1x1."""

    def __init__(self, inside: int, out: int, norm: type[nn.Module] | None, stride: int) -> None:
        super().__init__()
        self.convnormrelu1 = conv_norm(inside, out // 4, 1, norm)
        self.convnormrelu2 = conv_norm(out // 4, out // 4, 3, norm, stride=stride)
        self.convnormrelu3 = conv_norm(out // 4, out, 1, norm)
        self.downsample = shortcut(inside, out, norm, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Transform, add, rectify."""
        inner = self.convnormrelu3(self.convnormrelu2(self.convnormrelu1(x)))
        return F.relu(self.downsample(x) + inner)


def conv_norm(
    inside: int,
    out: int,
    kernel: int | tuple[int, int],
    norm: type[nn.Module] | None = None,
    stride: int = 1,
    *,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution that keeps the size (over its stride), norm, ReLU."""
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (sides[0] // 2, sides[1] // 2)
    layers: list[nn.Module] = [nn.Conv2d(inside, out, kernel, stride, padding)]
    if norm is not None:
        layers.append(norm(out))
    if relu:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def shortcut(inside: int, out: int, norm: type[nn.Module] | None, stride: int) -> nn.Module:
    """What a residual block adds its work to: its input, brought to its size."""
    return (
        nn.Identity() if stride == 1 else conv_norm(inside, out, 1, norm, stride=stride, relu=False)
    )
