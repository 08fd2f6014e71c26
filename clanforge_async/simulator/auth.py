"""Accounts, their credentials, and the authorization of requests.

The API's two hosts differ. The old one accepts HTTP Basic or AWS Signature Version 4 with an access key pair, and
requires ``accountserviceid`` on every call. Its successor accepts a Bearer token, which also identifies the account.
The simulator accepts all three.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import TYPE_CHECKING

from attrs import field, frozen

from clanforge_async.simulator.errors import RequestRefusedError
from clanforge_async.simulator.signature import SignedRequest, is_signed

if TYPE_CHECKING:
    from collections.abc import Iterable

_ACCOUNT_SERVICE_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@frozen(kw_only=True)
class Account:
    """An account and its credentials.

    Several accounts may share credentials, since the keys of a studio can be valid for several account services. Empty
    credentials never match.

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


def identify(
    accounts: Iterable[Account], request: SignedRequest, account_service_id: str | None, now: float
) -> Account:
    """Return the account of a request's sender.

    Args:
        accounts: All accounts.
        request: The request.
        account_service_id: The query parameter ``accountserviceid``, or the account in the path.
        now: The server's time, in Unix seconds.

    Raises:
        RequestRefusedError: 401 for credentials that are missing, malformed or wrong; 400 for an ``accountserviceid``
            that is malformed, or missing without a Bearer token; 403 for an account with other credentials.
    """
    scheme = request.scheme
    matching = [account for account in accounts if _has_credentials(request, account, now)]
    if not matching:
        raise RequestRefusedError(401, "unauthorized")
    if account_service_id is None and scheme == "bearer":
        return matching[0]
    if account_service_id is None:
        raise RequestRefusedError(400, "missing parameter: accountserviceid")
    if not _ACCOUNT_SERVICE_ID.fullmatch(account_service_id):
        raise RequestRefusedError(400, "malformed parameter: accountserviceid")
    for account in matching:
        if account.account_service_id == int(account_service_id):
            return account
    raise RequestRefusedError(403, "forbidden")


def _has_credentials(request: SignedRequest, account: Account, now: float) -> bool:
    if request.scheme == "bearer" and account.token:
        return hmac.compare_digest(request.credentials.encode(), account.token.encode())
    if not (account.access_key and account.secret_key):
        return False
    if request.scheme == "basic":
        return hmac.compare_digest(_decode(request.credentials), f"{account.access_key}:{account.secret_key}".encode())
    return is_signed(request, account.access_key, account.secret_key, now)


def _decode(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return b""
