"""``clanforge doctor`` names the step that fails, and how to fix it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from support.cli.harness import Clanforge, Finished

from clanforge_async.cli import doctor
from clanforge_async.simulator import Envelope, GatewayError, Simulator, Unreadable


def verdicts(finished: Finished) -> dict[str, str]:
    """Return the verdict of each step."""
    lines = [line.split() for line in finished.lines if line.split()[0] in {"ok", "warning", "failed"}]
    return {step: verdict for verdict, step, *_ in lines}


@pytest.mark.usefixtures("simulator")
def test_everything_works(clanforge: Clanforge) -> None:
    """Each step has a line, the status is 0, and no secret is shown."""
    finished = clanforge("doctor")
    assert finished.status == 0
    steps = ["configuration", "proxy", "certificates", "DNS", "connection", "TLS", "credentials", "clock"]
    assert verdicts(finished) == dict.fromkeys(steps, "ok")
    assert finished.lines[-1] == "All checks passed."
    assert "demo" not in finished.out
    assert clanforge("doctor", "--quiet").out == ""


@pytest.mark.usefixtures("simulator")
def test_half_a_pair_of_keys_fails(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid configuration is status 2, and the message names the variable."""
    monkeypatch.delenv("CLANFORGE_SECRET_KEY")
    finished = clanforge("doctor")
    assert (finished.status, verdicts(finished)) == (2, {"configuration": "failed"})
    assert "CLANFORGE_SECRET_KEY" in finished.out


