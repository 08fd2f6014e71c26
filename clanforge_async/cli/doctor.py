"""``clanforge doctor``: checks everything that a call needs, step by step, and says how to fix problems."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from attrs import field, frozen

from clanforge_async import (
    ClanforgeClient,
    ClanforgeError,
    ConfigurationError,
    NotFoundError,
    TransportError,
)
from clanforge_async._http import connection_pool
from clanforge_async._http.request import ApiRequest, RawResponse
from clanforge_async.cli.errors import COMPLETED, exit_status, hint
from clanforge_async.cli.formatting import escape_and_truncate, format_count, format_duration, print_line, stdout_styler
from clanforge_async.cli.parameters import ConnectionOptions

_TIMEOUT = 10.0
"""Maximum seconds of each step."""
_CREDENTIALS = {"AccessKey": "an access key", "BearerToken": "a token"}
_TLS_ADVICE = (
    "if a private authority issued the certificate, set SSL_CERT_FILE to the authority's; else check that the host "
    "is the right one"
)
_DATE_PRECISION = 2.0
"""Smallest measurable difference between the clocks in seconds, since a response's time is in whole seconds."""
_TOLERATED_SKEW = 60.0
"""Largest harmless difference between the clocks in seconds; above it, displayed ages and estimates are misleading."""


@frozen
class Finding:
    """The result of one step.

    Attributes:
        text: The result.
        advice: How to fix a problem; empty without one.
        error: The failure; None if the step succeeded.
    """

    text: str
    advice: str = ""
    error: ClanforgeError | None = None

    @property
    def verdict(self) -> str:
        """One word for the result."""
        if self.error is not None:
            return "failed"
        return "warning" if self.advice else "ok"


