from __future__ import annotations

import re
import signal
import socket

import pytest
from support.cli.harness import Clanforge, Spawn

from clanforge_async import JobRef
from clanforge_async.cli.simulate import InjectedFault, instructions, parse_fault
from clanforge_async.simulator import Drop, Fault, GatewayError, Latency, Stale, Truncate, Unreadable


def test_the_printed_commands_work(spawn: Spawn, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed commands work, with the references from the documentation, until Ctrl-C ends the server."""
    process = spawn("simulate", "--port", "0", "--speed", "1000")
    assert process.stdout is not None
    printed = [process.stdout.readline() for _ in range(11)]
    monkeypatch.delenv("CLANFORGE_TOKEN", raising=False)
    for name, value in re.findall(r"export (\w+)=(\S+)", "".join(printed)):
        monkeypatch.setenv(name, value)
    versions, diffs, retry, locked = [line.split("#")[0].split()[1:] for line in printed if "  clanforge " in line]
    assert "image-version/9012" in versions
    assert "image-diff/5678" in diffs
    assert clanforge(*versions, "--interval", "0.05", "--timeout", "10").status == 1
    assert clanforge(*diffs, "--timeout", "10", "--interval", "0.05").status == 1
    assert clanforge(*retry, "--interval", "0.05").status == 0
    assert "image locked" in clanforge(*locked).err
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")


def test_a_port_in_use_is_status_2(clanforge: Clanforge) -> None:
    """A port in use is a usage error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        finished = clanforge("simulate", "--port", port, "--jobs", "2", "--fault", "502:0.5")
    assert finished.status == 2
    assert "in use" in finished.err
    assert finished.err.endswith("choose another --host or --port\n")


def test_many_jobs_with_states_and_faults(spawn: Spawn, clanforge: Clanforge, monkeypatch: pytest.MonkeyPatch) -> None:
    """--jobs adds image versions that run as --states says, and --fault makes a share of the requests fail."""
    options = ("--jobs", "3", "--states", "created,running:2,failed", "--fault", "502:0.5", "--fault", "latency=0.01")
    process = spawn("simulate", "--port", "0", "--speed", "100", *options)
    assert process.stdout is not None
    printed = "".join(process.stdout.readline() for _ in range(12))
    monkeypatch.delenv("CLANFORGE_TOKEN", raising=False)
    for name, value in re.findall(r"export (\w+)=(\S+)", printed):
        monkeypatch.setenv(name, value)
    assert "seq -f image-version/%.0f 20001 20003 | clanforge watch -   # 3 jobs" in printed
    refs = [f"image-version/{number}" for number in (20001, 20002, 20003)]
    finished = clanforge("watch", *refs, "--interval", "0.05", "--timeout", "20")
    assert finished.status == 1
    assert finished.err.splitlines()[-1] == "error: 3 of 3 jobs failed"
    assert "HTTP 502" in finished.err


def test_the_instructions_name_the_first_and_the_last_of_many_jobs() -> None:
    """Many jobs are watched by a range of ids on stdin."""
    many = [JobRef.image_version(number) for number in range(20001, 20004)]
    watched = [line for line in instructions("http://127.0.0.1:8080", [], many) if "20001" in line]
    assert watched == ["  seq -f image-version/%.0f 20001 20003 | clanforge watch -   # 3 jobs"]


@pytest.mark.parametrize(
    ("text", "fault", "share"),
    [
        ("429", GatewayError(429, retry_after=1), 1.0),
        ("502:0.1", GatewayError(502), 0.1),
        ("503", GatewayError(503, retry_after=1), 1.0),
        ("drop", Drop(), 1.0),
        ("truncate:1", Truncate(), 1.0),
        ("html:0", Unreadable(html=True), 0.0),
        ("stale", Stale(), 1.0),
        ("latency=2s:0.25", Latency(2.0), 0.25),
    ],
)
def test_a_fault_has_a_name_and_a_share(text: str, fault: Fault, share: float) -> None:
    """A fault is named, with a share of the requests that is 1 by default."""
    assert parse_fault(text) == InjectedFault(fault, share)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--fault", "flood"), "--fault flood: not one of 429, 502, 503, drop, truncate, html, stale, latency=2s"),
        (("--fault", "502:2"), "the share must be a number from 0 to 1"),
        (("--fault", "502:often"), "the share must be a number from 0 to 1"),
        (("--fault", "latency"), "'' is not a duration"),
        (("--jobs", "1", "--states", "sleeping"), "--states: "),
        (("--jobs", "-1"), "'-1' is not a number of jobs"),
    ],
)
def test_wrong_options_are_status_2(clanforge: Clanforge, argv: tuple[str, ...], message: str) -> None:
    """An invalid fault, share, state or number is a usage error."""
    finished = clanforge("simulate", "--port", "0", *argv)
    assert finished.status == 2
    assert message in finished.err
