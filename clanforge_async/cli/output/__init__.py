"""Outputs: what a command prints, draws or writes while jobs run."""
