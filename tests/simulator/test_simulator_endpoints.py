from __future__ import annotations

import base64
from typing import Any

import pytest
from support.simulator.calling import ASID, KEYS, START, FakeClock, get, http_client, job

from clanforge_async.simulator import DEMO_ACCOUNT, Account, Run, Simulator

OTHER = Account(account_service_id=99, access_key="other", secret_key="its secret", token="its token")
SECOND = Account(account_service_id=1235, access_key=DEMO_ACCOUNT.access_key, secret_key=DEMO_ACCOUNT.secret_key)
TOKEN_ONLY = Account(account_service_id=7, token="a third token")
BEARER = {"Authorization": f"Bearer {DEMO_ACCOUNT.token}"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def simulator(clock: FakeClock) -> Simulator:
    simulator = Simulator(clock=clock, accounts=[DEMO_ACCOUNT, OTHER, SECOND, TOKEN_ONLY])
    simulator.add_image_version(9012, duration=60, queued_for=10)
    simulator.add_image_diff(5678, duration=60, outcome="failed", fails_at=0.5, error="disk full")
    simulator.add_image_version(99, duration=60, account=OTHER)
    return simulator


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


async def test_a_status_has_the_documented_fields(simulator: Simulator, clock: FakeClock) -> None:
    """An image version's status has every documented field, in its documented type."""
    clock.advance(40)
    body = await job(simulator, "imageversion/9012/status")
    assert isinstance(body.pop("jobeta"), int)
    assert 0 < body.pop("jobprogress") < 100
    assert START - 1 < body.pop("jobupdated") <= clock.now
    assert body == {
        "imageversionid": 9012,
        "jobcreated": int(START),
        "joberror": None,
        "jobfailed": 0,
        "jobstart": str(int(START) + 10),
        "jobstateid": 4,
        "jobstatename": "Running",
        "success": True,
    }


async def test_a_failed_diff_has_an_error(simulator: Simulator, clock: FakeClock) -> None:
    """A failed job shows state 6, its error and one failure, under status 200."""
    clock.advance(100)
    body = await job(simulator, "imagediff/5678/status")
    assert (body["diffid"], body["jobstateid"], body["jobstatename"]) == (5678, 6, "Failed")
    assert (body["jobfailed"], body["joberror"]) == (1, "disk full")
    assert body["jobupdated"] == int(START + 30)


async def test_every_response_has_the_servers_date(simulator: Simulator, clock: FakeClock) -> None:
    """``Date`` is the simulator's time in whole seconds, in successful and in error responses."""
    clock.advance(86400)
    for path in ("imageversion/9012/status", "imageversion/1/status", "nothing"):
        response = await get(simulator, path)
        assert response.headers.get_list("date") == ["Sun, 23 Nov 2025 00:00:00 GMT"]


@pytest.mark.parametrize("headers", [BEARER, basic(":".join(KEYS)), {"Authorization": "bEaReR  demo-token "}])
async def test_basic_and_bearer_are_accepted(simulator: Simulator, headers: dict[str, str]) -> None:
    """Basic and Bearer authenticate, and the scheme's case does not matter."""
    response = await get(simulator, "imageversion/9012/status", auth=None, headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic ZGVtbw"},
        {"Authorization": "Digest demo"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer wröng".encode("latin-1")},
        basic("demo-access-key"),
        basic("demo-access-key:wrong"),
        basic("wrong:demo-secret-key"),
        basic(":"),
        basic("None:None"),
    ],
)
async def test_wrong_credentials_are_401(simulator: Simulator, headers: Any) -> None:
    """A missing, malformed or wrong header is 401, for existing and for unknown jobs."""
    for path in ("imageversion/9012/status", "imageversion/1/status"):
        response = await get(simulator, path, auth=None, headers=headers)
        assert response.status_code == 401
        assert response.json()["error_message"] == "unauthorized"


@pytest.mark.parametrize("value", [None, "", "abc", "0", "-1", "1.5", "9" * 5000])
async def test_a_missing_or_malformed_account_is_400(simulator: Simulator, value: str | None) -> None:
    """With Basic, ``accountserviceid`` is a required number."""
    params = {} if value is None else {"accountserviceid": value}
    response = await get(simulator, "imageversion/9012/status", params=params)
    assert response.status_code == 400
    assert "accountserviceid" in response.json()["error_message"]


@pytest.mark.parametrize("asid", ["99", "4711"])
async def test_an_account_of_others_is_403(simulator: Simulator, asid: str) -> None:
    """Credentials are for their own account only, with Basic and with Bearer."""
    for auth, headers in ((KEYS, {}), (None, BEARER)):
        params = {"accountserviceid": asid}
        response = await get(simulator, "imageversion/99/status", auth=auth, headers=headers, params=params)
        assert (response.status_code, response.json()["error_message"]) == (403, "forbidden")


async def test_a_job_of_another_account_is_403(simulator: Simulator) -> None:
    """A job is visible only to its own account."""
    response = await get(simulator, "imageversion/99/status")
    assert (response.status_code, response.json()["error_message"]) == (403, "forbidden")
    response = await get(simulator, "imageversion/99/status", auth=None, headers={"Authorization": "Bearer its token"})
    assert response.status_code == 403, "accountserviceid is checked with Bearer too"


async def test_a_token_needs_no_account(simulator: Simulator) -> None:
    """With Bearer ``accountserviceid`` is optional."""
    simulator.add_image_version(3, duration=1, account=TOKEN_ONLY)
    for params in ({}, {"accountserviceid": "7"}):
        headers = {"Authorization": "Bearer a third token"}
        response = await get(simulator, "imageversion/3/status", auth=None, headers=headers, params=params)
        assert response.status_code == 200


async def test_one_key_pair_for_several_accounts(simulator: Simulator) -> None:
    """If several accounts share a key pair, ``accountserviceid`` selects one."""
    simulator.add_image_version(3, duration=1, account=SECOND)
    assert (await get(simulator, "imageversion/3/status")).status_code == 403
    response = await get(simulator, "imageversion/3/status", params={"accountserviceid": "1235"})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "path", ["imagediff/9012/status", "imageversion/5678/status", "imagediff/1/retry", "imagediff/x/status"]
)
async def test_an_unknown_job_is_404(simulator: Simulator, path: str) -> None:
    """An id that is unknown, malformed or of another kind of job is 404."""
    response = await get(simulator, path)
    assert response.status_code == 404
    assert response.json() == {
        "success": False,
        "error": True,
        "error_code": 404,
        "error_message": "not found",
        "messages": [],
        "_debug": [],
    }


