"""Depth on public test sets, through the real command: `python -m benchmarks.depth`.

Options that are not listed here are those of `recon4d run`. Finished sequences are kept in OUT/results.json and are not
run again; failed ones are.
"""

import dataclasses
import sys
from collections.abc import Sequence

from benchmarks.geometry.depth_report import means, report
from benchmarks.geometry.depth_score import lost_depth, score_depth
from benchmarks.geometry.job import parse_job
from benchmarks.geometry.run import Outcome, Reconstruct, by_command, run_all
from recon4d.core.errors import Recon4DError


def main(words: Sequence[str] | None = None, reconstruct: Reconstruct = by_command) -> None:
    """Run the command line.

    Args:
        words: Without, those of the process.
        reconstruct: How a sequence is run.
    """
    try:
        job = parse_job("depth", sys.argv[1:] if words is None else words, __doc__)
        outcome = run_all(job, score_depth, lost_depth, reconstruct, _written)
    except Recon4DError as error:
        raise SystemExit(str(error)) from error
    for pairing, found in means(outcome).items():
        for mean in found:
            print(f"{pairing}, {mean.name}: {mean.figures}, {mean.failed} of {mean.asked} failed")
    print(f"wrote {job.out / 'results.md'} and {job.out / 'results.json'}")


def _written(outcome: Outcome) -> tuple[dict[str, object], str]:
    kept = {
        pairing: [dataclasses.asdict(mean) for mean in found]
        for pairing, found in means(outcome).items()
    }
    return {"means": kept}, report(outcome)


if __name__ == "__main__":
    main()
