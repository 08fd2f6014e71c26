"""The connections of a client that was given none."""

from __future__ import annotations

import urllib.request

import httpx

from clanforge_async._options import Options, is_loopback
from clanforge_async.errors import ConfigurationError

_KEPT_ALIVE = 55.0
"""Seconds that an idle connection is kept: less than the 60 after which common gateways drop theirs."""


def make_pool(options: Options) -> httpx.AsyncHTTPTransport:
    """Return a pool of as many connections as requests may be in flight, all of them kept alive.

    Raises:
        ConfigurationError: The environment names a proxy that cannot be used.
    """
    # Fewer connections kept than allowed would close some while others are idle: httpcore counts the busy ones too.
    limits = httpx.Limits(
        max_connections=options.max_concurrency,
        max_keepalive_connections=options.max_concurrency,
        keepalive_expiry=_KEPT_ALIVE,
    )
    try:
        # Reading the trusted certificates takes a while, and plain http has no use for them.
        is_https = options.url.scheme == "https"
        return httpx.AsyncHTTPTransport(verify=is_https, limits=limits, proxy=_proxy(options.url))
    except (ValueError, ImportError, httpx.InvalidURL):
        # Whatever is wrong with it, an address of a proxy can hold a password.
        msg = "the proxy that the environment names is not one that can be used"
        raise ConfigurationError(msg) from None


def _proxy(base_url: httpx.URL) -> str | None:
    # Whatever the environment says of proxies, this machine itself is not reached through one.
    if is_loopback(base_url.host) or urllib.request.proxy_bypass(base_url.host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(base_url.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
