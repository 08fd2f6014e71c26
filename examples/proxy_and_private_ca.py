"""Use a proxy and a private certificate authority, in one client only.

    COMPANY_PROXY=http://user:password@proxy.example:3128 COMPANY_CA=ca.pem python proxy_and_private_ca.py 9002

Credentials come from the environment, see `ClanforgeClient.from_env`. To configure a whole process, no code is needed:
clients without the argument ``transport`` use HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.
"""

import asyncio
import os
import ssl
import sys

import httpx

from clanforge_async import ClanforgeClient, JobRef, JobWatcher

# The client closes the transport. Common gateways close idle connections after 60 seconds.
LIMITS = httpx.Limits(max_connections=10, max_keepalive_connections=10, keepalive_expiry=55)


async def main(image_version_id: int) -> None:
    trusted = ssl.create_default_context()  # the authorities that the system trusts
    trusted.load_verify_locations(os.environ["COMPANY_CA"])
    transport = httpx.AsyncHTTPTransport(proxy=os.environ["COMPANY_PROXY"], verify=trusted, limits=LIMITS)
    async with ClanforgeClient.from_env(transport=transport) as client, JobWatcher(client) as watcher:
        job = await watcher.wait(JobRef.image_version(image_version_id))
    print(f"{job.ref} has completed")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
