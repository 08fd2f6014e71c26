"""Caches of URLs in the libraries below a transport."""

from __future__ import annotations

import sys

_CACHED = ("encode_url", "pre_encoded_url", "build_pre_encoded_url")


def clear_url_caches() -> None:
    """Clear the caches of whole URLs, whose queries can contain the secrets of a source."""
    # aiohttp parses URLs with yarl, which caches the latest 128 and has no public function to clear that cache.
    yarl = sys.modules.get("yarl._url")
    for name in _CACHED:
        clear = getattr(getattr(yarl, name, None), "cache_clear", None)
        if clear is not None:
            clear()
