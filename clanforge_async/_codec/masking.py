r"""Masks the secrets of source URLs in texts, however the server encodes them when it sends them back.

Secrets are the userinfo of ``s3://KEY:SECRET@bucket/``, of ``steam://USER:PASSWORD@install/`` and of any other URL, and
the parameters ``credentials``, ``betapassword`` and ``guardcode``. The secrets of a source can contain any character,
even unencoded. So a mask ends at a place that is certainly after the secret, or else at the end of the text: it may
hide too much, but never too little.

A URL may be percent-encoded any number of times, and escaped for JSON (``\/``, ``\u0026``) or HTML (``&amp;``,
``&#64;``). The depth of a URL is the number of times that the colon after its scheme is percent-encoded; all its
delimiters have the same depth.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from attrs import frozen

MASK = "***"
"""Shown in place of a secret."""

_WINDOW = 2**14
"""Largest number of characters of a text that are masked for an excerpt."""

_MAX_DEPTH = 9
"""Largest number of times that a URL may be percent-encoded."""

_HINTS = ("://", ":\\", "3a//", "3a%", "3a\\", "u003a", "#58;", "#x3a;", "credentials", "betapassword", "guardcode")
"""A text that contains none of these, compared in lower case, contains no secret."""

_SECRET_OPTION = "(?:credentials|betapassword|guardcode)"  # noqa: S105 - names, not values
_OPTION = (
    f"(?:{_SECRET_OPTION}|handlers|region|requesttimeout|platformtype|platformbitness|beta|appmod"
    "|url|imageid|machineid|desc|accountserviceid)"
)

_SOURCE_SCHEMES = {"s3", "steam", "cos"}
"""Schemes of URLs whose userinfo can contain any character."""

_SCHEME = re.compile(r"(?:https?|s3|steam|gs|cos)\Z", re.IGNORECASE)
_LONGEST_SCHEME = 5

_TOKEN = re.compile(r"[^\s\"'<>]*")
_ENCODED = re.compile(r"(?:[^\s\"<>&\\]++|\\/|\\u(?!00(?:22|26|3c|3e))[0-9a-f]{4})*+", re.IGNORECASE)
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_MASKED = re.compile(r"\*{3}(?![\w*:/+=-])")
_GLUED_TO_MASK = re.compile(r"[\w*:/+=-]*")
_PORT = re.compile(r"[0-9]*\Z")
_JSON_BODY = re.compile(r"\s*(?:\{\s*\"|\[\s*[\[{\"])")
_REST_OF_JSON_STRING = re.compile(r"(?:[^\"\\]++|\\.)*+", re.DOTALL)
_JSON_OBJECT = re.compile(r"\{\s*[\"}]")
_ENCODED_BRACE = re.compile(r"%(?:25)*7b", re.IGNORECASE)
_JSON_DECODER = json.JSONDecoder(strict=False)  # not strict: private keys contain line breaks


def _forms(char: str, percent: str) -> str:
    """Return a pattern for a character: unescaped, in JSON, in HTML, or after the percent sign pattern `percent`."""
    code = f"{ord(char):02x}"
    plain = {"/": r"\\*/", "&": "&(?:amp;)*"}.get(char, re.escape(char))
    return rf"(?:{plain}|\\u00{code}|&(?:amp;)*\#0*(?:{ord(char)}|x0*{code});{percent and f'|{percent}{code}'})"


def _any_depth(char: str) -> str:
    return _forms(char, f"%(?:25){{0,{_MAX_DEPTH - 1}}}")


def _at_depth(char: str, depth: int) -> str:
    return f"%{'25' * (depth - 1)}{ord(char):02x}" if depth else _forms(char, "")


def _up_to_depth(char: str, depth: int) -> str:
    return _forms(char, f"%(?:25){{0,{depth - 1}}}" if depth else "")


_BACKSLASHES = r"(?:%(?:25)*5c)*"  # JSON, then percent-encoded
_URL_START = re.compile(f"({_any_depth(':')})" + f"{_BACKSLASHES}{_any_depth('/')}" * 2, re.IGNORECASE)
_SECRET_VALUE = re.compile(f"{_SECRET_OPTION}({_any_depth('=')})", re.IGNORECASE)


@frozen
class _Syntax:
    """Patterns of a URL's delimiters.

    Attributes:
        colon: Between user and password.
        at: After the userinfo.
        host: A host or bucket with the slash or question mark after it.
        path: A slash, question mark or hash: the end of a host.
        option: An ampersand and a known parameter.
    """

    colon: re.Pattern[str]
    at: re.Pattern[str]
    host: re.Pattern[str]
    path: re.Pattern[str]
    option: re.Pattern[str]


@lru_cache(maxsize=8)
def _syntax(depth: int) -> _Syntax:
    at = _at_depth("@", depth)
    path = "|".join(_up_to_depth(char, depth) for char in "/?#")
    patterns = (
        _at_depth(":", depth),
        at,
        rf"(?:(?!{at}|{path})[\w.%~+-]){{1,255}}(?:{path})",
        path,
        f"{_at_depth('&', depth)}{_OPTION}{_at_depth('=', depth)}",
    )
    return _Syntax(*(re.compile(pattern, re.IGNORECASE) for pattern in patterns))


def _depth(delimiter: str) -> int:
    return (len(delimiter) - 1) // 2 if delimiter.startswith("%") else 0


def mask_secrets(text: str) -> str:
    """Return a text with the secrets of all URLs in it replaced by ``***``.

    Secrets that are cut off at the end of the text are masked too. A text without secrets is returned unchanged. The
    running time is linear in the length of the text.
    """
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return text
    while (masked := _mask_once(text)) != text:  # a mask may reveal that the text before it is a userinfo too
        text = masked
    return text


def _mask_once(text: str) -> str:
    pieces: list[str] = []
    at = 0
    for start, end in sorted((*_userinfo_spans(text), *_value_spans(text))):
        if start >= at:
            pieces += text[at:start], MASK
        at = max(at, end)
    return "".join((*pieces, text[at:]))


def masked_start(text: str, length: int) -> str:
    """Return the first characters of a text, at most `length`, with secrets masked and no mask cut in two."""
    masked = mask_secrets(text[: _WINDOW + length])
    cut_mask = masked.find(MASK, length - len(MASK) + 1, length + len(MASK) - 1)
    return masked[: length if cut_mask < 0 else cut_mask]


def _userinfo_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the userinfo of each URL."""
    is_json = bool(_JSON_BODY.match(text))
    urls = list(_URL_START.finditer(text))
    starts = [url.start() - len(_scheme_before(text, url.start())) for url in urls]
    for url, next_url in zip(urls, (*starts[1:], len(text)), strict=False):
        start, depth = url.end(), _depth(url[1])
        end = next_url
        if depth:
            end = _end(_ENCODED, text, start, next_url)
        elif is_json:
            end = _end(_REST_OF_JSON_STRING, text, start, next_url)
        is_source = _scheme_before(text, url.start()).lower() in _SOURCE_SCHEMES
        find = _find_source_userinfo if is_source else _find_userinfo
        length = find(text[start:end], _syntax(depth), is_cut=end == len(text))
        if length:
            yield start, start + length