@pytest.mark.parametrize(
    "path", ["imagediff/5678", "imagediff/5678/", "imagediff/5678/status/", "imageversion/9012/retry", "image/1/status"]
)
async def test_other_paths_are_404(simulator: Simulator, path: str) -> None:
    """An unknown path is 404, and nothing is redirected."""
    response = await get(simulator, path)
    assert response.status_code == 404
    assert response.json()["success"] is False


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_are_405_and_do_nothing(simulator: Simulator, clock: FakeClock, method: str) -> None:
    """Every call is a GET; in particular a HEAD does not retry."""
    clock.advance(100)
    async with http_client(simulator) as http:
        response = await http.request(method, "/cfp/v1/imagediff/5678/retry")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET"
    assert simulator.retries_of(5678) == 0


async def test_a_retry_restarts_a_failed_diff(simulator: Simulator, clock: FakeClock) -> None:
    """The response shows the new run: same id, Created, no progress, no ``success``. Then the run completes."""
    clock.advance(100)
    response = await job(simulator, "imagediff/5678/retry")
    assert isinstance(response.pop("jobeta"), int)
    assert response == {
        "diffid": 5678,
        "jobcreated": int(clock.now),
        "joberror": None,
        "jobfailed": 1,
        "jobprogress": 0,
        "jobstart": None,
        "jobstateid": 1,
        "jobstatename": "Created",
        "jobupdated": int(clock.now),
    }
    clock.advance(59)
    running = await job(simulator, "imagediff/5678/status")
    assert (running["jobstateid"], running["jobfailed"]) == (4, 1)
    clock.advance(1)
    assert (await job(simulator, "imagediff/5678/status"))["jobstateid"] == 5
    assert simulator.retries_of(5678) == 1


