"""`python -m conformance`: a public suite of long-running operations; exits with 1 if one ends unexpectedly."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from rich.console import Console

from conformance.run import run


def main() -> None:
    """Run the suite, and print its report."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--server", type=Path, required=True, metavar="DIR", help="the server's npm package")
    report = asyncio.run(run(parser.parse_args().server.resolve()))
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(str(report))
    for failure in report.failures:
        console.print(f"FAILED: {failure}")
    sys.exit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
