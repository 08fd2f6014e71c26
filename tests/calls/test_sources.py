"""Sources of image updates: their URLs, their equality and their invalid arguments."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clanforge_async import GoogleSource, S3Source, SteamSource
from clanforge_async._codec.masking import mask_secrets

Source = S3Source | SteamSource | GoogleSource

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VISIBLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)
JSON_VALUES = st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=2)
CREDENTIALS = {"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMII+/=\n", "client": "é"}

SOURCES: dict[str, Source] = {
    "s3": S3Source("bucket", "folder", "ACCESS/KEY", "hidden/key", region="eu", handlers=5, request_timeout=90),
    "steam": SteamSource(730, "builder", "pass/word", branch="beta", branch_password="open%sesame", guard_code="C0DE5"),
    "google": GoogleSource("bucket", "folder", CREDENTIALS, request_timeout="3m"),
}
SECRETS = ("ACCESS", "hidden", "pass/word", "pass%2Fword", "sesame", "C0DE5", "MII", "PRIVATE")
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (S3Source("b", "f", "K", "S"), "s3://K:S@b/f/"),
        (S3Source("b", "", "K", "S"), "s3://K:S@b/"),
        (S3Source("b", "/f/g h/", "K:/@", "a+b%="), "s3://K%3A%2F%40:a%2Bb%25%3D@b/f/g%20h/"),
        (
            S3Source("b", "f", "K", "S", region="eu-west-1", handlers=20, request_timeout="5m"),
            "s3://K:S@b/f/?region=eu-west-1&handlers=20&requesttimeout=5m",
        ),
        (SteamSource(730), "steam://anonymous:@install/730/"),
        (SteamSource("730", "me", "p w"), "steam://me:p%20w@install/730/"),
        (
            SteamSource(
                730, platform="linux", bits=64, branch="b", branch_password="b/p", guard_code="G&H", mod="cstrike"
            ),
            (
                "steam://anonymous:@install/730/?guardcode=G%26H&betapassword=b%2Fp&beta=b"
                "&platformtype=linux&platformbitness=64&appmod=cstrike"
            ),
        ),
        (GoogleSource("b", "f", {"a": "b/c"}), "gs://b/f?credentials=%7B%22a%22%3A%22b%2Fc%22%7D"),
        (GoogleSource("b", "", '{ "a": 1 }'), "gs://b?credentials=%7B%22a%22%3A1%7D"),
        (
            GoogleSource("b", "f/g", {"a": 1}, handlers=2, request_timeout=0.5),
            "gs://b/f/g?credentials=%7B%22a%22%3A1%7D&handlers=2&requesttimeout=0.5s",
        ),
    ],
)
def test_the_url_has_the_form_of_the_documents(source: Source, url: str) -> None:
    """The URL contains each part percent-encoded once, and only the given options."""
    assert source.url() == url


@given(access_key=TEXT, secret_key=TEXT, bucket=VISIBLE, folder=VISIBLE, region=VISIBLE)
def test_an_s3_url_reads_back(access_key: str, secret_key: str, bucket: str, folder: str, region: str) -> None:
    """Parsing the URL gives the parts of an S3 source, whatever characters they contain."""
    url = urlsplit(S3Source(bucket, folder, access_key, secret_key, region=region).url())
    userinfo, _, host = url.netloc.rpartition("@")
    assert [unquote(part) for part in userinfo.split(":")] == [access_key, secret_key]
    assert unquote(host) == bucket
    assert unquote(url.path).strip("/") == folder.strip("/")
    assert parse_qs(url.query) == {"region": [region]}


@given(user=VISIBLE, password=TEXT, branch_password=TEXT, guard_code=TEXT)
def test_a_steam_url_reads_back(user: str, password: str, branch_password: str, guard_code: str) -> None:
    """Parsing the URL gives the parts of a Steam source, whatever characters they contain."""
    source = SteamSource(730, user, password, branch_password=branch_password, guard_code=guard_code)
    url = urlsplit(source.url())
    userinfo, _, host = url.netloc.rpartition("@")
    assert [unquote(part) for part in userinfo.split(":")] == [user, password]
    assert (host, url.path) == ("install", "/730/")
    assert parse_qs(url.query) == {"betapassword": [branch_password], "guardcode": [guard_code]}


@given(credentials=st.dictionaries(TEXT, JSON_VALUES, min_size=1, max_size=4), as_text=st.booleans())
def test_google_credentials_read_back(credentials: dict[str, Any], as_text: bool) -> None:
    """Parsing the URL gives the credentials as the same JSON object, whether passed as a mapping or as text."""
    source = GoogleSource("bucket", "folder", json.dumps(credentials, indent=2) if as_text else credentials)
    [sent] = parse_qs(urlsplit(source.url()).query)["credentials"]
    assert json.loads(sent) == credentials
    assert source == GoogleSource("bucket", "folder", dict(reversed(credentials.items())))


def test_a_parameter_encodes_the_url_once_more() -> None:
    """In a request's query, a percent sign in a secret is ``%2525`` and a slash ``%252F``."""
    query = urlencode({"url": S3Source("b", "f", "K", "50%/y").url()})
    assert "%3A50%2525%252Fy%40b" in query


