"""Thousands of watches for minutes over a failing network, and nothing lost, wrong or left over."""
