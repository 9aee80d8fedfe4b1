"""The loop of every training: the same weights to the last bit whether it was interrupted or not (CPU).

Numbers here that name no source were set by hand.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recon4d.core.errors import ConfigError
from recon4d.core.progress import Progress

MAX_NORM = 1.0
"""Longest gradient of a step."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What learns, how often it is judged and saved, and where its state is."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    learning: Sequence[nn.Parameter]
    """Whose gradients together are no longer than `MAX_NORM`."""
    judge_every: int
    """Steps between two judgements; the last step is always judged, ..."""
    save_every: int
    """... and saved."""
    path: Path
    """Holds the last saved state."""
    key: str
    """What must not differ when a training goes on."""

    def run(
        self,
        steps: range,
        step: Callable[[int], float],
        judge: Callable[[int, float], None],
        save: Callable[[int], None],
        progress: Progress,
    ) -> None:
        """Take the steps that are not taken yet.

        Args:
            steps: Their numbers, from 0.
            step: Does one, with `learn`, and returns its loss.
            judge: Given the number of steps that are done, and the loss of the last.
            save: Given the number of steps that are done; does so with `save`.
            progress: Told about every step.
        """
        with progress("train", total=steps.stop) as counter:
            counter.advance(steps.start)
            for done, at in enumerate(steps, start=steps.start + 1):
                self.optimizer.zero_grad(set_to_none=True)
                loss = step(at)
                counter.advance()
                if done % self.judge_every == 0 or done == steps.stop:
                    judge(done, loss)
                if done % self.save_every == 0 or done == steps.stop:
                    save(done)

    def learn(self, loss: Float[Tensor, ""]) -> float:
        """Go down the gradient of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.learning, MAX_NORM)
        self.optimizer.step()
        return float(loss.detach())

    def save(self, weights: Mapping[str, Tensor], **kept: object) -> None:
        """Write the state: what is learnt of the network, and what else the training goes on from."""
        growing = self.path.with_suffix(".growing")
        state = {"network": weights, "optimizer": self.optimizer.state_dict(), **kept}
        torch.save({"options": self.key, **state}, growing)
        os.replace(growing, self.path)

    def resume(self, device: str) -> dict[str, Any]:
        """Load the saved state, and return what was kept; nothing where there is none.

        Raises:
            ConfigError: It is of other options.
        """
        if not self.path.exists():
            return {}
        state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
        if state["options"] != self.key:
            raise ConfigError(
                f"{self.path} was saved by a training with other options; give the same ones to go on, or another --out"
            )
        self.network.load_state_dict(state["network"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        return state
