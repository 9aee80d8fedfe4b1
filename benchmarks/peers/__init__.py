"""The official code's numbers against ours, for `python -m benchmarks.parity`."""
