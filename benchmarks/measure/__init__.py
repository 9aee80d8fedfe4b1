"""How benchmarks measure: runs of the real command, seen from outside."""
