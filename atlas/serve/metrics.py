"""What a server has done, as Prometheus reads it. No key, no body, no name but a tenant's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from atlas.records import Spend
from atlas.serve.tenants import Tenant

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds."""


class Metrics:
    """Counts. In the server's own event loop."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._spent: dict[tuple[str, str], tuple[int, int, float]] = {}

    def answered(self, tenant: str, path: str, status: int, seconds: float) -> None:
        """A call has its answer, with that status; 0 where its client left before."""
        self._calls[tenant, path, status] += 1
        self._seconds[tenant] += seconds  # type: ignore[assignment] # a counter of seconds
        for bucket in BUCKETS:
            if seconds <= bucket:
                self._buckets[tenant, bucket] += 1

    def spent(self, tenant: str, spend: Iterable[Spend]) -> None:
        """An episode is over, and used this. Dollars that are not known are counted as none."""
        for row in spend:
            calls, tokens, dollars = self._spent.get((tenant, row.actor), (0, 0, 0.0))
            usage = row.usage
            self._spent[tenant, row.actor] = (
                calls + usage.calls,
                tokens + usage.tokens,
                dollars + (usage.dollars or 0.0),
            )

    def text(self, tenants: Iterable[Tenant]) -> str:
        return "\n".join([*self._lines(tenants), ""])

    def _lines(self, tenants: Iterable[Tenant]) -> Iterator[str]:
        yield "# HELP atlas_calls_total Calls by tenant, API and status (0: the client left)."
        yield "# TYPE atlas_calls_total counter"
        for (tenant, path, status), count in sorted(self._calls.items()):
            yield f'atlas_calls_total{{tenant="{_safe(tenant)}",api="{_safe(path)}",status="{status}"}} {count}'
        yield "# HELP atlas_call_seconds How long calls took."
        yield "# TYPE atlas_call_seconds histogram"
        totals: Counter[str] = Counter()
        for (tenant, _, _), count in self._calls.items():
            totals[tenant] += count
        for tenant, count in sorted(totals.items()):
            label = f'tenant="{_safe(tenant)}"'
            for bucket in BUCKETS:
                yield f'atlas_call_seconds_bucket{{{label},le="{bucket:g}"}} {self._buckets[tenant, bucket]}'
            yield f'atlas_call_seconds_bucket{{{label},le="+Inf"}} {count}'
            yield f"atlas_call_seconds_sum{{{label}}} {self._seconds[tenant]:.6f}"
            yield f"atlas_call_seconds_count{{{label}}} {count}"
        for name, place, what in (
            ("atlas_model_calls_total", 0, "Requests to models, of episodes that are over."),
            ("atlas_tokens_total", 1, "Tokens of those."),
            ("atlas_dollars_total", 2, "Dollars of those, as far as prices are known."),
        ):
            yield f"# HELP {name} {what}"
            yield f"# TYPE {name} counter"
            for (tenant, actor), used in sorted(self._spent.items()):
                yield f'{name}{{tenant="{_safe(tenant)}",actor="{_safe(actor)}"}} {used[place]:g}'
        now = [(tenant.name, len(tenant.episodes), tenant.under_way) for tenant in tenants]
        for name, place, what in (
            ("atlas_episodes_open", 1, "Open episodes."),
            ("atlas_calls_under_way", 2, "Calls without their answer yet."),
        ):
            yield f"# HELP {name} {what}"
            yield f"# TYPE {name} gauge"
            for row in now:
                yield f'{name}{{tenant="{_safe(row[0])}"}} {row[place]}'


def _safe(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
