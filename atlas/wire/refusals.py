"""What a client is told when it gets no answer: the status, and the fields that its API's errors have."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from atlas.errors import ActionRefused, AtlasError, BudgetExceeded, ConfigError, ModelError

log = logging.getLogger("atlas.wire")

INVALID = "invalid_request_error"
BUDGET = "budget_exceeded"
"""The code of an error that says that a budget is spent."""
REFUSED = "action_refused"
"""The code of an error that says that an action needs a teacher's word and there is no teacher."""

_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
_ONCE = {"x-should-retry": "false"}
"""OpenAI's and Anthropic's libraries obey this header. We have tried again ourselves where that may help."""


class Refused(AtlasError):
    """A request that is answered with an error of this status."""

    def __init__(self, status: int, message: str, *, kind: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind or _KINDS.get(status, INVALID if status < 500 else "server_error")
        self.code = code


@dataclass(frozen=True)
class Refusal:
    """An error as it is told."""

    status: int
    message: str
    kind: str
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def refusal_of(error: Exception, *, obeys: bool, inside: bool = False) -> Refusal:
    """What is told of ``error``.

    ``obeys`` says whether the client obeys ``x-should-retry``: another one would send again, many times, what was tried
    again already, so that it is told a status after which it does not. ``inside`` says whether it is in this process.
    """
    match error:
        case Refused(status=status, kind=kind, code=code):
            # These are of the moment: another try may find a server that is free.
            headers = {"retry-after": "1"} if status in (429, 503) else _ONCE
            return Refusal(status, str(error), kind, code, headers)
        case ActionRefused():
            return Refusal(403, str(error), _KINDS[403], REFUSED, _ONCE)
        case BudgetExceeded():
            return Refusal(400, str(error), INVALID, BUDGET, _ONCE)
        case ModelError(status=int(status), code=code):
            told = status if obeys or (status < 500 and status not in (402, 408, 409, 429)) else 400
            return Refusal(told, str(error), _KINDS.get(status, _kind(status)), code or "upstream_error", _ONCE)
        case ModelError(code=code):
            return Refusal(502 if obeys else 400, str(error), "server_error", code or "upstream_error", _ONCE)
        case ConfigError():
            return Refusal(400, str(error), INVALID, None, _ONCE)
        case AtlasError():
            return Refusal(500 if obeys else 400, str(error), "server_error", None, _ONCE)
        case _:
            # What it says may be anything, a secret too: nobody is told but who has this process's log anyway.
            log.error("a request failed", exc_info=error)
            said = f": {error}" if inside else ", see its log"
            return Refusal(500, f"the request failed with {type(error).__name__}{said}", "server_error", headers=_ONCE)


def _kind(status: int) -> str:
    return INVALID if status < 500 else "server_error"