def _scheme_before(text: str, colon: int) -> str:
    match = _SCHEME.search(text[max(colon - _LONGEST_SCHEME, 0) : colon])
    return match[0] if match else ""


def _end(pattern: re.Pattern[str], text: str, start: int, stop: int) -> int:
    match = pattern.match(text, start, stop)
    return match.end() if match else start


def _find_source_userinfo(rest: str, syntax: _Syntax, *, is_cut: bool) -> int:
    """Return the length of the userinfo at the start of the rest of a source's URL; 0 without one."""
    if _MASKED.match(rest):
        return 0
    colon = syntax.colon.search(rest)
    ats = [match.span() for match in syntax.at.finditer(rest)]
    before_host = [at for at in ats if colon and colon.start() < at[0] and syntax.host.match(rest, at[1])]
    if before_host:  # the userinfo may continue: a secret can look like a host, and a host may have no path after it
        last, after = before_host[-1]
        return _last_before(_end(_TOKEN, rest, after, len(rest)), ats, default=last)
    token = _end(_TOKEN, rest, 0, len(rest))
    in_token = _last_before(token, ats)
    bucket = _BUCKET_NAME.match(rest)
    if not in_token and bucket and syntax.path.match(rest, bucket.end()):
        return 0
    if colon and (colon.end() < token or (is_cut and colon.end() == len(rest))):
        return _last_before(len(rest), ats, default=len(rest))
    return in_token or (token if is_cut and token == len(rest) else 0)


def _last_before(end: int, ats: Sequence[tuple[int, int]], default: int = 0) -> int:
    """Return the start of the last delimiter before the end."""
    return max((start for start, _ in ats if start < end), default=default)


def _find_userinfo(rest: str, syntax: _Syntax, *, is_cut: bool) -> int:  # noqa: ARG001 - as for a source
    """Return the length of the userinfo at the start of the rest of any other URL; 0 without one."""
    token = rest[: _end(_TOKEN, rest, 0, len(rest))]
    path, colon = syntax.path.search(token), syntax.colon.search(token)
    host = token[: path.start()] if path else token
    if path and colon and colon.end() <= len(host) and not host.startswith("[") and not _PORT.match(host, colon.end()):
        host = token  # not a port, so a password with a slash
    return _last_before(len(host), [match.span() for match in syntax.at.finditer(token)])


def _value_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the value of each secret parameter."""
    end = 0
    while name := _SECRET_VALUE.search(text, end):
        start = name.end()
        end = _value_end(text, start, _depth(name[1]))
        if end > start:
            yield start, end


def _value_end(text: str, start: int, depth: int) -> int:
    if _MASKED.match(text, start):
        return start
    if depth or _ENCODED_BRACE.match(text, start):
        return _end(_ENCODED, text, start, len(text))
    if _JSON_OBJECT.match(text, start):
        return _json_object_end(text, start)
    end = _end(_REST_OF_JSON_STRING, text, start, len(text)) if _JSON_BODY.match(text) else len(text)
    option = _syntax(0).option.search(text, start, end)
    return option.start() if option else end


def _json_object_end(text: str, start: int) -> int:
    try:
        _, end = _JSON_DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return len(text)
    return _end(_GLUED_TO_MASK, text, end, len(text))
