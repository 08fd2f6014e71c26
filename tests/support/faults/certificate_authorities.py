"""Certificate authorities for TLS servers on loopback."""

from __future__ import annotations

import ssl

import trustme

CertificateAuthorities = tuple[trustme.CA, trustme.CA]
"""One authority that the client trusts, and one that it does not."""


def server_ssl_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """Return the TLS context of a server with a certificate for this host name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context
