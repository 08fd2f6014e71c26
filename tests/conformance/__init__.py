"""A public suite of long-running operations, polled by the real client and watcher: `python -m conformance`."""
