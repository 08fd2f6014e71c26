"""What the project claims of its speed and thrift, measured: `python -m bench`."""
