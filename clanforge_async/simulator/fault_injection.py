"""Which faults are switched on, for which requests, how often."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field
from attrs.validators import ge, le, optional

from clanforge_async.simulator.faults import Fault
from clanforge_async.simulator.requests import Route

if TYPE_CHECKING:
    from clanforge_async.simulator.faults import SimulatedRequest


@define(eq=False, kw_only=True)
class FaultRule:
    """A fault that is switched on.

    Attributes:
        fault: The fault.
        route: The call that it befalls; None: any.
        id: The job that it befalls; None: any.
        probability: How likely it is to befall a request that it can befall.
        times: How many requests more it befalls; None: without end.
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
        """Return whether it befalls a request, and count it if so."""
        aimed = self.route in (None, request.route) and self.id in (None, request.id)
        if not aimed or self.times == 0 or not self.fault.applies_to(request) or not self._chance(request):
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def _chance(self, request: SimulatedRequest) -> bool:
        # Each job has luck of its own, so that it does not hang on the order in which many jobs are asked for.
        key = request.route, request.id
        self._request_counts[key] += 1
        draw = random.Random(f"{self._seed}/{request.route}/{request.id}/{self._request_counts[key]}")  # noqa: S311
        return draw.random() < self.probability


class Faults:
    """The faults of a simulator: none, until some are added."""

    def __init__(self, seed: object = 0) -> None:
        self._seed = seed
        self._added = 0
        self._rules: list[FaultRule] = []

    def add(
        self,
        fault: Fault,
        *,
        route: Route | str | None = None,
        id: int | None = None,  # noqa: A002 - what it is called everywhere else
        probability: float = 1.0,
        times: int | None = None,
    ) -> FaultRule:
        """Switch a fault on.

        A request meets the faults in the order in which they were added, until one answers it: latency and staleness
        go together with whatever comes after them.

        Args:
            fault: What goes wrong.
            route: In which call, such as ``"image-diff retry"``; None: in all.
            id: With which job; None: with all.
            probability: How likely, drawn from the simulator's seed.
            times: How often, before it switches itself off; None: without end.

        Returns:
            What `remove` takes.
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
        """Switch a fault off; one that is off stays so."""
        if rule in self._rules:
            self._rules.remove(rule)

    def clear(self) -> None:
        """Switch all faults off."""
        self._rules.clear()

    def matching(self, request: SimulatedRequest) -> list[Fault]:
        """Return the faults that befall a request, in their order."""
        struck: list[Fault] = []
        for rule in self._rules:
            if rule.matches(request):
                struck.append(rule.fault)
                if rule.fault.conclusive:
                    break
        return struck
