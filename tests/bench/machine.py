"""Where figures come from, without which they say little."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from attrs import field, frozen

_LIBRARIES = ("httpx", "httpcore", "aiohttp")


def _processor() -> str:
    # Only Linux has to be asked for the model; its platform module knows no more than the architecture.
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


@frozen
class Machine:
    """The machine that measures, and its software.

    Attributes:
        processor: Its model.
        cores: How many there are.
        system: The operating system.
        python: The Python's implementation and version.
        libraries: The versions of the libraries that the figures depend on.
    """

    processor: str = field(factory=_processor)
    cores: int | None = field(factory=os.cpu_count)
    system: str = field(factory=platform.system)
    python: str = field(factory=lambda: f"{platform.python_implementation()} {platform.python_version()}")
    libraries: dict[str, str] = field(factory=lambda: {name: metadata.version(name) for name in _LIBRARIES})

    def __str__(self) -> str:
        libraries = ", ".join(f"{name} {version}" for name, version in self.libraries.items())
        return f"{self.processor}, {self.cores} cores, {self.system}, {self.python}, {libraries}"
