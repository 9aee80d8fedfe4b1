"""What the benchmarks of poses and of depth share: jobs, runs, scores, pages."""
