"""The ledger: all jobs, and the rules by which the server answers for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from clanforge_async.refs import JobRef
from clanforge_async.simulator.accounts import identify
from clanforge_async.simulator.refusals import RequestRefusedError
from clanforge_async.simulator.routes import Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clanforge_async.refs import JobKind
    from clanforge_async.simulator.accounts import Account
    from clanforge_async.simulator.records import JobRecord


@define(eq=False)
class Ledger:
    """Jobs and the accounts that they belong to.

    Attributes:
        accounts: All accounts.
        records: All jobs; the references have no ``newer_than``.
    """

    accounts: tuple[Account, ...]
    records: dict[JobRef, JobRecord] = field(factory=dict[JobRef, "JobRecord"])

    def find(self, kind: JobKind, job_id: int | None) -> JobRecord | None:
        """Return a job, None where there is no such one."""
        return None if job_id is None else self.records.get(JobRef(kind, job_id))

    def answer(
        self,
        route: Route,
        job_id: int | None,
        now: float,
        *,
        authorization: str | None,
        parameters: Mapping[str, str],
        earlier: bool = False,
    ) -> dict[str, Any]:
        """Do what a request asks for, and return the answer's body.

        Raises:
            RequestRefusedError: The rules forbid it; see `identify` and `JobRecord.retry` for theirs. 404 for a job
                that there is not, 403 for one of another account.
        """
        account = identify(self.accounts, authorization, parameters.get("accountserviceid"))
        record = self.find(route.kind, job_id)
        if record is None:
            raise RequestRefusedError(404, "not found")
        if record.account != account:
            raise RequestRefusedError(403, "forbidden")
        if route is Route.IMAGE_DIFF_RETRY:
            record.retry(now)
            return record.wire(now, earlier=earlier)
        # "success" is on nearly every page but that of the image diff retry.
        return record.wire(now, earlier=earlier, details=parameters.get("diff_info") == "1") | {"success": True}
