"""Secrets of source URLs are masked in every text from the server, in any encoding."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clanforge_async import GoogleSource, S3Source, SteamSource
from clanforge_async._codec.masking import mask_secrets, masked_start

CHARACTERS = st.characters(exclude_categories=["Cs"])
SECRET = st.text(CHARACTERS, min_size=9, max_size=30).map(lambda text: f"{text}S3cr3t")
"""Any text, with an end that does not occur by chance."""


def quoted(text: str) -> str:
    """Percent-encode a text as a parameter's value."""
    return quote(text, safe="")


def lower_hex(text: str) -> str:
    """Write percent codes in lower case, as some servers do."""
    return re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), text)


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "decoded": unquote,
    "encoded": quoted,
    "encoded twice": lambda url: quoted(quoted(url)),
    "encoded three times": lambda url: quoted(quoted(quoted(url))),
    "but slashes": quote,
    "lower case": lambda url: lower_hex(quoted(url)),
    "decoded and encoded": lambda url: quoted(unquote(url)),
    "decoded and encoded twice": lambda url: quote_plus(quote_plus(unquote(url))),
}
PLACES: dict[str, Callable[[str], str]] = {
    "alone": str,
    "sentence": lambda url: f"cannot read {url} at 10:30, mail ops@studio.example",
    "request line": lambda url: f"GET /cfp/v1/imageupdate/create?imageid=5&url={url}&desc=nightly HTTP/1.1",
    "JSON": lambda url: json.dumps({"error_message": f"cannot read {url} now", "messages": ["a@b.example"]}),
    "JSON in UTF-8": lambda url: json.dumps([{"error_message": url}], ensure_ascii=False),
    "JSON of PHP": lambda url: json.dumps({"error_message": url}).replace("/", "\\/"),
    "JSON of Go": lambda url: json.dumps({"url": url}).replace("&", "\\u0026").replace("<", "\\u003c"),
    "JSON in JSON": lambda url: json.dumps({"body": json.dumps({"url": url})}),
    "HTML": lambda url: f"<pre>cannot read {html.escape(url)}</pre><a href='mailto:a@b.example'>",
    "two": lambda url: f"neither {url} nor {url}",
}


def assert_masked(text: str, *secrets: str) -> None:
    """Assert that a masked text shows no secret in any form, and is not changed by masking it again."""
    masked = mask_secrets(text)
    for secret in secrets:
        encodings = {encode(quoted(secret)) for encode in ENCODINGS.values()}
        forms = {secret, json_text(secret), html.escape(secret)} | encodings
        assert [form for form in forms if form in masked] == []
    assert "***" in masked
    assert mask_secrets(masked) == masked


def json_text(text: str) -> str:
    """Return a text as it appears between the quotes of a JSON string."""
    return json.dumps(text)[1:-1]


def _echo(encode: Callable[[str], str], place: Callable[[str], str]) -> Callable[[str], str]:
    return lambda url: place(encode(url))


ECHOES = st.builds(_echo, st.sampled_from(list(ENCODINGS.values())), st.sampled_from(list(PLACES.values())))
"""Servers that send a URL back in some encoding, in some place."""


@settings(max_examples=100, deadline=None)
@given(echo=ECHOES, access_key=SECRET, secret_key=SECRET)
def test_keys_are_masked(echo: Callable[[str], str], access_key: str, secret_key: str) -> None:
    """If the server sends an S3 source back, its keys are masked."""
    url = S3Source("bucket", "folder", access_key, secret_key, region="eu").url()
    assert_masked(echo(url), access_key, secret_key)


@settings(max_examples=100, deadline=None)
@given(echo=ECHOES, password=SECRET, branch_password=SECRET, branch=st.sampled_from(["live", None]))
def test_passwords_are_masked(
    echo: Callable[[str], str], password: str, branch_password: str, branch: str | None
) -> None:
    """If the server sends a Steam source back, its passwords and guard code are masked."""
    source = SteamSource(730, "me", password, branch=branch, branch_password=branch_password, guard_code="H1DDEN/C0DE")
    assert_masked(echo(source.url()), password, branch_password, "H1DDEN/C0DE")


