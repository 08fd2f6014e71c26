"""Watches as Temporal workflows: the workflows, their activities, and the reading of their histories."""
