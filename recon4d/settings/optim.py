"""Settings of the batch optimizer."""

from dataclasses import dataclass

from recon4d.core.errors import ConfigError
from recon4d.settings.option import Choice, check_range, check_ranges, option


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Settings of the batch optimizer; `--set optim.NAME=VALUE` on the command line."""

    kernel_px: float = option(0.3, low=0.01, high=10.0)
    """Largest scale of the robust kernel at the end, which follows the noise of the flow: flow residuals above it
    count less and less. Pixels of the working size."""
    grid_px: int = option(16, low=4, high=128)
    """Distance between depth samples while cameras are optimised, less where frames are too small for 48 of them.
    Pixels of the working size."""
    max_steps: int = option(30, low=1, high=1000)
    """Most Levenberg-Marquardt steps per solve."""
    clip_frames: int = option(80, low=8, high=1000)
    """Most frames of a clip, with those that it shares with its neighbours: memory is that of one clip per worker."""
    whole_frames: int = 100
    """Longer videos are divided into clips that overlap; their keyframes are aligned together. Frames."""
    clip_overlap: int = 8
    """Frames that neighbouring clips share at least."""
    keyframes: str = "fixed"
    """`fixed` while clips are aligned between them, or `free`: to measure what fixing is good for."""

    def __post_init__(self) -> None:
        check_ranges(self, "optim.")
        check_range("optim.whole_frames", self.whole_frames, 8, 1_000_000)
        check_range("optim.clip_overlap", self.clip_overlap, 3, 500)
        if self.whole_frames < self.clip_frames:
            raise ConfigError(
                f"optim.whole_frames is {self.whole_frames} and optim.clip_frames {self.clip_frames}, but what is no "
                "longer than a clip is aligned whole; raise optim.whole_frames, or lower optim.clip_frames"
            )
        if self.clip_overlap > self.clip_frames // 2:
            raise ConfigError(
                f"optim.clip_overlap is {self.clip_overlap}, more than half of optim.clip_frames ({self.clip_frames}); "
                "lower optim.clip_overlap with it, or raise optim.clip_frames"
            )
        Choice(now=("fixed", "free")).check("optim.keyframes", self.keyframes)
