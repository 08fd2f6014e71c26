from __future__ import annotations

import re
import signal
import socket

import pytest
from support.cli.harness import Clanforge, Spawn


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
        finished = clanforge("simulate", "--port", str(taken.getsockname()[1]))
    assert finished.status == 2
    assert "in use" in finished.err
    assert finished.err.endswith("choose another --host or --port\n")
