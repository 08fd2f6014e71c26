"""Runs examples as users do: as programs, with the API's URL and credentials in the environment."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from support.cli.harness import Finished

from clanforge_async.simulator import DEMO_ACCOUNT

EXAMPLES = Path(__file__).parents[3] / "examples"


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment with the demo account's credentials and `more`, without proxies."""
    kept = {
        name: value for name, value in os.environ.items() if not re.match("CLANFORGE_|GITHUB_|.*_PROXY$", name.upper())
    }
    return kept | credentials() | more


def credentials() -> dict[str, str]:
    """Return the environment variables of the demo account's credentials."""
    return {
        "CLANFORGE_ACCESS_KEY": DEMO_ACCOUNT.access_key,
        "CLANFORGE_SECRET_KEY": DEMO_ACCOUNT.secret_key,
        "CLANFORGE_ACCOUNT_SERVICE_ID": str(DEMO_ACCOUNT.account_service_id),
    }


async def run(*command: str | Path, env: dict[str, str], cwd: Path = EXAMPLES) -> Finished:
    """Run a program until it exits."""
    process = await asyncio.create_subprocess_exec(
        *command, env=env, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return Finished(await process.wait(), out.decode(), err.decode())


async def run_script(name: str, *arguments: str, env: dict[str, str]) -> Finished:
    """Run an example script; warnings are errors."""
    return await run(sys.executable, "-W", "error", EXAMPLES / name, *arguments, env=env)
