"""Collects the reported spans and metrics in memory, with an SDK separate from the global one."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clanforge_async._watching import observers
from clanforge_async._watching.opentelemetry import Telemetry


class Collected:
    """The spans and metrics of the watchers that a test creates from now on.

    Attributes:
        tracers: A provider with which a test can make further spans.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._exporter, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        telemetry = Telemetry(self.tracers, MeterProvider([self._reader]))
        monkeypatch.setattr(observers, "_telemetry", lambda: telemetry)

    def spans(self, name: str = "clanforge.watch") -> list[ReadableSpan]:
        """Return the spans of a name, in the order of their ends."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def metrics(self) -> dict[str, Any]:
        """Return the metrics so far, by name."""
        data: Any = self._reader.get_metrics_data()
        resources = [] if data is None else data.resource_metrics
        return {metric.name: metric for each in resources for scope in each.scope_metrics for metric in scope.metrics}

    def counted(self, name: str) -> dict[tuple[str, ...], int]:
        """Return a counter's values, by the values of its attributes."""
        points = self.metrics()[name].data.data_points
        return {tuple(str(value) for _, value in sorted(point.attributes.items())): point.value for point in points}