@pytest.mark.parametrize(
    ("given", "sent"), [("2m", "2m"), (120, "120s"), (120.0, "120s"), (1.5, "1.5s"), (1e-7, "0.0000001s")]
)
def test_a_timeout_is_text_or_seconds(given: str | float, sent: str) -> None:
    """A timeout is sent as the given text, or in seconds."""
    assert S3Source("b", "f", "K", "S", request_timeout=given).request_timeout == sent


@each_source
def test_sources_are_values(source: Source) -> None:
    """A source equals its copies, has their hash, and is pickled with its secrets."""
    for other in (pickle.loads(pickle.dumps(source)), copy.deepcopy(source)):  # noqa: S301 - pickled here
        assert other == source
        assert other.url() == source.url()
        assert hash(other) == hash(source)
    with pytest.raises(AttributeError):
        source.bucket = "other"  # type: ignore[union-attr,misc]
    assert source not in [other for other in SOURCES.values() if other is not source]


@each_source
def test_texts_show_no_secret(source: Source) -> None:
    """Neither `repr` nor `str` nor ``masked_url`` shows a secret."""
    shown = f"{source!r} {source} {source.masked_url} {[source]}"
    assert [secret for secret in SECRETS if secret in shown] == []
    assert "***" in repr(source)


def test_the_repr_shows_the_rest() -> None:
    """The repr shows all that is not secret: location, options, user, and whether a secret was given."""
    assert repr(SOURCES["s3"]) == (
        "S3Source(bucket='bucket', folder='folder', access_key=***, secret_key=***, region='eu', handlers=5, "
        "request_timeout='90s')"
    )
    assert repr(SteamSource(730, branch_password="x", branch="b")) == (
        "SteamSource(app_id=730, user='anonymous', password=***, platform=None, bits=None, branch='b', "
        "branch_password=***, guard_code=None, mod=None)"
    )


@pytest.mark.parametrize(
    ("source", "masked"),
    [
        (SOURCES["s3"], "s3://***@bucket/folder/?region=eu&handlers=5&requesttimeout=90s"),
        (SOURCES["steam"], "steam://builder:***@install/730/?beta=beta"),
        (SOURCES["google"], "gs://bucket/folder?credentials=***&requesttimeout=3m"),
    ],
)
def test_the_masked_url_identifies_a_source(source: Source, masked: str) -> None:
    """The masked URL contains everything except the secrets."""
    assert source.masked_url == masked


def test_the_masked_url_outlives_a_change_of_secrets() -> None:
    """Sources that differ only in their secrets have the same masked URL."""
    assert S3Source("b", "f", "K", "S").masked_url == S3Source("b", "f", "L", "T").masked_url
    assert GoogleSource("b", "f", {"a": 1}).masked_url == GoogleSource("b", "f", {"b": 2}).masked_url
    assert SteamSource(1, "u", "p").masked_url == SteamSource(1, "u", "q", guard_code="G").masked_url
    assert SteamSource(1, "u", "p").masked_url != SteamSource(1, "v", "p").masked_url


@each_source
def test_the_url_of_a_source_is_masked_in_texts(source: Source) -> None:
    """In texts, the URL of each source is masked, encoded or not."""
    url = source.url()
    for form in (url, quote(url), quote(quote(url, safe=""), safe="")):
        masked = mask_secrets(f"cannot read {form} now")
        assert [secret for secret in SECRETS if secret in masked] == []
        assert masked.startswith("cannot read ")
        assert "***" in masked


