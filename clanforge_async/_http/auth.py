"""Credentials. Their reprs show no secret, and they cannot be pickled, since others may read the pickle."""

from __future__ import annotations

import base64
import re
from collections.abc import Generator, Mapping
from typing import NoReturn

import httpx

from clanforge_async.errors import ConfigurationError

ACCESS_KEY = "CLANFORGE_ACCESS_KEY"
SECRET_KEY = "CLANFORGE_SECRET_KEY"  # noqa: S105 - name of the variable, not its value
TOKEN = "CLANFORGE_TOKEN"  # noqa: S105 - name of the variable, not its value

_VISIBLE = re.compile(r"[\x21-\x7e]+")


class _HeaderAuth(httpx.Auth):
    """Sends a fixed ``Authorization`` header."""

    _header: str

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header; the response is not used."""
        request.headers["Authorization"] = self._header
        yield request

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __reduce__(self) -> NoReturn:
        msg = f"{type(self).__name__} contains a secret and cannot be pickled or copied"
        raise TypeError(msg)


class AccessKeyAuth(_HeaderAuth):
    """HTTP Basic with an access key and a secret key, as ``api.multiplay.co.uk`` requires.

    Raises:
        ConfigurationError: A key is empty or not text, or the access key contains a colon, which is the separator in
            HTTP Basic.
    """

    def __init__(self, access_key: str, secret_key: str) -> None:
        for name, key in (("access key", access_key), ("secret key", secret_key)):
            if not isinstance(key, str) or not key or not key.isprintable():
                msg = f"the {name} must be text, not empty and without control characters"
                raise ConfigurationError(msg)
        if ":" in access_key:
            msg = "an access key must not contain a colon"
            raise ConfigurationError(msg)
        self._header = "Basic " + base64.b64encode(f"{access_key}:{secret_key}".encode()).decode()


class BearerTokenAuth(_HeaderAuth):
    """Bearer token, as ``api.multiplay.dev`` requires.

    Raises:
        ConfigurationError: The token is empty, or contains a space, a newline or another character that is not allowed
            in a header.
    """

    def __init__(self, token: str) -> None:
        if not isinstance(token, str) or not _VISIBLE.fullmatch(token):
            msg = "the token must be visible ASCII text without spaces (does it end with a newline?)"
            raise ConfigurationError(msg)
        self._header = f"Bearer {token}"


def auth_from_env(environ: Mapping[str, str]) -> AccessKeyAuth | BearerTokenAuth:
    """Return the credentials from environment variables; empty variables count as unset.

    Raises:
        ConfigurationError: The environment contains no credentials, half a pair, or both kinds.
    """
    match tuple(environ.get(name, "").strip() for name in (ACCESS_KEY, SECRET_KEY, TOKEN)):
        case ("", "", ""):
            msg = f"no credentials: set {ACCESS_KEY} and {SECRET_KEY}, or {TOKEN}"
        case ("", "", token):
            return BearerTokenAuth(token)
        case ("", _, ""):
            msg = f"{SECRET_KEY} is set but {ACCESS_KEY} is not"
        case (_, "", ""):
            msg = f"{ACCESS_KEY} is set but {SECRET_KEY} is not"
        case (access_key, secret_key, ""):
            return AccessKeyAuth(access_key, secret_key)
        case _:
            msg = f"set either {TOKEN} or {ACCESS_KEY} with {SECRET_KEY}, not both"
    raise ConfigurationError(msg)
