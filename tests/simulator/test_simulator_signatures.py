from __future__ import annotations

from typing import Any

import httpx
import pytest
from support.simulator.aws_signer import AwsSigner
from support.simulator.calling import FakeClock
from support.simulator.pipeline import SimulatedPipeline

from clanforge_async.simulator import Account, Simulator

KEYS = ("demo-access-key", "demo-secret-key")
SIGNED_AT = 1_763_769_600
URL = (
    "https://api.multiplay.co.uk/cfp/v1/imageupdate/create?accountserviceid=1234&imageid=501&machineid=77"
    "&desc=build+2+~%C3%A4%2B&url=s3%3A%2F%2Fkey%3Ase%252Fcret%40bucket%2Fbuilds%2F"
)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
BOTOCORE = "4396327ac8aa4edea186d3e2a2a9e107a2500a7fea98208cdb6713bfbf8c300b"
BOTOCORE_AS_SENT = "accbb738c3168f73c5ce733215820c729f6d2f78e6bdc55c48a80b7d376fc134"
AWS4AUTH = "2c9e33b44e954f457374bfe7074ef752f259b541663ee9250506f3f230c8051b"


def headers(signature: str, signed: str = "host;x-amz-date", **changes: str) -> dict[str, str]:
    scope = changes.pop("scope", "20251122/eu-west-1/cf/aws4_request")
    credential = changes.pop("access_key", KEYS[0])
    return {
        "x-amz-date": "20251122T000000Z",
        "Authorization": (
            f"AWS4-HMAC-SHA256 Credential={credential}/{scope}, SignedHeaders={signed}, Signature={signature}"
        ),
    } | changes


async def status_of(pipeline: SimulatedPipeline, headers: dict[str, str], url: str = URL) -> int:
    transport = httpx.ASGITransport(app=pipeline.simulator.app)
    async with httpx.AsyncClient(transport=transport) as http:
        return (await http.get(url, headers=headers)).status_code


@pytest.fixture
def pipeline() -> SimulatedPipeline:
    pipeline = SimulatedPipeline()
    pipeline.clock.now = SIGNED_AT
    return pipeline


async def test_signatures_of_two_libraries_are_accepted(pipeline: SimulatedPipeline) -> None:
    """The signatures of a request by botocore and requests-aws4auth are accepted."""
    assert await status_of(pipeline, headers(BOTOCORE)) == 200
    pipeline.clock.advance(60)
    signed = headers(AWS4AUTH, "host;x-amz-content-sha256;x-amz-date", **{"x-amz-content-sha256": EMPTY})
    assert await status_of(pipeline, signed) == 200


@pytest.mark.parametrize(
    "wrong",
    [
        headers("0" * 64),
        headers(BOTOCORE, access_key="other"),
        headers(BOTOCORE, scope="20251122/us-east-1/cf/aws4_request"),
        headers(BOTOCORE, scope="20251122/eu-west-1/s3/aws4_request"),
        headers(BOTOCORE, scope="20251121/eu-west-1/cf/aws4_request"),
        headers(BOTOCORE, signed="host"),
        headers(BOTOCORE, **{"x-amz-date": "20251122T000001Z"}),
        headers(BOTOCORE, **{"x-amz-date": "20251122"}),
        headers(BOTOCORE, Authorization="AWS4-HMAC-SHA256"),
        {"Authorization": headers(BOTOCORE)["Authorization"]},
    ],
)
async def test_a_wrong_signature_is_401(pipeline: SimulatedPipeline, wrong: dict[str, str]) -> None:
    """A signature of other keys, another region, service, day or time, and one that is malformed, is 401."""
    assert await status_of(pipeline, wrong) == 401
    assert pipeline.simulator.image(501).lock is None


async def test_a_changed_request_is_401(pipeline: SimulatedPipeline) -> None:
    """A signature is valid only for its path, its query and its host."""
    assert await status_of(pipeline, headers(BOTOCORE), URL.replace("501", "502")) == 401
    assert await status_of(pipeline, headers(BOTOCORE), URL.replace("imageupdate", "imagediff")) == 401
    assert await status_of(pipeline, headers(BOTOCORE), URL.replace(".co.uk", ".dev")) == 401


@pytest.mark.parametrize(("skew", "status"), [(-901, 401), (-900, 200), (900, 200), (901, 401)])
async def test_a_signature_is_valid_for_15_minutes(skew: float, status: int) -> None:
    """A signature's time may differ from the server's by 15 minutes."""
    pipeline = SimulatedPipeline()
    pipeline.clock.now = SIGNED_AT + skew
    assert await status_of(pipeline, headers(BOTOCORE)) == status


async def test_the_order_of_the_query_does_not_matter(pipeline: SimulatedPipeline) -> None:
    """Parameters are signed in their sorted order, whatever their order in the request."""
    address, _, query = URL.partition("?")
    reordered = f"{address}?{'&'.join(reversed(query.split('&')))}"
    assert await status_of(pipeline, headers(BOTOCORE), reordered) == 200


async def test_a_query_may_be_signed_as_sent(pipeline: SimulatedPipeline) -> None:
    """A signature over the query as sent is accepted: botocore creates it if the query is part of the URL."""
    assert await status_of(pipeline, headers(BOTOCORE_AS_SENT)) == 200


async def test_all_calls_can_be_signed() -> None:
    """A signature authorizes v1 and v2 paths, and needs ``accountserviceid`` like Basic."""
    pipeline = SimulatedPipeline()
    http: dict[str, Any] = {"auth": AwsSigner(*KEYS, pipeline.clock)}
    assert (await pipeline.get("image/options", http=http)).status_code == 200
    assert (await pipeline.get("image/options", http=http | {"params": {}})).status_code == 400
    v2 = "/cfp/v2/project/{}/image/501/status"
    assert (await pipeline.get(v2.format(1234), http=http)).status_code == 200
    assert (await pipeline.get(v2.format(99), http=http)).status_code == 403


async def test_an_account_without_keys_signs_nothing() -> None:
    """For an account without keys, no signature is valid."""
    clock = FakeClock()
    simulator = Simulator(clock=clock, accounts=[Account(account_service_id=7, token="token")])
    transport = httpx.ASGITransport(app=simulator.app)
    async with httpx.AsyncClient(transport=transport, auth=AwsSigner("", "", clock)) as http:
        assert (await http.get("http://clanforge.test/cfp/v1/image/options")).status_code == 401