async def test_a_completed_diff_can_be_retried(simulator: Simulator, clock: FakeClock) -> None:
    """The API allows a retry of a completed diff as well as of a failed one."""
    simulator.add_image_diff(1, duration=5)
    clock.advance(6)
    assert (await job(simulator, "imagediff/1/retry"))["jobstateid"] == 1


@pytest.mark.parametrize(("seconds", "state"), [(0, "created"), (1, "pending"), (15, "running")])
async def test_a_running_diff_cannot_be_retried(clock: FakeClock, seconds: float, state: str) -> None:
    """A retry before the end is 400 with a reason, and does not change the run."""
    simulator = Simulator(clock=clock)
    simulator.add_image_diff(1, duration=10, queued_for=3)
    simulator.add_image_diff(2, duration=100, queued_for=3)
    clock.advance(seconds)
    response = await get(simulator, "imagediff/2/retry")
    assert response.status_code == 400
    assert response.json()["error_message"] == f"diff 2 is {state}: only a completed or failed one can be retried"
    assert simulator.retries_of(2) == 0


async def test_a_squashed_diff_cannot_be_retried(simulator: Simulator, clock: FakeClock) -> None:
    """A retry of a squashed diff is 400: the documentation names only completed and failed diffs."""
    simulator.add_image_diff(1, duration=5, outcome="squashed")
    clock.advance(6)
    assert (await job(simulator, "imagediff/1/status"))["jobstatename"] == "Squashed"
    assert (await get(simulator, "imagediff/1/retry")).status_code == 400


async def test_retries_run_in_order_then_complete(simulator: Simulator, clock: FakeClock) -> None:
    """Retries start the given runs in order. Further runs are like the first but complete."""
    simulator.add_image_diff(
        1, duration=10, outcome="failed", failures=1, retries=[Run(duration=20, outcome="failed", fails_at=1)]
    )
    seen: list[tuple[int, int]] = []
    for wait in (10, 20, 10):
        clock.advance(wait)
        body = await job(simulator, "imagediff/1/status")
        seen.append((body["jobstateid"], body["jobfailed"]))
        if wait != 20 or len(seen) < 3:
            await get(simulator, "imagediff/1/retry")
    assert seen == [(6, 2), (6, 3), (5, 3)]


async def test_a_new_run_has_a_newer_update_within_a_second(clock: FakeClock) -> None:
    """``jobupdated`` of a new run is later than any of the previous run, even within a second."""
    simulator = Simulator(clock=clock)
    simulator.add_image_diff(1, duration=0.01, outcome="failed", retries=[Run(duration=0.01, outcome="failed")] * 3)
    updates: list[int] = []
    for _ in range(3):
        clock.advance(0.02)
        updates.append((await job(simulator, "imagediff/1/status"))["jobupdated"])
        updates.append((await job(simulator, "imagediff/1/retry"))["jobupdated"])
    last, *runs = updates[::2]
    assert [last, *runs] == [int(START), int(START) + 1, int(START) + 2]
    assert updates[1::2] == [int(START) + 1, int(START) + 2, int(START) + 3]


async def test_a_locked_image_is_an_envelope_under_200(simulator: Simulator, clock: FakeClock) -> None:
    """A retry of a diff with a locked image is an error envelope with status 200, and does nothing."""
    simulator.add_image_diff(1, duration=1, locked_by=218595)
    clock.advance(2)
    response = await get(simulator, "imagediff/1/retry")
    assert response.status_code == 200
    assert response.json() == {
        "success": False,
        "error": True,
        "error_code": 1,
        "error_message": "image locked by diffid: 218595",
        "messages": [],
        "_debug": [],
    }
    assert simulator.retries_of(1) == 0


async def test_diff_info_adds_details(simulator: Simulator) -> None:
    """Only ``diff_info=1`` adds the objects game, machine and image."""
    async with http_client(simulator) as http:
        plain = await http.get("/cfp/v1/imagediff/5678/status", params=ASID | {"diff_info": "0"})
        detailed = await http.get("/cfp/v1/imagediff/5678/status", params=ASID | {"diff_info": "1"})
    assert not {"game", "machine", "image"} & set(plain.json())
    assert all(detailed.json()[name]["name"] for name in ("game", "machine", "image"))