@settings(max_examples=100, deadline=None)
@given(echo=ECHOES, private_key=SECRET, handlers=st.sampled_from([None, 5]))
def test_credentials_are_masked(echo: Callable[[str], str], private_key: str, handlers: int | None) -> None:
    """If the server sends a Google source back, its credentials are masked."""
    credentials = {
        "auth_uri": "https://accounts.example/auth",
        "client_email": "builder@studio.example",
        "private_key": f"-----BEGIN PRIVATE KEY-----\n{private_key}\n",
    }
    source = GoogleSource("bucket", "folder", credentials, handlers=handlers)
    assert_masked(echo(source.url()), private_key, json_text(private_key), "BEGIN PRIVATE KEY")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("cannot read s3://K:S@bucket/f, mail a@b.example", "cannot read s3://***@bucket/f, mail a@b.example"),
        ("cannot read s3://K:a b/c@d@bucket/f/?region=eu", "cannot read s3://***@bucket/f/?region=eu"),
        ("s3://K:S@bucket is no source", "s3://***@bucket is no source"),
        ("s3://KEY@bucket is no source", "s3://***@bucket is no source"),
        ("S3://K:S@bucket/f", "S3://***@bucket/f"),
        ("cos://K:S@bucket/f", "cos://***@bucket/f"),
        ("url=s3%3A%2F%2FK%3aS%40bucket&x=a%40b", "url=s3%3A%2F%2F***%40bucket&x=a%40b"),
        ("steam://u:p@install/1/?betapassword=a b&beta=c", "steam://***@install/1/?betapassword=***&beta=c"),
        ("steam://u:p@install/1/?guardcode=a&amp;beta=c", "steam://***@install/1/?guardcode=***&amp;beta=c"),
        ("?credentials=%7B%22a%22%3A1%7D failed", "?credentials=*** failed"),
        ('gs://b?credentials={"a": "}\n"} failed', "gs://b?credentials=*** failed"),
        ('gs://b?credentials={"a": "}\n', "gs://b?credentials=***"),
        ('gs://b?credentials={"a":' * 5_000, "gs://b?credentials=***"),
        ('{"error":"?credentials={\\"a\\": 1} failed","b":"c"}', '{"error":"?credentials=***","b":"c"}'),
        ('{"error":"?credentials={"a": 1} failed"}', '{"error":"?credentials=*** failed"}'),
        ("https://user:password@host/path", "https://***@host/path"),
        ("http://proxy:pass/word@host", "http://***@host"),
        ("https%3A%2F%2Fuser%3Apa%252Fss%40host%2Fpath", "https%3A%2F%2F***%40host%2Fpath"),
        ("s3:\\u002f\\u002fK:S\\u0040bucket\\/f", "s3:\\u002f\\u002f***\\u0040bucket\\/f"),
        ("s3&#58;&#x2F;&#47;K&#58;S&#64;bucket/f", "s3&#58;&#x2F;&#47;***&#64;bucket/f"),
        ("s3%3A%5C%2F%5C%2FK%3AS%40bucket", "s3%3A%5C%2F%5C%2F***%40bucket"),
    ],
)
def test_a_mask_replaces_only_the_secret(text: str, masked: str) -> None:
    """The text around a secret is kept if it is clear where the secret ends."""
    assert mask_secrets(text) == masked
    assert mask_secrets(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "disk full",
        "image locked by diffid: 7",
        "https://host/path mail a@b.example",
        "https://host mail a@b.example",
        "http://localhost:8080/@scope/package",
        "http://[::1]:8080/@scope",
        "see https://docs.example/a:b@c and https%3A%2F%2Fdocs.example%2Fa%40b",
        "unsupported: s3://bucket/folder",
        "s3://bucket/folder: denied, mail a@b.example",
        "s3://bucket: denied",
        "steam://run/730",
        "gs://bucket/folder?handlers=5",
        "use s3://",
        "no credentials=",
        "the credentials are wrong",
        '{"added": {"maps/a@b.txt": {"url": "https:\\/\\/cdn.example\\/a@b"}}}',
        "s3://***@bucket/f/?region=eu and gs://b?credentials=***&handlers=5",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    """URLs without userinfo, e-mail addresses and masked URLs are not changed."""
    assert mask_secrets(text) == text


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize(
    "source",
    [
        S3Source("bucket", "folder", "AKIAEXAMPLE", "hidden/hidden+hidden"),
        SteamSource(730, "builder", "hidden hidden", guard_code="hidden", branch_password="hidden"),
        GoogleSource("bucket", "folder", {"hidden": "hidden hidden"}),
    ],
)
def test_a_secret_that_is_cut_off_is_masked(
    source: S3Source | SteamSource | GoogleSource, encode: Callable[[str], str]
) -> None:
    """A text that ends in the middle of a secret shows nothing of it."""
    url = encode(source.url())
    for length in range(len(url)):
        assert "hid" not in mask_secrets(f"cannot read {url[:length]}")


PIECES = (
    "s3://",
    "https://",
    "gs%3A%2F%2F",
    "credentials=",
    "guardcode%3D",
    "&beta=",
    "***",
    '{"',
    "%40",
    *"@:/?aK \"\\{}<'",
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES)))
def test_masking_is_idempotent(pieces: list[str]) -> None:
    """Masking a second time changes nothing, in any mixture of delimiters."""
    masked = mask_secrets("".join(pieces))
    assert mask_secrets(masked) == masked


@given(st.text(CHARACTERS), st.integers(1, 60))
def test_a_cut_does_not_split_a_mask(before: str, length: int) -> None:
    """The start of a masked text ends before a mask or after it, never within."""
    start = masked_start(f"{before} s3://K:S@bucket", length)
    assert len(start) <= length
    assert re.sub(r"\*{3}", "", start).count("*") == before[:length].replace("***", "").count("*")
