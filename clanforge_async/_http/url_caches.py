"""Caches of URLs in the libraries below a transport."""

from __future__ import annotations

import sys

_CACHED = ("encode_url", "pre_encoded_url", "build_pre_encoded_url")


def clear_url_caches() -> None:
    """Clear the caches that keep whole URLs with their queries, which can hold the secrets of a source."""
    # aiohttp parses URLs with yarl, which keeps the latest 128 and has no public way to forget them.
    yarl = sys.modules.get("yarl._url")
    for name in _CACHED:
        clear = getattr(getattr(yarl, name, None), "cache_clear", None)
        if clear is not None:
            clear()
