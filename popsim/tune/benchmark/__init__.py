"""Benchmarks: held-out answers of a file are predicted by an engine, and scored beside baselines and controls."""
