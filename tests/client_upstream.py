"""A model's server that answers agents of many frameworks: it looks at what it is asked, not at how often."""

from __future__ import annotations

import json
from typing import Any

from atlas.testing import ChatServer, Say
from atlas.testing.server import Behaviour
from tests.clients import ANSWER, SEEN

_SUBMIT = f"echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && echo '{ANSWER}'"


class Upstream(ChatServer):
    """Calls the tool that it is offered for the weather, and answers once it has seen what the tool says."""

    def __init__(self) -> None:
        super().__init__(Say(ANSWER))

    def next(self, request: dict[str, Any], key: str = "") -> Behaviour:
        super().next(request, key)
        return answer(request)


def answer(request: dict[str, Any]) -> Say:
    named = {tool.get("function", {}).get("name"): tool for tool in request.get("tools") or ()}
    custom = {tool["custom"]["name"] for tool in request.get("tools") or () if "custom" in tool}
    talk = json.dumps(request["messages"])
    seen = SEEN in talk
    report = next((name for name in ("Report", "PartialReport") if name in named), None)
    if report is not None:
        sky = ', "sky": "sunny"' if "Field required" in talk or report != "Report" else ""
        return Say("", tool_calls=[(report, f'{{"city": "Rome"{sky}}}')])
    if "next_tool_name" in talk or "[[ ## reasoning ## ]]" in talk:
        return Say(_fields(talk, seen))
    if "bash" in named:
        command = _SUBMIT if seen else f"echo '{SEEN}'"
        return Say("I look.", tool_calls=[("bash", json.dumps({"command": command}))])
    for shell, wrote in (("exec_command", "cmd"), ("Bash", "command")):
        if shell in named and not seen:
            given = {wrote: f"echo '{SEEN}'"} | ({"description": "Look at the sky"} if shell == "Bash" else {})
            return Say("", tool_calls=[(shell, json.dumps(given))])
    if "functions__exec" in custom and not seen:
        code = f"text((await tools.exec_command({{cmd: \"echo '{SEEN}'\"}})).output)"
        call = {"id": "call_0", "type": "custom", "custom": {"name": "functions__exec", "input": code}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return Say("", fields={"choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]})
    if {"exec_command", "Bash"} & named.keys():
        return Say(ANSWER)
    if "final_answer" in named and seen:
        return Say("", tool_calls=[("final_answer", json.dumps({"answer": ANSWER}))])
    if named and not seen:
        name = next((name for name in named if name and "weather" in name), "weather")
        return Say("", tool_calls=[(name, '{"city": "Rome"}')])
    return Say(ANSWER)


def _fields(talk: str, seen: bool) -> str:
    """An answer in the form that dspy asks for: it has no tools but in words."""
    if "[[ ## next_tool_name ## ]]" not in talk:
        given = {"reasoning": "I have seen it.", "answer": ANSWER}
    else:
        tool, arguments = ("finish", "{}") if seen else ("weather", '{"city": "Rome"}')
        given = {"next_thought": "I look.", "next_tool_name": tool, "next_tool_args": arguments}
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in (given | {"completed": ""}).items())