@pytest.mark.usefixtures("simulator")
def test_wrong_keys_fail(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that the API refuses are status 4."""
    monkeypatch.setenv("CLANFORGE_SECRET_KEY", "wrong")
    finished = clanforge("doctor")
    assert (finished.status, verdicts(finished)["credentials"]) == (4, "failed")
    assert "check the keys" in finished.out


@pytest.mark.usefixtures("simulator")
def test_a_port_without_a_server_fails(clanforge: Clanforge) -> None:
    """A refused connection is status 5, and later steps are not run."""
    finished = clanforge("doctor", "--base-url", "http://127.0.0.1:1")
    assert (finished.status, list(verdicts(finished).items())[-1]) == (5, ("connection", "failed"))
    assert "127.0.0.1:1: Connection refused" in finished.out


@pytest.mark.usefixtures("simulator")
def test_an_unknown_host_fails(clanforge: Clanforge) -> None:
    """A host without a DNS entry is status 5."""
    finished = clanforge("doctor", "--base-url", "https://clanforge.invalid")
    assert (finished.status, list(verdicts(finished).items())[-1]) == (5, ("DNS", "failed"))
    assert "check the host name" in finished.out


@pytest.mark.parametrize(
    ("variable", "value", "step"),
    [("SSL_CERT_FILE", "/no/such/file.pem", "certificates"), ("HTTPS_PROXY", "ftp://user:password@proxy", "proxy")],
)
@pytest.mark.usefixtures("simulator")
def test_an_invalid_setting_fails(
    clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, step: str
) -> None:
    """An invalid certificate file or proxy is status 2, without the proxy's password."""
    monkeypatch.setenv(variable, value)
    finished = clanforge("doctor", "--base-url", "https://clanforge.invalid")
    assert (finished.status, verdicts(finished)[step]) == (2, "failed")
    assert list(verdicts(finished))[-1] == step
    assert variable in finished.out
    assert "password" not in finished.out


def test_a_proxy_is_named_and_used(simulator: Simulator, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy, the network steps check the proxy, which is named without its password."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:password@127.0.0.1:1")
    finished = clanforge("doctor", "--base-url", "https://clanforge.invalid")
    assert finished.status == 5
    assert "127.0.0.1:1" in finished.lines[1]
    assert "check HTTPS_PROXY" in finished.lines[-1]
    assert "password" not in finished.out
    assert simulator.requests.count() == 0


@pytest.mark.usefixtures("simulator")
def test_a_proxy_that_refuses_fails_at_the_call(clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy, TLS and credentials are checked by one call, whose failure names the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", os.environ["CLANFORGE_BASE_URL"])
    finished = clanforge("doctor", "--base-url", "https://clanforge.invalid")
    assert (finished.status, list(verdicts(finished).items())[-1]) == (5, ("credentials", "failed"))
    assert "through the proxy 127.0.0.1:" in finished.out
    assert "check HTTPS_PROXY" in finished.out


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize(
    ("date", "verdict", "text"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", "warning", "ahead of the server"),
        ("Thu, 01 Jan 2099 00:00:00 GMT", "warning", "behind the server"),
        ("soon", "ok", "the server sends no time"),
    ],
)
def test_a_skewed_clock_is_a_warning(
    clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, date: str, verdict: str, text: str
) -> None:
    """Clocks that differ by more than a minute are a warning, with status 0."""
    monkeypatch.setattr("clanforge_async.simulator.app.formatdate", lambda *_, **__: date)
    finished = clanforge("doctor")
    assert (finished.status, verdicts(finished)["clock"]) == (0, verdict)
    assert text in finished.out


@pytest.mark.usefixtures("simulator")
def test_clocks_in_step_are_no_difference(clanforge: Clanforge) -> None:
    """The server's time is in whole seconds: a difference below two of them is not named."""
    assert clanforge("doctor").lines[-2].split() == ["ok", "clock", "in", "step", "with", "the", "server's"]


def test_an_outage_fails_at_the_credentials(simulator: Simulator, clanforge: Clanforge) -> None:
    """A server failure is status 5, a refusal 4, and an unknown path 6."""
    simulator.faults.add(GatewayError(502), times=1)
    assert clanforge("doctor").status == 5
    simulator.faults.add(Envelope("forbidden", status=403), times=1)
    assert clanforge("doctor").status == 4
    simulator.faults.add(Envelope("not found", status=404), times=1)
    finished = clanforge("doctor")
    assert (finished.status, finished.lines[-1].strip()) == (6, "check the base URL")


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A TLS server on loopback whose certificate a private authority issued, and the authority's file."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), list[int]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await reader.readuntil(b"\r\n\r\n")
            body = b'{"games": [{"gameid": 7, "name": "Deep Harbour"}], "images": [], "success": true}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
            ports.append(server.sockets[0].getsockname()[1])
            ready.set()
            await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait(10)
    yield f"https://127.0.0.1:{ports[0]}", tmp_path / "authority.pem"
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.mark.usefixtures("simulator")
def test_an_untrusted_certificate_fails(
    clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, tls_server: tuple[str, Path]
) -> None:
    """A private authority's certificate fails until SSL_CERT_FILE names the authority; a watch reports that at once."""
    url, authority = tls_server
    finished = clanforge("doctor", "--base-url", url)
    assert (finished.status, list(verdicts(finished).items())[-1]) == (5, ("TLS", "failed"))
    assert "SSL_CERT_FILE" in finished.lines[-1]
    watched = clanforge("watch", "image-version/1", "--base-url", url, "--timeout", "0.9")
    assert watched.err.splitlines()[0].endswith("set SSL_CERT_FILE to the authority's")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    finished = clanforge("doctor", "--base-url", url)
    assert finished.status == 0
    assert "TLSv1.3, certificate valid until " in finished.out
    assert f"SSL_CERT_FILE={authority}" in finished.out
    assert "accepted; account 1234 has 1 game" in finished.out
    monkeypatch.delenv("CLANFORGE_ACCOUNT_SERVICE_ID")
    assert "accepted; 1 game" in clanforge("doctor", "--base-url", url).out


@pytest.mark.usefixtures("simulator")
def test_a_step_that_takes_too_long_fails(
    clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch, tls_server: tuple[str, Path]
) -> None:
    """A step has a time limit, and its failure names it."""

    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(doctor, "_TIMEOUT", 0.2)
    monkeypatch.setattr("clanforge_async.cli.doctor.asyncio.open_connection", hang)
    finished = clanforge("doctor", "--base-url", tls_server[0])
    assert finished.status == 5
    assert "no response within 0 s" in finished.out


def test_a_port_that_speaks_no_tls_fails(simulator: Simulator, clanforge: Clanforge) -> None:
    """A server of plain http fails the TLS step, which does not blame the certificate."""
    assert simulator.requests.count() == 0
    finished = clanforge("doctor", "--base-url", os.environ["CLANFORGE_BASE_URL"].replace("http:", "https:"))
    assert (finished.status, list(verdicts(finished).items())[-1]) == (5, ("TLS", "failed"))
    assert finished.lines[-1].strip() == "check that the server speaks https on this port"


def test_a_page_in_place_of_the_api_is_named(simulator: Simulator, clanforge: Clanforge) -> None:
    """If a login page answers, the doctor and a watch say to check the base URL."""
    simulator.add_image_version(1, duration=0)
    simulator.faults.add(Unreadable(html=True))
    expected = "check the base URL: a login page or a proxy may answer in place of the API"
    assert clanforge("doctor").lines[-1].strip() == expected
    watched = clanforge("watch", "image-version/1", "--outage-tolerance", "0")
    assert watched.err.splitlines()[0].endswith(f"not repeated; {expected}")
