"""The wire over HTTP: tenants with keys, their episodes, bounds and figures; and a command that is run against it."""

from typing import TYPE_CHECKING

from atlas.lazy import lazily

if TYPE_CHECKING:
    from atlas.serve.app import application
    from atlas.serve.child import Outcome, run_command
    from atlas.serve.server import Serving, serve
    from atlas.serve.tenants import Limits, Tenant, Tenants

__all__ = ["Limits", "Outcome", "Serving", "Tenant", "Tenants", "application", "run_command", "serve"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "atlas.serve.app": "application",
        "atlas.serve.child": "Outcome run_command",
        "atlas.serve.server": "Serving serve",
        "atlas.serve.tenants": "Limits Tenant Tenants",
    },
)
