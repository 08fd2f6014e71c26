"""Host comparison: whole host names, as httpx connects to them, in any spelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.secrets import SECRET_KEY, TOKEN, assert_hidden, shown_by

from clanforge_async import AccessKeyAuth, BearerTokenAuth, ClanforgeClient, ConfigurationError

LOOPBACK = [
    "127.0.0.1",
    "127.255.255.254:8080",
    "localhost",
    "LocalHost",
    "localhost:8080/api",
    "[::1]",
    "[0:0:0:0:0:0:0:1]:80",
]
NOT_LOOPBACK = [
    "127.1",
    "127.0.0.1.",
    "127.0.0.1%00.evil",
    "2130706433",
    "0x7f.1",
    "0.0.0.0",  # noqa: S104 - refused
    "128.0.0.1",
    "10.0.0.1",
    "[::]",
    "[::2]",
    "[::ffff:127.0.0.1]",
    "localhost.",
    "localhost\u3002",
    "localhost.evil",
    "127.0.0.1.evil.com",
    "evil.com/localhost",
    "notlocalhost",
    "evil.localhost",
    "\u0131ocalhost",
    "evil-multiplay.dev",
    "multiplay.dev",
    "multiplay.dev.evil",
    "api.multiplay.co.uk.evil.com",
]
AMBIGUOUS = [
    "127.0.0.01",
    "0177.0.0.1",
    "\u24dbocalhost",
    "\uff11\uff12\uff17.0.0.1",
    "localhost\t.evil",
    "[::1",
    "xn--localhost",
]
DOCUMENTED_HOST = [
    "api.multiplay.co.uk",
    "API.Multiplay.CO.UK",
    "api.multiplay.co.uk.",
    "api.multiplay.co.uk:443",
    "api.multiplay.co.uk:8443",
    "api\u3002multiplay\u3002co\u3002uk",
]
OTHER_HOSTS = [
    "api.multiplay.co.uk.evil.com",
    "evilapi.multiplay.co.uk",
    "evil-api.multiplay.co.uk",
    "multiplay.co.uk",
    "api-multiplay.co.uk",
    "\u0430pi.multiplay.co.uk",
    "api.multiplay.dev",
    "evil-multiplay.dev",
    "multiplay.dev.evil",
]
CREDENTIALS = f"user:{SECRET_KEY.replace('/', '%2F').replace('?', '%3F')}"


def client(base_url: str, account_service_id: int | None = None) -> ClanforgeClient:
    return ClanforgeClient(BearerTokenAuth(TOKEN), base_url=base_url, account_service_id=account_service_id)


@pytest.mark.parametrize("host", LOOPBACK)
def test_plain_http_is_allowed_for_loopback(host: str) -> None:
    """Hosts that are loopback without name resolution may use plain http."""
    client(f"http://{host}")


@pytest.mark.parametrize("host", NOT_LOOPBACK)
def test_plain_http_is_rejected_for_other_hosts(host: str) -> None:
    """Any other host, however similar to loopback, must use https."""
    with pytest.raises(ConfigurationError, match="plain http"):
        client(f"http://{host}", account_service_id=7)
    client(f"https://{host}", account_service_id=7)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", AMBIGUOUS)
def test_an_ambiguous_host_is_rejected(host: str, scheme: str) -> None:
    """A host that some programs parse as loopback and others do not is an error."""
    with pytest.raises(ConfigurationError, match="base_url is not a URL"):
        client(f"{scheme}://{host}")


@pytest.mark.parametrize("host", DOCUMENTED_HOST)
@pytest.mark.parametrize("auth", [BearerTokenAuth(TOKEN), AccessKeyAuth("key", "secret")], ids=repr)
def test_the_documented_host_requires_an_account(auth: httpx.Auth, host: str) -> None:
    """`CLANFORGE_URL` requires ``account_service_id`` on every port, in every spelling, with any credentials."""
    with pytest.raises(ConfigurationError, match="account_service_id"):
        ClanforgeClient(auth, base_url=f"https://{host}")
    ClanforgeClient(auth, base_url=f"https://{host}", account_service_id=7)


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_no_other_host_requires_an_account(host: str) -> None:
    """A host that only begins or ends like the documented host requires no ``account_service_id``."""
    client(f"https://{host}")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "api.multiplay.dev", "api.multiplay.co.uk@evil.com", "[::1]"]
)
@pytest.mark.parametrize("read", [str, httpx.URL])
def test_credentials_in_a_url_are_rejected_and_hidden(read: Callable[[str], Any], host: str, scheme: str) -> None:
    """A URL with a user name or password is an error that does not quote it, whatever its host."""
    with pytest.raises(ConfigurationError, match="must not contain credentials") as raised:
        client(read(f"{scheme}://{CREDENTIALS}@{host}"))
    raised.value.__traceback__ = None  # the package's frames contain the URL
    assert_hidden(shown_by(raised.value))
