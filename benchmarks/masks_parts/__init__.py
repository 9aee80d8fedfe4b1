"""Scores and page of the benchmark of masks."""
