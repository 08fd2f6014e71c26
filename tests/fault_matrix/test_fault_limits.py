"""Limits on a server's influence: bytes read, length of messages, and control characters on the terminal."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from support.cli.fixtures import servers, simulator, small_ca_file, terminal
from support.cli.harness import OverrideFields
from support.cli.terminal import Terminal
from support.faults.body_faults import LARGE, MEBIBYTE
from support.faults.fault import invalid_response
from support.faults.harness import MAX_LINE_LENGTH, VERSION, assert_bounded, assert_error, faulty_server, running_job
from support.faults.misbehaviours import respond_with, send_repeatedly
from support.scripted_server import envelope, wire
from support.virtual_time import virtual_time_on_loopback

from clanforge_async import APIError, InvalidResponseError, JobFailedError, JobState, JobWatcher, WatchTimeoutError
from clanforge_async.cli import main
from clanforge_async.simulator import Envelope, Simulator

__all__ = ["servers", "simulator", "small_ca_file", "terminal"]

HOSTILE = "\x1b[31m\x1b]0;owned\x07 \x9b2J\r\x08\u202e"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE
LONG_TEXT = "words " * 20000


@pytest.mark.parametrize("limit", [1, 2**16, 32 * 2**20])
async def test_a_body_is_read_up_to_the_limit(limit: int) -> None:
    """The client reads no more of 200 MB than its limit and the socket buffers."""
    fault = invalid_response("200 MB", send_repeatedly(HEAD, MEBIBYTE, times=200))
    async with faulty_server(fault, 1, running_job, max_response_bytes=limit) as (server, client):
        with pytest.raises(InvalidResponseError, match=f"larger than {limit} bytes") as raised:
            await client.image_versions.status(5)
        assert_error(raised.value, fault)
    assert server.sent <= limit + 24 * 2**20


@pytest.mark.parametrize("over", [0, 1])
async def test_a_body_at_the_limit_is_accepted(over: int) -> None:
    """A body of exactly ``max_response_bytes`` is accepted; one more byte is not."""
    body = json.dumps(wire(5)).encode()
    fault = invalid_response("at the limit", respond_with(body + b" " * over))
    async with faulty_server(fault, 1, running_job, max_response_bytes=len(body)) as (_, client):
        if over:
            with pytest.raises(InvalidResponseError):
                await client.image_versions.status(5)
        else:
            assert (await client.image_versions.status(5)).state is JobState.RUNNING


@pytest.mark.parametrize("status", ["200 OK", "400 No", "500 Oh", "302 Moved"])
@pytest.mark.parametrize(
    "body", [LONG_TEXT.encode(), json.dumps(envelope(LONG_TEXT)).encode()], ids=["page", "envelope"]
)
async def test_the_error_for_a_long_response_is_short(status: str, body: bytes) -> None:
    """The error for a long response has a short message and at most 2 KiB of its body."""
    fault = invalid_response("long", respond_with(body, status, Location="https://elsewhere.example/" + "x" * 5000))
    async with faulty_server(fault, 1, running_job, max_response_bytes=2**20, max_retries=0) as (_, client):
        with pytest.raises((APIError, InvalidResponseError)) as raised:
            await client.image_versions.status(5)
    assert_bounded(raised.value)
    assert len(getattr(raised.value, "body", "")) == 2048


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.SQUASHED, None])
@virtual_time_on_loopback
async def test_a_job_keeps_texts_that_its_error_shortens(
    state: JobState | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A job keeps its long texts; error messages and log lines shorten them."""
    job = wire(5, state, jobstateid=None if state is None else int(state), jobstatename=LONG_TEXT, joberror=LONG_TEXT)
    fault = invalid_response("a long job", respond_with(json.dumps(job).encode()))
    async with (
        faulty_server(fault, 2**31, running_job, max_response_bytes=2**20) as (_, client),
        JobWatcher(client, interval=0.01) as watcher,
    ):
        with pytest.raises((JobFailedError, WatchTimeoutError)) as raised:
            await watcher.wait(VERSION, timeout=1)
    error: Any = raised.value
    last = error.job if isinstance(error, JobFailedError) else error.last_job
    assert last is not None
    assert last.error == last.state_name == LONG_TEXT
    assert_bounded(raised.value)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == (state is None)
    assert all(len(warning) <= MAX_LINE_LENGTH for warning in warnings)


@pytest.mark.parametrize("field", ["joberror", "jobstatename", "error_message"])
@pytest.mark.parametrize("argv", [("image-version", "status", "1"), ("watch", "image-version/1", "--interval", "0.05")])
@pytest.mark.parametrize("output_options", [(), ("--json",)])
def test_plain_output_is_escaped(
    simulator: Simulator,
    capsys: pytest.CaptureFixture[str],
    field: str,
    argv: tuple[str, ...],
    output_options: tuple[str, ...],
) -> None:
    """Control characters in any field are escaped on stdout and stderr."""
    add_hostile_text(simulator, field)
    main([*argv, *output_options])
    out, err = capsys.readouterr()
    assert r"\x1b" in out + err or r"\u001b" in out
    assert (out + err).replace("\n", "").isprintable()


@pytest.mark.parametrize("field", ["joberror", "jobstatename", "error_message"])
def test_live_output_is_escaped(simulator: Simulator, terminal: Terminal, field: str) -> None:
    """The live view sends only its own control sequences to the terminal."""
    add_hostile_text(simulator, field)
    with terminal.as_stdout():
        main(["watch", "image-version/1", "--interval", "0.4"])
    terminal.wait_for(r"\x1b[31m")
    assert not any(sign in terminal.shown for sign in ("\x1b[31m\x1b", "\x1b]0", "\x07", "\x9b", "\x08", "\u202e"))


def add_hostile_text(simulator: Simulator, field: str) -> None:
    """Put the hostile text into a field of an image version's next status."""
    if field == "error_message":
        simulator.faults.add(Envelope(HOSTILE, status=404))
    elif field == "jobstatename":
        simulator.add_image_version(1, duration=0)
        simulator.faults.add(OverrideFields({"jobstateid": 99, field: HOSTILE}), times=1)
    else:
        simulator.add_image_version(1, duration=0, outcome="failed", error=HOSTILE)
