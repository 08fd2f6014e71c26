"""What the project promises in numbers, measured: `python -m bench.transports` and its neighbours."""
