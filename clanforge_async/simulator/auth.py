"""Who may call: accounts, their credentials, and the check of both.

Hosts differ: one takes HTTP Basic with an access key pair and wants ``accountserviceid`` on every call, its successor
takes a Bearer token, which says by itself whose it is. The simulator takes either.
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
    """An account and the credentials that open it.

    Two accounts may share credentials, as one studio's keys open several account services. Credentials that are
    left empty open nothing.

    Attributes:
        account_service_id: What calls name as ``accountserviceid``.
        access_key: The first half of the key pair.
        secret_key: The second half.
        token: The Bearer token.
    """

    account_service_id: int
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


DEMO_ACCOUNT = Account(
    account_service_id=1234,
    access_key="demo-access-key",
    secret_key="demo-secret-key",  # noqa: S106 - opens nothing but a simulator
    token="demo-token",  # noqa: S106
)
"""The account that a simulator has unless it is given others."""


def identify(accounts: Iterable[Account], authorization: str | None, account_service_id: str | None) -> Account:
    """Return the account that a request speaks for.

    Args:
        accounts: All that there are.
        authorization: The ``Authorization`` header.
        account_service_id: The query parameter ``accountserviceid``.

    Raises:
        RequestRefusedError: 401 for a header that is missing, malformed or opens no account; 400 for an
            ``accountserviceid`` that is malformed, or missing with Basic; 403 for an account that these credentials
            do not open.
    """
    scheme, _, credentials = (authorization or "").partition(" ")
    opened = [account for account in accounts if _opens(scheme.lower(), credentials.strip(), account)]
    if not opened:
        raise RequestRefusedError(401, "unauthorized")
    if account_service_id is None and scheme.lower() == "bearer":
        return opened[0]
    if account_service_id is None:
        raise RequestRefusedError(400, "missing parameter: accountserviceid")
    if not _ACCOUNT_SERVICE_ID.fullmatch(account_service_id):
        raise RequestRefusedError(400, "malformed parameter: accountserviceid")
    for account in opened:
        if account.account_service_id == int(account_service_id):
            return account
    raise RequestRefusedError(403, "forbidden")


def _opens(scheme: str, credentials: str, account: Account) -> bool:
    if scheme == "bearer" and account.token:
        return hmac.compare_digest(credentials.encode(), account.token.encode())
    if scheme == "basic" and account.access_key and account.secret_key:
        return hmac.compare_digest(_decoded(credentials), f"{account.access_key}:{account.secret_key}".encode())
    return False


def _decoded(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return b""
