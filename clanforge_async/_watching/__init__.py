"""What happens between a watcher and its jobs."""
