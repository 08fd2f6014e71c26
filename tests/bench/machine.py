"""The machine and the software versions of a benchmark run: results depend on them."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from attrs import field, frozen

_LIBRARIES = ("httpx", "httpcore", "aiohttp")


def _processor() -> str:
    # On Linux the platform module knows only the architecture.
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


@frozen
class Machine:
    """The machine that runs the benchmarks, and its software.

    Attributes:
        processor: Model of the processor.
        cores: Number of cores.
        system: Operating system.
        python: Python implementation and version.
        libraries: Versions of the libraries.
    """

    processor: str = field(factory=_processor)
    cores: int | None = field(factory=os.cpu_count)
    system: str = field(factory=platform.system)
    python: str = field(factory=lambda: f"{platform.python_implementation()} {platform.python_version()}")
    libraries: dict[str, str] = field(factory=lambda: {name: metadata.version(name) for name in _LIBRARIES})

    def __str__(self) -> str:
        libraries = ", ".join(f"{name} {version}" for name, version in self.libraries.items())
        return f"{self.processor}, {self.cores} cores, {self.system}, {self.python}, {libraries}"
