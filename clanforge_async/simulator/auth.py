"""Accounts, their credentials, and the authorization of requests.

The API's two hosts differ: one takes HTTP Basic with an access key pair and requires ``accountserviceid`` on every
call, its successor takes a Bearer token, which identifies the account by itself. The simulator takes either.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import TYPE_CHECKING

from attrs import field, frozen

from clanforge_async.simulator.errors import RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

_ACCOUNT_SERVICE_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@frozen(kw_only=True)
class Account:
    """An account and its credentials.

    Several accounts may share credentials, as one studio's keys may be for several account services. Empty credentials
    never match.

    Attributes:
        account_service_id: The query parameter ``accountserviceid``.
        access_key: The key pair's user name in HTTP Basic.
        secret_key: The key pair's password in HTTP Basic.
        token: The Bearer token.
    """

    account_service_id: int
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


DEMO_ACCOUNT = Account(
    account_service_id=1234,
    access_key="demo-access-key",
    secret_key="demo-secret-key",  # noqa: S106 - valid for a simulator only
    token="demo-token",  # noqa: S106
)
"""The default account of a simulator."""


def identify(accounts: Iterable[Account], authorization: str | None, account_service_id: str | None) -> Account:
    """Return the account of a request's sender.

    Args:
        accounts: All accounts.
        authorization: The ``Authorization`` header.
        account_service_id: The query parameter ``accountserviceid``.

    Raises:
        RequestRefusedError: 401 for a header that is missing, malformed or wrong; 400 for an ``accountserviceid`` that
            is malformed, or missing with Basic; 403 for an account of other
            credentials.
    """
    scheme, _, credentials = (authorization or "").partition(" ")
    matching = [account for account in accounts if _has_credentials(scheme.lower(), credentials.strip(), account)]
    if not matching:
        raise RequestRefusedError(401, "unauthorized")
    if account_service_id is None and scheme.lower() == "bearer":
        return matching[0]
    if account_service_id is None:
        raise RequestRefusedError(400, "missing parameter: accountserviceid")
    if not _ACCOUNT_SERVICE_ID.fullmatch(account_service_id):
        raise RequestRefusedError(400, "malformed parameter: accountserviceid")
    for account in matching:
        if account.account_service_id == int(account_service_id):
            return account
    raise RequestRefusedError(403, "forbidden")


def _has_credentials(scheme: str, credentials: str, account: Account) -> bool:
    if scheme == "bearer" and account.token:
        return hmac.compare_digest(credentials.encode(), account.token.encode())
    if scheme == "basic" and account.access_key and account.secret_key:
        return hmac.compare_digest(_decode(credentials), f"{account.access_key}:{account.secret_key}".encode())
    return False


def _decode(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return b""
