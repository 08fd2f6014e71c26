"""What a client is told, checked once and kept in one place."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

import httpx
from attrs import Attribute, Factory, field, frozen

from clanforge_async._validation import is_positive, positive_id
from clanforge_async.auth import AccessKeyAuth, BearerTokenAuth
from clanforge_async.errors import ConfigurationError

CLANFORGE_URL = "https://api.multiplay.co.uk"
"""The host that the API's documents name; takes access keys."""

MULTIPLAY_URL = "https://api.multiplay.dev"
"""The host of the service's new operator; takes bearer tokens."""

_PORTS = 2**16
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)

ACCOUNT_SERVICE_ID = "CLANFORGE_ACCOUNT_SERVICE_ID"
BASE_URL = "CLANFORGE_BASE_URL"


def _auth(auth: object) -> httpx.Auth:
    if isinstance(auth, httpx.Auth):
        return auth
    match auth:
        case (str(access_key), str(secret_key)):
            return AccessKeyAuth(access_key, secret_key)
        case _:
            pass
    msg = "auth must be AccessKeyAuth, BearerTokenAuth, another httpx.Auth, or a pair of access key and secret key"
    raise ConfigurationError(msg)


def _account(account_service_id: int | None) -> int | None:
    if account_service_id is None:
        return None
    try:
        return positive_id(account_service_id, "account_service_id")
    except (TypeError, ValueError) as error:
        raise ConfigurationError(str(error)) from None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, whatever a resolver may say."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _url(base_url: object, auth: httpx.Auth) -> httpx.URL:
    if base_url is None:
        base_url = MULTIPLAY_URL if isinstance(auth, BearerTokenAuth) else CLANFORGE_URL
    if not isinstance(base_url, str | httpx.URL):
        msg = "base_url must be text"
        raise ConfigurationError(msg)
    try:
        url = httpx.URL(base_url)
        host = url.host
    except (httpx.InvalidURL, UnicodeError):  # the latter from idna, which reads internationalised hosts
        msg = "base_url is not an address"
        raise ConfigurationError(msg) from None
    if url.scheme not in {"http", "https"} or not host or not 0 < (url.port or 443) < _PORTS:
        msg = "base_url must be an absolute https address"
        raise ConfigurationError(msg)
    if url.userinfo or url.query or url.fragment:
        msg = "base_url must hold neither credentials nor a query nor a fragment"
        raise ConfigurationError(msg)
    if url.scheme == "http" and not is_loopback(host):
        msg = f"plain http would send the credentials to {host} in the clear: use https"
        raise ConfigurationError(msg)
    return url


def _timeout(timeout: object) -> float | httpx.Timeout:
    if isinstance(timeout, httpx.Timeout):
        return timeout
    if is_positive(timeout):
        return timeout
    msg = "timeout must be a positive number of seconds, or an httpx.Timeout"
    raise ConfigurationError(msg)


def _at_least_one(_options: Options, attribute: Attribute[int], value: object) -> None:
    _whole_number(attribute.name, value, least=1)


def _not_negative(_options: Options, attribute: Attribute[int], value: object) -> None:
    _whole_number(attribute.name, value, least=0)


def _whole_number(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        msg = f"{name} must be a whole number of at least {least}"
        raise ConfigurationError(msg)


def _max_rate(_options: Options, _attribute: Attribute[float | None], value: object) -> None:
    if value is not None and not is_positive(value):
        msg = "max_rate must be a positive number of requests per second, or None"
        raise ConfigurationError(msg)


def _url_of(options: Options) -> httpx.URL:
    return _url(options.base_url, options.auth)


@frozen(kw_only=True)
class Options:
    """The arguments of a `ClanforgeClient`, checked and completed.

    Raises:
        ConfigurationError: One of them cannot work, or they cannot work together.
    """

    auth: httpx.Auth = field(converter=_auth)
    account_service_id: int | None = field(converter=_account)
    base_url: str | None
    url: httpx.URL = field(init=False, default=Factory(_url_of, takes_self=True))
    timeout: float | httpx.Timeout = field(converter=_timeout)
    max_retries: int = field(validator=_not_negative)
    max_rate: float | None = field(validator=_max_rate)
    max_concurrency: int = field(validator=_at_least_one)
    max_response_bytes: int = field(validator=_at_least_one)

    def __attrs_post_init__(self) -> None:
        if self.account_service_id is None and self.url.host.rstrip(".") == httpx.URL(CLANFORGE_URL).host:
            msg = f"{CLANFORGE_URL} requires an account_service_id on every call"
            raise ConfigurationError(msg)

    @property
    def phases(self) -> httpx.Timeout:
        """How long each phase of a request may last."""
        if isinstance(self.timeout, httpx.Timeout):
            return self.timeout
        # A request that has no connection after half its time is known not to have been sent. The rest needs no timer
        # of its own, which transports would set and cancel for every chunk: the time as a whole bounds it.
        return httpx.Timeout(None, connect=self.timeout / 2, pool=self.timeout / 2)

    @property
    def seconds_per_request(self) -> float | None:
        """How long one request may last as a whole, its answer's body included; None: as long as it likes."""
        if not isinstance(self.timeout, httpx.Timeout):
            return self.timeout
        phases = (self.timeout.connect, self.timeout.write, self.timeout.read)
        return None if None in phases else sum(filter(None, phases))


def options_from(environ: Mapping[str, str], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the client's arguments, other than its credentials: what is given, else what an environment holds.

    Raises:
        ConfigurationError: ``CLANFORGE_ACCOUNT_SERVICE_ID`` is no whole number.
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
