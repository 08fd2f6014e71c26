"""Marked secrets, each form in which one can appear, and each place in which an error can show it."""

from __future__ import annotations

import base64
import pickle
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote, quote_plus

import clanforge_async

ACCESS_KEY = "marked/access+key"
SECRET_KEY = "marked/secret key?"
TOKEN = "marked/token+?"
PROXY_PASSWORD = "marked/proxy+password"

_QUOTED = (quote, quote_plus, partial(quote, safe=""))
_PACKAGE = str(Path(clanforge_async.__file__).parent)


def forms(*secrets: str) -> set[str]:
    """Return secrets as plain text, in both base64 alphabets, and URL-quoted."""
    encoded = {code(s.encode()).decode() for s in secrets for code in (base64.b64encode, base64.urlsafe_b64encode)}
    return set(secrets) | encoded | {quoted(s) for s in secrets for quoted in _QUOTED}


FORMS = forms(ACCESS_KEY, SECRET_KEY, f"{ACCESS_KEY}:{SECRET_KEY}", TOKEN, PROXY_PASSWORD, f"user:{PROXY_PASSWORD}")


def assert_hidden(text: str) -> None:
    """Assert that a text contains no form of a marked secret."""
    assert [form for form in FORMS if form in text] == []


def shown_by(error: BaseException) -> str:
    """Return everything that a program could print or store of an error, and the package's local variables."""
    parts = [*traceback.format_exception(error), pickle.dumps(error).decode("latin-1")]
    for link in _chain(error):
        parts += [str(link), repr(link), repr(vars(link))]
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_filename.startswith(_PACKAGE):
                parts.append(repr(frame.f_locals))
    return "\n".join(parts)


def _chain(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