INVALID: list[tuple[type[Exception], str, Callable[[], object]]] = [
    (TypeError, "bucket must be text, not int", lambda: S3Source(1, "f", "K", "S")),  # type: ignore[arg-type]
    (TypeError, "folder must be text, not NoneType", lambda: S3Source("b", None, "K", "S")),  # type: ignore[arg-type]
    (TypeError, "access_key must be text, not bytes", lambda: S3Source("b", "f", b"K", "S")),  # type: ignore[arg-type]
    (TypeError, "secret_key must be text, not int", lambda: S3Source("b", "f", "K", 5)),  # type: ignore[arg-type]
    (TypeError, "handlers must be an int", lambda: S3Source("b", "f", "K", "S", handlers=True)),
    (TypeError, "handlers must be an int", lambda: S3Source("b", "f", "K", "S", handlers="5")),  # type: ignore[arg-type]
    (TypeError, "request_timeout", lambda: S3Source("b", "f", "K", "S", request_timeout=True)),
    (TypeError, "request_timeout", lambda: GoogleSource("b", "f", {"a": 1}, request_timeout=[])),  # type: ignore[arg-type]
    (TypeError, "region must be text", lambda: S3Source("b", "f", "K", "S", region=1)),  # type: ignore[arg-type]
    (TypeError, "app_id must be an int", lambda: SteamSource(True)),
    (TypeError, "app_id must be an int", lambda: SteamSource(7.0)),  # type: ignore[arg-type]
    (TypeError, "password must be text", lambda: SteamSource(7, "u", None)),  # type: ignore[arg-type]
    (TypeError, "bits must be of type int", lambda: SteamSource(7, bits="64")),  # type: ignore[arg-type]
    (TypeError, "platform must be of type str", lambda: SteamSource(7, platform=1)),  # type: ignore[arg-type]
    (TypeError, "credentials must be a mapping or JSON text", lambda: GoogleSource("b", "f", None)),  # type: ignore[arg-type]
    (TypeError, "credentials must be a mapping or JSON text", lambda: GoogleSource("b", "f", b"{}")),  # type: ignore[arg-type]
    (ValueError, "bucket must not be empty", lambda: S3Source("", "f", "K", "S")),
    (ValueError, "bucket must not be empty", lambda: GoogleSource(" ", "f", {"a": 1})),
    (ValueError, "control character", lambda: S3Source("b\n", "f", "K", "S")),
    (ValueError, "control character", lambda: S3Source("b", "f\t", "K", "S")),
    (ValueError, "folder must not be", lambda: S3Source("b", " ", "K", "S")),
    (ValueError, "access_key must not be empty", lambda: S3Source("b", "f", "", "S")),
    (ValueError, "secret_key must not be empty", lambda: S3Source("b", "f", "K", "")),
    (ValueError, "secret_key must not contain a lone surrogate", lambda: S3Source("b", "f", "K", "hush\ud800")),
    (ValueError, "handlers must be positive", lambda: S3Source("b", "f", "K", "S", handlers=0)),
    (ValueError, "request_timeout", lambda: S3Source("b", "f", "K", "S", request_timeout=0)),
    (ValueError, "request_timeout", lambda: S3Source("b", "f", "K", "S", request_timeout=float("nan"))),
    (ValueError, "request_timeout", lambda: S3Source("b", "f", "K", "S", request_timeout=" ")),
    (ValueError, "app_id must be positive", lambda: SteamSource(0)),
    (ValueError, "app_id must be a whole number", lambda: SteamSource("")),
    (ValueError, "app_id must be a whole number", lambda: SteamSource("7\n")),
    (ValueError, "user must not be empty", lambda: SteamSource(7, "")),
    (ValueError, "bits must be one of 32, 64", lambda: SteamSource(7, bits=16)),  # type: ignore[arg-type]
    (ValueError, "platform must be one of windows, linux, macos", lambda: SteamSource(7, platform="dos")),  # type: ignore[arg-type]
    (ValueError, "branch must not be empty", lambda: SteamSource(7, branch="")),
    (ValueError, "guard_code must not be empty", lambda: SteamSource(7, guard_code="")),
    (ValueError, "credentials must be a JSON object", lambda: GoogleSource("b", "f", "hush")),
    (ValueError, "credentials must be a JSON object", lambda: GoogleSource("b", "f", '["hush"]')),
    (ValueError, "credentials must be a JSON object", lambda: GoogleSource("b", "f", {})),
    (ValueError, "credentials must be a JSON object", lambda: GoogleSource("b", "f", {"hush": object()})),
    (ValueError, "credentials must be a JSON object", lambda: GoogleSource("b", "f", {"hush": float("nan")})),
    (ValueError, "credentials must be a JSON object", lambda: GoogleSource("b", "f", '{"hush":' * 5_000)),
]


@pytest.mark.parametrize(("kind", "message", "make"), INVALID)
def test_invalid_arguments_are_refused(kind: type[Exception], message: str, make: Callable[[], object]) -> None:
    """The error about an argument of the wrong type or value names it, and contains no value."""
    with pytest.raises(kind, match=message) as refused:
        make()
    error = refused.value
    assert "hush" not in repr((error, vars(error), error.__context__, error.__cause__))
