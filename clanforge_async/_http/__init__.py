"""HTTP: configuration, session, limits, retries, and the mapping of responses and exceptions."""
