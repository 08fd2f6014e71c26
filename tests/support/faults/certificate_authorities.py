"""Who vouches for a server, and whom a client trusts."""

from __future__ import annotations

import ssl

import trustme

CertificateAuthorities = tuple[trustme.CA, trustme.CA]
"""One that the client trusts, and one that nobody knows."""


def server_ssl_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """Return what makes a server speak TLS as the host of that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context
