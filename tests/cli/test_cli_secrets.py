"""The command line never prints credentials."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
from support.cli.harness import CallAndHang, Clanforge, Servers
from support.loopback_server import nobody_listens
from support.secrets import ACCESS_KEY, SECRET_KEY, TOKEN, assert_hidden

from clanforge_async.simulator import Account, Simulator

ACCOUNT = Account(account_service_id=1234, access_key=ACCESS_KEY, secret_key=SECRET_KEY, token=TOKEN)
KEYS = {"CLANFORGE_ACCESS_KEY": ACCESS_KEY, "CLANFORGE_SECRET_KEY": SECRET_KEY}
COMMANDS = [
    ("image-version status 1", 0),
    ("image-diff status 5", 1),
    ("image-diff status 7", 6),
    ("image-diff retry 5 --wait", 0),
    ("watch image-version/1 image-diff/5", 1),
    ("watch image-version/2 --timeout 0.1", 3),
    ("watch image-version/1 --account-service-id 99", 4),
    ("image options --image 501", 0),
    ("image status 501", 0),
    ("image deactivate 501", 0),
    ("image-update status 6", 1),
    ("image-update retry 6 --wait", 0),
    ("image-diff reject 5 --keep", 0),
    ("image-install list", 0),
    ("image-install queue 5", 6),
    ("image-diff status five", 2),
    ("image-diff status 5 --token secret", 2),
]


@pytest.fixture
def marked(simulator: Simulator, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulated API with marked credentials, which are also in the environment."""
    del simulator  # only its environment is used
    marked = Simulator(accounts=[ACCOUNT])
    marked.add_image_version(1, duration=0)
    marked.add_image_version(2, duration=1000)
    marked.add_image_diff(5, duration=0.001, outcome="failed")
    marked.add_image_update(6, duration=0.001, outcome="failed")
    marked.add_image(501, game_id=12, update_url=f"s3://{ACCESS_KEY}:{SECRET_KEY}@builds/linux")
    with servers.serving(marked) as base_url:
        for name, value in {**KEYS, "CLANFORGE_BASE_URL": base_url}.items():
            monkeypatch.setenv(name, value)
        yield marked


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("by", ["keys", "token"])
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("command", "status"), COMMANDS)
def test_no_command_shows_credentials(
    *,
    command: str,
    status: int,
    as_json: bool,
    by: str,
    clanforge: Clanforge,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No command shows a secret in its output, its errors or the log, however it ends."""
    caplog.set_level(logging.DEBUG)
    if by == "token":
        monkeypatch.delenv("CLANFORGE_ACCESS_KEY")
        monkeypatch.delenv("CLANFORGE_SECRET_KEY")
        monkeypatch.setenv("CLANFORGE_TOKEN", TOKEN)
    finished = clanforge(*command.split(), *(["--json"] if as_json else []))
    assert finished.status == status
    assert_hidden(finished.out + finished.err + caplog.text)


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize(
    "environment",
    [
        {"CLANFORGE_TOKEN": TOKEN},
        {"CLANFORGE_SECRET_KEY": ""},
        {"CLANFORGE_ACCESS_KEY": f"{ACCESS_KEY}:"},
        {"CLANFORGE_BASE_URL": f"https://user:{TOKEN}@api.example"},
        {"CLANFORGE_BASE_URL": "http://api.example"},
        {"CLANFORGE_ACCOUNT_SERVICE_ID": SECRET_KEY},
    ],
)
def test_no_error_about_the_environment_quotes_it(
    environment: dict[str, str], clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invalid environment variables are a usage error, which does not quote their values."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    finished = clanforge("image-diff", "status", "5")
    assert finished.status == 2
    assert_hidden(finished.out + finished.err)


@pytest.mark.usefixtures("marked")
def test_no_network_failure_shows_credentials(clanforge: Clanforge) -> None:
    """A refused connection is reported without any part of the request."""
    with nobody_listens() as url:
        finished = clanforge("image-diff", "retry", "5", "--base-url", url)
    assert finished.status == 5
    assert_hidden(finished.out + finished.err)


def test_an_interruption_shows_no_credentials(marked: Simulator, clanforge: Clanforge) -> None:
    """Ctrl-C during a request shows no part of the request."""
    marked.faults.add(CallAndHang(lambda: os.kill(os.getpid(), signal.SIGINT)), route="image-version status")
    finished = clanforge("watch", "image-version/2", "--json")
    assert finished.status == 130
    assert_hidden(finished.out + finished.err)
