"""The benchmarks of poses, depth and masks: what is run, how it is compared, and the pages about it."""
