"""Fault injection: picks the faults of a request by rules, and applies them around its handler."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field
from attrs.validators import ge, le, optional

from clanforge_async.simulator.faults import Fault
from clanforge_async.simulator.requests import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from clanforge_async.simulator.faults import Handler, SimulatedRequest


@define(eq=False, kw_only=True)
class FaultRule:
    """A fault, and the requests that it applies to.

    Attributes:
        fault: The fault.
        route: The call that it applies to; None: all.
        id: The job that it applies to; None: all.
        probability: Probability that it is applied to a matching request.
        times: Number of further requests to apply it to; None: no limit.
    """

    fault: Fault
    route: Route | None
    id: int | None
    probability: float = field(validator=[ge(0), le(1)])
    times: int | None = field(validator=optional(ge(0)))
    _seed: str = field(repr=False, alias="seed")
    _request_counts: Counter[tuple[Route, int | None]] = field(
        factory=Counter[tuple[Route, int | None]], init=False, repr=False
    )

    def matches(self, request: SimulatedRequest) -> bool:
        """Return whether to apply the fault to a request, and count down `times` if so."""
        selected = self.route in (None, request.route) and self.id in (None, request.id)
        if not selected or self.times == 0 or not self.fault.applies_to(request) or not self._is_chosen(request):
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def _is_chosen(self, request: SimulatedRequest) -> bool:
        # One seed for each job: the result does not depend on the order in which several jobs are requested.
        key = request.route, request.id
        self._request_counts[key] += 1
        seed = f"{self._seed}/{request.route}/{request.id}/{self._request_counts[key]}"
        return random.Random(seed).random() < self.probability  # noqa: S311 - repeatable by design


class Faults:
    """The faults that a simulator injects; initially none."""

    def __init__(self, seed: object = 0) -> None:
        self._seed = seed
        self._added = 0
        self._rules: list[FaultRule] = []

    def add(
        self,
        fault: Fault,
        *,
        route: Route | str | None = None,
        id: int | None = None,  # noqa: A002 - as elsewhere
        probability: float = 1.0,
        times: int | None = None,
    ) -> FaultRule:
        """Inject a fault from now on.

        Faults are applied in the order in which they were added, up to the first ``conclusive`` one. `Latency` and
        `Stale` are not conclusive, so they combine with the next fault.

        Args:
            fault: The fault.
            route: The call to apply it to, such as ``"image-diff retry"``; None: all.
            id: The job to apply it to; None: all.
            probability: Probability for each request, drawn with the simulator's seed.
            times: Number of requests to apply it to; None: no limit.

        Returns:
            The rule, to pass to `remove`.
        """
        self._added += 1
        rule = FaultRule(
            fault=fault,
            route=None if route is None else Route(route),
            id=id,
            probability=probability,
            times=times,
            seed=f"{self._seed}/fault {self._added}",
        )
        self._rules.append(rule)
        return rule

    def remove(self, rule: FaultRule) -> None:
        """Stop injecting a fault; does nothing if it was removed before."""
        if rule in self._rules:
            self._rules.remove(rule)

    def clear(self) -> None:
        """Stop injecting faults."""
        self._rules.clear()

    async def apply(self, request: SimulatedRequest, respond: Callable[[bool], Awaitable[Response]]) -> Response:
        """Return the response to a request with all matching faults applied, the first of them outermost.

        Args:
            request: The request.
            respond: Carries out the request and returns the response. If its argument is true, the response shows the
                run before the latest.
        """
        faults = self.matching(request)
        handler: Handler = partial(respond, any(fault.shows_earlier_run for fault in faults))
        for fault in reversed(faults):
            handler = partial(fault.apply, request, handler)
        return await handler()

    def matching(self, request: SimulatedRequest) -> list[Fault]:
        """Return the faults to apply to a request, in order."""
        faults: list[Fault] = []
        for rule in self._rules:
            if rule.matches(request):
                faults.append(rule.fault)
                if rule.fault.conclusive:
                    break
        return faults
