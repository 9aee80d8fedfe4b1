"""Camera poses on public test sets, through the real command: `python -m benchmarks.pose`.

Options that are not listed here are those of `recon4d run`. Finished sequences are kept in OUT/results.json and are not
run again; failed ones are.
"""

from collections.abc import Sequence

from benchmarks.scores.geometry import Reconstruct, by_command, run_kind
from benchmarks.scores.poses import Poses


def main(words: Sequence[str] | None = None, reconstruct: Reconstruct = by_command) -> None:
    """Run the command line with a way to reconstruct a sequence."""
    run_kind(Poses, words, __doc__, reconstruct)


if __name__ == "__main__":
    main()
