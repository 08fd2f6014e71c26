"""When to poll next: forecasts of a job's end, and the pauses that follow from them; no I/O, no clock."""
