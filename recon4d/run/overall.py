"""How far a clip is: its stages are known beforehand, and about what each costs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recon4d.core.progress import Counter

Plan = tuple[tuple[str, float], ...]
"""The stages of a piece of work in their order, by the names that they give a `Progress`, and what each costs."""
ROUND: Plan = (("masks", 20.0), ("optimise", 5.0))
"""The first round, seconds. Shares are as measured in a run of 90 frames of 512x384 px with the usual options on two
cores."""
LATER_ROUND: Plan = (("masks", 1.0), ("optimise", 8.0))
"""Each of the rounds after it, seconds."""
BEGIN: Plan = (("flow", 17.0), ("initialise", 11.0), ("features", 11.0), *ROUND)
"""From the flow to the first round, seconds."""
GUIDED: Plan = (("guided flow", 15.0),)
"""Where there are later rounds, seconds."""
END: Plan = (("refine", 1.0), ("depth", 11.0))
"""After the last round, seconds."""
BETWEEN: Plan = (("align clip", 5.0), *END)
"""A clip between its keyframes, seconds."""
READ: Plan = (("read", 2.0),)
"""The input, seconds."""
LONG_PLAN: Plan = (
    *READ,
    ("clips alone", 80.0),
    ("keyframes", 8.0),
    ("clips between keyframes", 30.0),
)
"""A long video, seconds; measured as above, with 300 frames in clips."""


def run_plan(loop: int) -> Plan:
    """The stages of a video that is aligned in one piece."""
    return (*READ, *rounds_plan(loop), *END)


def rounds_plan(loop: int) -> Plan:
    """The stages from the flow to the last round of masks and optimization."""
    return (*BEGIN, *(GUIDED if loop else ()), *LATER_ROUND * loop)


def cost_of(plan: Plan) -> float:
    """What all stages of a plan cost."""
    return sum((cost for _, cost in plan), 0.0)


class Overall:
    """A `recon4d.core.progress.Progress` that tells how much of a plan is done.

    Stages of the plan that do not come (rounds that settle early) count as done when a later one begins; a stage that
    is not in the plan counts as nothing.
    """

    def __init__(self, plan: Plan, tell: Callable[[str, float], None]) -> None:
        self._plan, self._at, self._tell = plan, 0, tell

    @contextmanager
    def __call__(self, stage: str, total: int) -> Iterator[Counter]:
        """Begin a stage: `tell` gets its name and the share of the whole plan, 0 to 1, as it grows."""
        names = [name for name, _ in self._plan[self._at :]]
        before = self._plan[: self._at]
        cost = 0.0
        if stage in names:
            here = self._at + names.index(stage)
            before, cost, self._at = self._plan[:here], self._plan[here][1], here + 1
        whole, first = cost_of(self._plan), cost_of(before)
        counting = _Counting(total, lambda part: self._tell(stage, (first + part * cost) / whole))
        counting.advance(0)
        yield counting
        self._tell(stage, (first + cost) / whole)


class _Counting:
    def __init__(self, total: int, tell: Callable[[float], None]) -> None:
        self._total, self._done, self._tell = max(total, 1), 0, tell

    def advance(self, count: int = 1) -> None:
        self._done += count
        self._tell(min(self._done / self._total, 1.0))


def noting_progress(path: Path, plan: Plan) -> Overall:
    """Note the share of a plan that is done in a file: what a worker, wherever it is, tells the process that waits."""

    def note(_: str, share: float) -> None:
        path.write_text(f"{share:.4f}", encoding="utf-8")

    path.parent.mkdir(parents=True, exist_ok=True)
    return Overall(plan, note)


def noted(path: Path) -> None:
    """Note that a piece of work is done, which may have been found done."""
    path.write_text("1", encoding="utf-8")


def noted_share(path: Path) -> float:
    """The share, 0 to 1, that is noted in a file; 0 where there is none."""
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not begun, or just being written
        return 0.0


class Watch:
    """Tells a counter how far jobs are that note their shares: `tick` of `recon4d.run.executor.Executor.run`."""

    PARTS = 1000
    """Parts of a job that the counter counts."""

    def __init__(self, counter: Counter, notes: Sequence[Path]) -> None:
        self._counter, self._notes, self._told = counter, notes, 0

    def __call__(self) -> None:
        """Advance the counter to what is noted."""
        done = int(sum(noted_share(path) for path in self._notes) * self.PARTS)
        if done > self._told:
            self._counter.advance(done - self._told)
            self._told = done
