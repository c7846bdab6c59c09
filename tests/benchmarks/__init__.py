"""Benchmarks of Interlock and, in the same run, of the systems beside it."""
