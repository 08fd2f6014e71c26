"""One release: from a build to the machines that run it."""
