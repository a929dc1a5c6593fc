"""Who answers all of them: a provider on the loopback address that knows the roles by the names of their models."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any

from atlas.testing.server import Behaviour, ChatServer, Hang, Say
from atlas.tokens import estimate_tokens

TICKET = re.compile(r"[Tt]icket (\d+)")


class Provider(ChatServer):
    """Says what the code is of the ticket that a prompt asks for last, and that whatever is to be judged is right.

    An answer takes ``seconds``. ``kills`` is called as the request with that number comes in, which gets no answer.
    Calls and tokens are counted by the model's name; tokens are estimated from the texts, alike for all.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(Say(""))
        self._seconds = seconds
        self._counting = threading.Lock()
        self.calls: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self.asked = 0
        self.kills: tuple[int, Callable[[], None]] | None = None

    def next(self, request: dict[str, Any], key: str = "") -> Behaviour:
        """The answer to one request, which is counted."""
        said = "\n".join(_text(message.get("content")) for message in request.get("messages", ()))
        role = str(request.get("model", "")).rpartition("/")[2]
        found = TICKET.findall(said)
        text = f"The code is {found[-1] if found else 'not known'}."
        if role != "student" and (role != "teacher" or request.get("response_format")):
            text = json.dumps(_judged(text))
        count = int(request.get("n") or 1)
        asked, written = estimate_tokens(said), count * estimate_tokens(text)
        with self._counting:
            self.asked += 1
            number = self.asked
            self.calls[role] = self.calls.get(role, 0) + 1
            self.tokens[role] = self.tokens.get(role, 0) + asked + written
        if self.kills is not None and number == self.kills[0]:
            self.kills[1]()
            return Hang(0.0)
        return Say(text, prompt_tokens=asked, completion_tokens=written, seconds=self._seconds)


def _judged(answer: str) -> dict[str, Any]:
    """One object that holds what each of the roles is asked for."""
    return {
        "mode": "paired",
        "confidence": 0.9,
        "steps": [{"id": 1, "description": answer, "tool": None, "tool_params": None, "depends_on": []}],
        "valid": True,
        "guidance": None,
        "score": 1.0,
        "uncertainty": 0.05,
        "rationale": "The code is right.",
        "principles": [{"name": "right", "weight": 1.0, "description": "The code is the ticket's."}],
        "student_pamphlet": "Give the code alone.",
        "teacher_pamphlet": None,
        "playbook_entries": [],
        "session_student_learning": "Give the code alone.",
        "entries": [],
    }


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)
