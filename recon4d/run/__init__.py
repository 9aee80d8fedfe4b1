"""A run, from an input to a result: stages, rounds of masks and optimization, report. Uses every room below."""
