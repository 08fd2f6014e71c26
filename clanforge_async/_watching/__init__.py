"""Internals of the watcher: watches, shared polls, callbacks, results and telemetry."""
