"""AWS Signature Version 4 for httpx, as a public program signs its requests."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from urllib.parse import quote

import httpx


class AwsSigner(httpx.Auth):
    """Signs requests for a region and a service.

    Args:
        access_key: The access key.
        secret_key: The secret key.
        clock: Returns the signer's time, in Unix seconds.
        scope: The region and the service.
    """

    def __init__(
        self, access_key: str, secret_key: str, clock: Callable[[], float], scope: str = "eu-west-1/cf"
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._clock = clock
        self._scope = scope

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the time and the signature."""
        timestamp = f"{datetime.fromtimestamp(self._clock(), UTC):%Y%m%dT%H%M%SZ}"
        scope = f"{timestamp[:8]}/{self._scope}/aws4_request"
        pairs = sorted(
            (quote(name, safe=""), quote(value, safe="")) for name, value in request.url.params.multi_items()
        )
        query = "&".join(f"{name}={value}" for name, value in pairs)
        headers = f"host:{request.headers['host']}\nx-amz-date:{timestamp}\n"
        body = hashlib.sha256().hexdigest()
        canonical = f"GET\n{request.url.path}\n{query}\n{headers}\nhost;x-amz-date\n{body}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self._secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{digest}"
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        request.headers["x-amz-date"] = timestamp
        request.headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._access_key}/{scope}, SignedHeaders=host;x-amz-date, "
            f"Signature={signature}"
        )
        yield request
