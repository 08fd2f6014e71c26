"""Validated client configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from attrs import Attribute, Factory, field, frozen

from clanforge_async._http.auth import AccessKeyAuth, BearerTokenAuth
from clanforge_async._validation import is_number, is_positive, positive_id
from clanforge_async.errors import ConfigurationError

CLANFORGE_URL = "https://api.multiplay.co.uk"
"""The host in the API's documentation; accepts access keys."""

MULTIPLAY_URL = "https://api.multiplay.dev"
"""The host of the service's new operator; accepts Bearer tokens."""

_PORTS = 2**16
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)

ACCOUNT_SERVICE_ID = "CLANFORGE_ACCOUNT_SERVICE_ID"
BASE_URL = "CLANFORGE_BASE_URL"


def _to_auth(auth: object) -> httpx.Auth:
    match auth:
        case httpx.Auth():
            return auth
        case (str(access_key), str(secret_key)):
            return AccessKeyAuth(access_key, secret_key)
        case _:
            pass
    msg = "auth must be AccessKeyAuth, BearerTokenAuth, another httpx.Auth, or a pair of access key and secret key"
    raise ConfigurationError(msg)


def _to_account_service_id(account_service_id: int | None) -> int | None:
    if account_service_id is None:
        return None
    try:
        return positive_id(account_service_id, "account_service_id")
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from None


def _to_url(base_url: object, auth: httpx.Auth) -> httpx.URL:
    if base_url is None:
        base_url = MULTIPLAY_URL if isinstance(auth, BearerTokenAuth) else CLANFORGE_URL
    if not isinstance(base_url, str | httpx.URL):
        msg = "base_url must be text"
        raise ConfigurationError(msg)
    try:
        url = httpx.URL(base_url)
        host = url.host
    except (httpx.InvalidURL, UnicodeError):  # `UnicodeError` is from idna, which decodes internationalized host names
        msg = "base_url is not a URL"
        raise ConfigurationError(msg) from None
    if url.scheme not in {"http", "https"} or not host or not 0 < (url.port or 443) < _PORTS:
        msg = "base_url must be an absolute https URL"
        raise ConfigurationError(msg)
    if url.userinfo or url.query or url.fragment:
        msg = "base_url must not contain credentials, a query or a fragment"
        raise ConfigurationError(msg)
    if url.scheme == "http" and not is_loopback(host):
        msg = f"plain http would send the credentials to {host} unencrypted: use https"
        raise ConfigurationError(msg)
    return url


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, judged only by its name or address."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Python 3.13 began to count the IPv6 form of an IPv4 loopback address.
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def _must_be(requirement: str, is_met: Callable[[Any], bool]) -> Callable[[ClientConfig, Attribute[Any], Any], None]:
    def validate(_config: ClientConfig, attribute: Attribute[Any], value: Any) -> None:
        if not is_met(value):
            msg = f"{attribute.name} must be {requirement}"
            raise ConfigurationError(msg)

    return validate


def _must_be_int(least: int) -> Callable[[ClientConfig, Attribute[int], Any], None]:
    return _must_be(
        f"a whole number of at least {least}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
    )


def _is_httpx_timeout(timeout: object) -> bool:
    return isinstance(timeout, httpx.Timeout) and all(
        seconds is None or is_number(seconds) for seconds in timeout.as_dict().values()
    )


@frozen(kw_only=True)
class ClientConfig:
    """The validated arguments of a `ClanforgeClient`.

    Attributes:
        url: The base URL; without `base_url`, the default for the kind of `auth`.

    Raises:
        ConfigurationError: An argument is invalid, or two of them contradict each other.
    """

    auth: httpx.Auth = field(converter=_to_auth)
    account_service_id: int | None = field(converter=_to_account_service_id)
    base_url: str | None
    url: httpx.URL = field(
        init=False, default=Factory(lambda config: _to_url(config.base_url, config.auth), takes_self=True)
    )
    timeout: float | httpx.Timeout = field(
        validator=_must_be(
            "a positive number of seconds, or an httpx.Timeout",
            lambda timeout: _is_httpx_timeout(timeout) or is_positive(timeout),
        )
    )
    max_retries: int = field(validator=_must_be_int(least=0))
    max_rate: float | None = field(
        validator=_must_be(
            "a positive number of requests per second, or None", lambda rate: rate is None or is_positive(rate)
        )
    )
    max_concurrency: int = field(validator=_must_be_int(least=1))
    max_response_bytes: int = field(validator=_must_be_int(least=1))
    transport: httpx.AsyncBaseTransport | None = field(
        validator=_must_be(
            "an httpx.AsyncBaseTransport, or None",
            lambda transport: transport is None or isinstance(transport, httpx.AsyncBaseTransport),
        )
    )

    def __attrs_post_init__(self) -> None:
        if self.account_service_id is None and self.url.host.rstrip(".") == httpx.URL(CLANFORGE_URL).host:
            msg = f"{CLANFORGE_URL} requires an account_service_id on every call"
            raise ConfigurationError(msg)

    @property
    def httpx_timeout(self) -> httpx.Timeout:
        """Limits of the phases of a request."""
        if isinstance(self.timeout, httpx.Timeout):
            return self.timeout
        # A request that has no connection after half its time was certainly not sent. The other phases need no limit:
        # the limit of the whole request covers them, and transports would start and cancel a timer for every chunk.
        return httpx.Timeout(None, connect=self.timeout / 2, pool=self.timeout / 2)

    @property
    def seconds_per_request(self) -> float | None:
        """Limit of a whole request with its response body, in seconds; None: unlimited."""
        if not isinstance(self.timeout, httpx.Timeout):
            return self.timeout
        phases = (self.timeout.connect, self.timeout.write, self.timeout.read)
        return None if None in phases else sum(filter(None, phases))


def arguments_from_env(environ: Mapping[str, str], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a client's arguments, without credentials, from `overrides` and the environment, in this order.

    Raises:
        ConfigurationError: ``CLANFORGE_ACCOUNT_SERVICE_ID`` is not a whole number.
    """
    found: dict[str, Any] = {}
    if base_url := environ.get(BASE_URL, "").strip():
        found["base_url"] = base_url
    account = environ.get(ACCOUNT_SERVICE_ID, "").strip()
    if account and "account_service_id" not in overrides:
        if not _DIGITS.fullmatch(account):
            msg = f"{ACCOUNT_SERVICE_ID} must be a whole number"
            raise ConfigurationError(msg)
        found["account_service_id"] = int(account)
    return {**found, **overrides}
