"""When to poll next: no I/O, no clock."""
