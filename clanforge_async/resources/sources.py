"""Sources of an image update: the places from which a build machine pulls the files of a build.

Each source builds the URL that "Image update create" takes as ``url``. Reprs and errors show no secrets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from attrs import Attribute, field, frozen

from clanforge_async._codec.masking import MASK
from clanforge_async._validation import is_positive, positive_id

_PLATFORMS = ("windows", "linux", "macos")
_BITS = (32, 64)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")

Validator = Callable[[Any, "Attribute[Any]", Any], None]


# No message quotes a value: a caller may have swapped arguments and passed a secret as the bucket.


def _check_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        msg = f"{name} must be text, not {type(value).__name__}"
        raise TypeError(msg)
    if _SURROGATE.search(value):
        msg = f"{name} must not contain a lone surrogate, which UTF-8 cannot encode"
        raise ValueError(msg)
    return value


def _is_secret(_source: object, attribute: Attribute[str], value: object) -> None:
    if not _check_text(attribute.name, value):
        msg = f"{attribute.name} must not be empty"
        raise ValueError(msg)


def _is_text(_source: object, attribute: Attribute[str], value: object) -> None:
    _check_text(attribute.name, value)


def _is_visible(_source: object, attribute: Attribute[str], value: object) -> None:
    _check_visible(attribute.name, value)


def _check_visible(name: str, value: object) -> str:
    text = _check_text(name, value)
    if not text.strip() or _CONTROL.search(text):
        msg = f"{name} must not be empty or blank, nor contain a control character"
        raise ValueError(msg)
    return text


def _is_folder(_source: object, attribute: Attribute[str], value: object) -> None:
    if value:
        _check_visible(attribute.name, value)
    else:
        _check_text(attribute.name, value)


def _is_count(_source: object, attribute: Attribute[int], value: object) -> None:
    positive_id(value, attribute.name)


def _is_one_of(*choices: str | int) -> Validator:
    def validate(_source: object, attribute: Attribute[Any], value: object) -> None:
        expected = type(choices[0])
        if not isinstance(value, expected) or isinstance(value, bool):
            msg = f"{attribute.name} must be of type {expected.__name__}, not {type(value).__name__}"
            raise TypeError(msg)
        if value not in choices:
            msg = f"{attribute.name} must be one of {', '.join(map(str, choices))}"
            raise ValueError(msg)

    return validate


def _to_app_id(app_id: int | str) -> int:
    if not isinstance(app_id, str):
        return positive_id(app_id, "app_id")
    if not (app_id.isascii() and app_id.isdecimal()):
        msg = "app_id must be a whole number"
        raise ValueError(msg)
    return positive_id(int(app_id), "app_id")


def _to_duration(timeout: str | float | None) -> str | None:
    if timeout is None or isinstance(timeout, str):
        return None if timeout is None else _check_visible("request_timeout", timeout)
    if is_positive(timeout):
        return f"{Decimal(str(timeout)).normalize():f}s"
    msg = "request_timeout must be text such as '2m', or a positive number of seconds"
    raise ValueError(msg) if isinstance(timeout, int | float) and not isinstance(timeout, bool) else TypeError(msg)


def _to_json(credentials: Mapping[str, Any] | str) -> str:
    """Return credentials as normalized JSON text: sorted, compact and in ASCII, whether given as mapping or text."""
    if not isinstance(credentials, str | Mapping):
        msg = f"credentials must be a mapping or JSON text, not {type(credentials).__name__}"
        raise TypeError(msg)
    text = _dump_object(credentials)
    if text is None:
        msg = "credentials must be a JSON object that is not empty"
        raise ValueError(msg)  # outside `except`: a JSONDecodeError as its context would show the whole text
    return text


def _dump_object(credentials: Mapping[str, Any] | str) -> str | None:
    try:
        content = json.loads(credentials) if isinstance(credentials, str) else dict(credentials)
        if not isinstance(content, dict) or not content:
            return None
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None


def _optional(validate: Validator) -> Validator:
    def validate_given(source: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None:
            validate(source, attribute, value)

    return validate_given


def _show_mask(value: object) -> str:
    return "None" if value is None else MASK


def _quote(text: str) -> str:
    return quote(text, safe="")


def _path(bucket: str, folder: str) -> str:
    return "/".join(filter(None, (_quote(bucket), quote(folder.strip("/"), safe="/"))))


def _query(options: Mapping[str, str | int | None]) -> str:
    given = [f"{name}={_quote(str(value))}" for name, value in options.items() if value is not None]
    return "?" + "&".join(given) if given else ""


@frozen
class S3Source:
    """A folder of an Amazon S3 bucket.

    Attributes:
        bucket: Name of the bucket.
        folder: Path of the folder in the bucket; ``""`` is its root.
        access_key: Access key id. According to the documentation, temporary credentials (STS) do not work.
        secret_key: Secret access key.
        region: Region of the bucket; None: the server's default, ``eu-west-1``.
        handlers: Number of parallel downloads; None: the server's default, 10.
        request_timeout: Limit of each request to S3, as text like ``"2m"``; seconds may be given, and become text like
            ``"120s"``. None: the server's default, 2 minutes.

    Raises:
        TypeError: An argument has another type.
        ValueError: A text is empty, blank or has a control character; a number is not positive.
    """

    bucket: str = field(validator=_is_visible)
    folder: str = field(validator=_is_folder)
    access_key: str = field(validator=_is_secret, repr=_show_mask)
    secret_key: str = field(validator=_is_secret, repr=_show_mask)
    region: str | None = field(default=None, kw_only=True, validator=_optional(_is_visible))
    handlers: int | None = field(default=None, kw_only=True, validator=_optional(_is_count))
    request_timeout: str | None = field(default=None, kw_only=True, converter=_to_duration)

    def url(self) -> str:
        """Return the whole URL, with its secrets; each part is percent-encoded once."""
        return self._with_userinfo(f"{_quote(self.access_key)}:{_quote(self.secret_key)}")

    @property
    def masked_url(self) -> str:
        """The URL to show, with ``***`` for the keys. It stays the same with new keys."""
        return self._with_userinfo(MASK)

    def _with_userinfo(self, userinfo: str) -> str:
        options = {"region": self.region, "handlers": self.handlers, "requesttimeout": self.request_timeout}
        return f"s3://{userinfo}@{_path(self.bucket, self.folder)}/{_query(options)}"


@frozen
class SteamSource:
    """An app of Steam, as the build machine installs it.

    Attributes:
        app_id: Id of the app; text of digits may be given.
        user: Name of the Steam account.
        password: Password of the account; empty for ``anonymous``.
        platform: ``"windows"``, ``"linux"`` or ``"macos"``; None: the build machine's.
        bits: 32 or 64; None: the build machine's.
        branch: Beta branch of the app; None: the public one.
        branch_password: Password of the branch.
        guard_code: Steam Guard code.
        mod: Mod of the app, as ``appmod``.

    Raises:
        TypeError: An argument has another type.
        ValueError: A text is empty, blank or has a control character; the platform or the number of bits is unknown.
    """

    app_id: int = field(converter=_to_app_id)
    user: str = field(default="anonymous", validator=_is_visible)
    password: str = field(default="", validator=_is_text, repr=_show_mask)
    platform: Literal["windows", "linux", "macos"] | None = field(
        default=None, kw_only=True, validator=_optional(_is_one_of(*_PLATFORMS))
    )
    bits: Literal[32, 64] | None = field(default=None, kw_only=True, validator=_optional(_is_one_of(*_BITS)))
    branch: str | None = field(default=None, kw_only=True, validator=_optional(_is_visible))
    branch_password: str | None = field(default=None, kw_only=True, validator=_optional(_is_secret), repr=_show_mask)
    guard_code: str | None = field(default=None, kw_only=True, validator=_optional(_is_secret), repr=_show_mask)
    mod: str | None = field(default=None, kw_only=True, validator=_optional(_is_visible))

    def url(self) -> str:
        """Return the whole URL, with its secrets; each part is percent-encoded once."""
        # Secrets come first: in a decoded URL, the next option shows where a secret ends.
        secrets = {"guardcode": self.guard_code, "betapassword": self.branch_password}
        return self._with_secrets(_quote(self.password), secrets)

    @property
    def masked_url(self) -> str:
        """The URL to show, with ``***`` for the password and without codes. It stays the same with new secrets."""
        return self._with_secrets(MASK, {})

    def _with_secrets(self, password: str, secrets: Mapping[str, str | None]) -> str:
        options: dict[str, str | int | None] = {
            **secrets,
            "beta": self.branch,
            "platformtype": self.platform,
            "platformbitness": self.bits,
            "appmod": self.mod,
        }
        return f"steam://{_quote(self.user)}:{password}@install/{self.app_id}/{_query(options)}"


@frozen
class GoogleSource:
    """A folder of a Google Cloud Storage bucket.

    Attributes:
        bucket: Name of the bucket.
        folder: Path of the folder in the bucket; ``""`` is its root.
        credentials: Key of a service account, as a mapping or JSON text. Equal content makes equal sources.
        handlers: Number of parallel downloads; None: the server's default, 10.
        request_timeout: Limit of each request, as text like ``"2m"``; seconds may be given, and become text like
            ``"120s"``. None: the server's default.

    Raises:
        TypeError: An argument has another type.
        ValueError: A text is empty, blank or has a control character; a number is not positive; the credentials are
            not a JSON object.
    """

    bucket: str = field(validator=_is_visible)
    folder: str = field(validator=_is_folder)
    credentials: str = field(converter=_to_json, repr=_show_mask)
    handlers: int | None = field(default=None, kw_only=True, validator=_optional(_is_count))
    request_timeout: str | None = field(default=None, kw_only=True, converter=_to_duration)

    def url(self) -> str:
        """Return the whole URL, with its secrets; each part is percent-encoded once."""
        return self._with_credentials(_quote(self.credentials))

    @property
    def masked_url(self) -> str:
        """The URL to show, with ``***`` for the credentials. It stays the same with new credentials."""
        return self._with_credentials(MASK)

    def _with_credentials(self, credentials: str) -> str:
        options = _query({"handlers": self.handlers, "requesttimeout": self.request_timeout})
        more = options.replace("?", "&", 1)
        return f"gs://{_path(self.bucket, self.folder)}?credentials={credentials}{more}"


Source: TypeAlias = S3Source | SteamSource | GoogleSource
"""A source of an image update."""