@frozen(eq=False)
class _SkewRecorder:
    """Records, for each response, how many seconds the local clock was ahead of the server's."""

    skews: list[float] = field(factory=list[float])

    def sent(self, _request: ApiRequest[Any], /) -> None:
        """Ignore the request."""

    def ended(self, _request: ApiRequest[Any], response: RawResponse | None, _error: BaseException | None, /) -> None:
        """Read the response's ``Date``."""
        date = None if response is None else response.headers.get("Date")
        if date is not None:
            with suppress(ValueError):
                self.skews.append((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds())


async def examine(connection: ConnectionOptions, *, quiet: bool) -> int:
    """Run the steps up to the first that fails, print a line for each, and return the exit status.

    Args:
        connection: Options that override the environment.
        quiet: Print only warnings and failures.
    """
    try:
        client = connection.client(max_retries=0, timeout=_TIMEOUT)
    except ConfigurationError as error:
        advice = hint(error) or "correct the environment variables; `clanforge doctor --help` has the options"
        return _print("configuration", Finding(str(error), advice, error), quiet=quiet)
    async with client:
        examination = Examination(client)
        for name, step in examination.steps.items():
            status = _print(name, await step(), quiet=quiet)
            if status != COMPLETED:
                return status
    if not quiet:
        print_line("All checks passed.")
    return COMPLETED


def _print(step: str, finding: Finding, *, quiet: bool) -> int:
    if finding.verdict != "ok" or not quiet:
        print_line(f"{stdout_styler()(finding.verdict)}{' ' * (9 - len(finding.verdict))}{step:15}{finding.text}")
        if finding.advice:
            print_line(f"{' ' * 24}{finding.advice}")
    return COMPLETED if finding.error is None else exit_status(finding.error)


class Examination:
    """The steps of the doctor. Each step depends on the previous ones.

    Args:
        client: A client that does not retry calls.

    Attributes:
        steps: The steps by name, in their order.
    """

    def __init__(self, client: ClanforgeClient) -> None:
        self._client = client
        self._config = client._config  # noqa: SLF001 - not public: other programs know their own arguments
        self._recorder = client._session.observer = _SkewRecorder()  # noqa: SLF001 - as in `ApiMonitor`
        self._proxy: httpx.URL | None = None
        self._context: ssl.SSLContext | None = None
        self.steps: dict[str, Callable[[], Awaitable[Finding]]] = {
            "configuration": self.configuration,
            "proxy": self.proxy,
            "certificates": self.certificates,
            "DNS": self.dns,
            "connection": self.connection,
            "TLS": self.tls,
            "credentials": self.credentials,
            "clock": self.clock,
        }

    async def configuration(self) -> Finding:
        """Name the host, the kind of credentials and the account."""
        config = self._config
        account = config.account_service_id
        auth = type(config.auth).__name__.removesuffix("Auth")
        return Finding(f"{config.url} with {_CREDENTIALS.get(auth, auth)}, account service ID {account or 'not set'}")

    async def proxy(self) -> Finding:
        """Name the proxy that calls use."""
        try:
            connection_pool.make_pool(self._config)
        except ConfigurationError as error:
            if not isinstance(error.__cause__, OSError):  # a certificate error is reported by the next step
                return Finding(str(error), "correct HTTPS_PROXY", error)
        proxy = connection_pool.find_proxy(self._config.url)
        self._proxy = None if proxy is None else httpx.URL(proxy)
        return Finding("none" if self._proxy is None else connection_pool.host_and_port(self._proxy))

    async def certificates(self) -> Finding:
        """Name the trusted certificates."""
        if self._config.url.scheme == "http":
            return Finding("not needed on loopback")
        try:
            self._context = connection_pool.make_ssl_context(self._config)
        except ConfigurationError as error:
            return Finding(str(error), "correct the variable, or the file that it names", error)
        name = next((name for name in connection_pool.CERTIFICATE_VARIABLES if os.environ.get(name)), None)
        return Finding("those of the package certifi" if name is None else f"{name}={os.environ[name]}")

    async def dns(self) -> Finding:
        """Look up the host, or the proxy."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(_TIMEOUT):
                found = await asyncio.get_running_loop().getaddrinfo(*self._address)
        except OSError as error:
            return self._failure(error, "check the host name in the base URL or the proxy's, and DNS")
        return Finding(f"{self._address[0]} is {found[0][4][0]} ({_format_elapsed(began)})")

    async def connection(self) -> Finding:
        """Connect to the host, or to the proxy."""
        if self._proxy is not None:
            return await self._connect(None, "check HTTPS_PROXY, or exempt the host with NO_PROXY")
        return await self._connect(None, "check the host and the port, firewalls, and whether a proxy is needed")

    async def tls(self) -> Finding:
        """Check the server's certificate."""
        if self._context is None:
            return Finding("not used on loopback")
        if self._proxy is not None:
            return Finding("checked with the next step, through the proxy")
        return await self._connect(self._context, _TLS_ADVICE)

    async def credentials(self) -> Finding:
        """Read the account's games: changes nothing, and needs valid credentials."""
        account = self._config.account_service_id
        try:
            options = await self._client.images.options()
        except NotFoundError as error:
            return Finding(escape_and_truncate(str(error)), "check the base URL", error)
        except ClanforgeError as error:
            return Finding(escape_and_truncate(str(error)), hint(error), error)
        games = format_count(len(options.games), "game")
        return Finding(f"accepted; account {account} has {games}" if account else f"accepted; {games}")

    async def clock(self) -> Finding:
        """Compare the local clock with the server's."""
        if not self._recorder.skews:
            return Finding("the server sends no time")
        skew = self._recorder.skews[-1]
        if abs(skew) < _DATE_PRECISION:
            return Finding("in step with the server's")
        text = f"{format_duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the server's"
        return Finding(text, "synchronise the clock (NTP)" if abs(skew) > _TOLERATED_SKEW else "")

    @property
    def _address(self) -> tuple[str, int]:
        url = self._proxy or self._config.url
        return url.host, int(connection_pool.host_and_port(url).rpartition(":")[2])

    async def _connect(self, context: ssl.SSLContext | None, advice: str) -> Finding:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_TIMEOUT):
                _, writer = await asyncio.open_connection(*self._address, ssl=context)
        except OSError as error:
            return self._failure(error, advice)
        elapsed = _format_elapsed(began)
        tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        writer.transport.abort()
        if tls is None:
            return Finding(f"established ({elapsed})")
        certificate: dict[str, Any] = tls.getpeercert() or {}
        return Finding(f"{tls.version()}, certificate valid until {certificate.get('notAfter')} ({elapsed})")

    def _failure(self, error: OSError, advice: str) -> Finding:
        host, port = self._address
        reason = str(error)
        if isinstance(error, TimeoutError):
            reason = f"no response within {_TIMEOUT:.0f} s"
        elif isinstance(error, ConnectionError) and error.errno is not None:
            reason = os.strerror(error.errno)  # asyncio's text contains only the address
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError):
            advice = "check that the server speaks https on this port"
        return Finding(f"{host}:{port}: {reason}", advice, TransportError(reason, request_sent=False))


def _format_elapsed(began: float) -> str:
    return f"{1000 * (time.monotonic() - began):.0f} ms"
