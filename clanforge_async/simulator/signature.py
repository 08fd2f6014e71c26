"""AWS Signature Version 4, as ``api.multiplay.co.uk`` checks it: region ``eu-west-1``, service ``cf``."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW = 900.0
"""Seconds by which a signature's time may differ from the server's."""

_PARTS = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
_REQUIRED_HEADERS = {"host", "x-amz-date"}


@frozen(kw_only=True)
class SignedRequest:
    """The parts of a GET request that contain credentials or that a signature covers.

    Attributes:
        path: The path as sent.
        query: The query as sent.
        headers: The headers, with lower-case names.
    """

    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def scheme(self) -> str:
        """The scheme of the ``Authorization`` header, in lower case; empty without one."""
        return self.headers.get("authorization", "").partition(" ")[0].lower()

    @property
    def credentials(self) -> str:
        """The header without its scheme."""
        return self.headers.get("authorization", "").partition(" ")[2].strip()


def is_signed(request: SignedRequest, access_key: str, secret_key: str, now: float) -> bool:
    """Whether a request is signed with a key pair, within the allowed difference from the server's time."""
    if request.scheme != ALGORITHM.lower():
        return False
    parts: dict[str, str] = dict(_PARTS.findall(request.credentials))
    signed_headers = parts.get("SignedHeaders", "").split(";")
    timestamp = request.headers.get("x-amz-date", "")
    if parts.get("Credential") != f"{access_key}/{_scope(timestamp)}" or not _REQUIRED_HEADERS.issubset(signed_headers):
        return False
    if not _is_current(timestamp, now):
        return False
    # Most signers read a plus sign in a query as a space; those that sign the query as sent read it as a plus sign.
    queries = {_canonical_query(request.query), "&".join(sorted(request.query.split("&")))}
    signatures = (_sign(request, query, signed_headers, secret_key) for query in queries)
    return any(hmac.compare_digest(signature, parts.get("Signature", "")) for signature in signatures)


def _scope(timestamp: str) -> str:
    return f"{timestamp[:8]}/eu-west-1/cf/aws4_request"


def _is_current(timestamp: str, now: float) -> bool:
    try:
        signed_at = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(signed_at.timestamp() - now) <= MAX_SKEW


def _sign(request: SignedRequest, query: str, signed_headers: list[str], secret_key: str) -> str:
    timestamp = request.headers["x-amz-date"]
    scope = _scope(timestamp)
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signed_headers)
    body = request.headers.get("x-amz-content-sha256", hashlib.sha256().hexdigest())
    canonical = "\n".join(("GET", request.path, query, headers, ";".join(signed_headers), body))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}".encode(), "sha256").hex()


def _canonical_query(query: str) -> str:
    pairs = (part.partition("=")[::2] for part in query.split("&") if part)
    encoded = sorted((_encode(name), _encode(value)) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _encode(text: str) -> str:
    return quote(unquote_plus(text), safe="-_.~")
