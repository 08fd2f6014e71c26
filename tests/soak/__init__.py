"""Soak test: thousands of watches for minutes over a failing network, with nothing lost, wrong or leaked."""
