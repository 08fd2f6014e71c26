"""Decides which hosts are reached without a proxy: `NO_PROXY`, in the forms that curl and httpx accept."""

from __future__ import annotations

import ipaddress
import re
import urllib.request
from contextlib import suppress

import httpx

_ENTRY = re.compile(r"(?:(?P<scheme>[a-z]+)://)?(?P<host>\[[^\]]*\]|[^:]*|[^:]*(?::[^:]*){2,})(?::(?P<port>[0-9]+))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def bypasses_proxy(url: httpx.URL) -> bool:
    """Whether the environment, or the operating system's settings, exempt a host from the proxy."""
    no_proxy: str = urllib.request.getproxies_environment().get("no", "")
    if any(_matches(entry, url) for entry in re.split(r"[\s,]+", no_proxy.lower()) if entry):
        return True
    return bool(urllib.request.proxy_bypass(url.host))


def _matches(entry: str, url: httpx.URL) -> bool:
    if entry == "*":
        return True
    match = _ENTRY.fullmatch(entry)
    if match is None or match["scheme"] not in (None, url.scheme):
        return False
    if match["port"] is not None and int(match["port"]) != (url.port or _DEFAULT_PORTS[url.scheme]):
        return False
    return _is_host(match["host"].strip("[]"), url.host)


def _is_host(name: str, host: str) -> bool:
    with suppress(ValueError):  # a name, not an address or a network of addresses
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
