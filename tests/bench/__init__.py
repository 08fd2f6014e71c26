"""Benchmarks of polling, scale and transports: `python -m bench`."""
