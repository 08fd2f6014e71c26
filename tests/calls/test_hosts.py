"""Which host is which: compared as a whole and as httpx would connect to it, however it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.secrets import SECRET_KEY, TOKEN, assert_hidden, shown_by

from clanforge_async import AccessKeyAuth, BearerTokenAuth, ClanforgeClient, ConfigurationError

THIS_MACHINE = [
    "127.0.0.1",
    "127.255.255.254:8080",
    "localhost",
    "LocalHost",
    "localhost:8080/api",
    "[::1]",
    "[0:0:0:0:0:0:0:1]:80",
]
NOT_WRITTEN_AS_THIS_MACHINE = [
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
NO_HOST_AT_ALL = [
    "127.0.0.01",
    "0177.0.0.1",
    "\u24dbocalhost",
    "\uff11\uff12\uff17.0.0.1",
    "localhost\t.evil",
    "[::1",
    "xn--localhost",
]
THE_DOCUMENTED_HOST = [
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


@pytest.mark.parametrize("host", THIS_MACHINE)
def test_plain_http_reaches_this_machine(host: str) -> None:
    """What is loopback without asking anybody may be talked to in the clear."""
    client(f"http://{host}")


@pytest.mark.parametrize("host", NOT_WRITTEN_AS_THIS_MACHINE)
def test_plain_http_reaches_nobody_else(host: str) -> None:
    """What only a resolver could say to be this machine may not, however much like it it looks; https may."""
    with pytest.raises(ConfigurationError, match="plain http"):
        client(f"http://{host}", account_service_id=7)
    client(f"https://{host}", account_service_id=7)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", NO_HOST_AT_ALL)
def test_what_programs_read_differently_is_refused(host: str, scheme: str) -> None:
    """A host that some read as this machine and others as another, or not at all, is no host."""
    with pytest.raises(ConfigurationError, match="base_url is not an address"):
        client(f"{scheme}://{host}")


@pytest.mark.parametrize("host", THE_DOCUMENTED_HOST)
@pytest.mark.parametrize("auth", [BearerTokenAuth(TOKEN), AccessKeyAuth("key", "secret")], ids=repr)
def test_the_documented_host_requires_an_account(auth: httpx.Auth, host: str) -> None:
    """It does so on every port and in every spelling, whoever asks."""
    with pytest.raises(ConfigurationError, match="account_service_id"):
        ClanforgeClient(auth, base_url=f"https://{host}")
    ClanforgeClient(auth, base_url=f"https://{host}", account_service_id=7)


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_no_other_host_requires_one(host: str) -> None:
    """Neither what begins like it nor what ends like it is the documented host."""
    client(f"https://{host}")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "api.multiplay.dev", "api.multiplay.co.uk@evil.com", "[::1]"]
)
@pytest.mark.parametrize("read", [str, httpx.URL])
def test_credentials_in_an_address_are_refused_and_not_shown(
    read: Callable[[str], Any], host: str, scheme: str
) -> None:
    """An address with somebody's name and password in it is refused, wherever it leads, and quoted nowhere."""
    with pytest.raises(ConfigurationError, match="neither credentials") as refused:
        client(read(f"{scheme}://{CREDENTIALS}@{host}"))
    refused.value.__traceback__ = None  # our frames hold the address
    assert_hidden(shown_by(refused.value))
