"""Following advice without understanding it: for students that read no prompt."""

from __future__ import annotations

import re

from atlas.records import View

_ACTION = re.compile(r"^[^\S\n]*action[^\S\n]*+:[ \t]*+(.*\S)", re.IGNORECASE | re.MULTILINE)
_AHEAD = 2
"""A listed action may be impossible because it is done already (the door is open): then the one after it is tried."""


def advised(view: View) -> str | None:
    """The action that the advice names next; None where it names none that is possible now. Where the environment
    lists no actions, any may be possible.

    Advice lists actions as ``Action: ...`` lines, in order. Those that were taken, in that order, are done.
    """
    written = _ACTION.findall(view.advice)
    listed = [line.casefold() for line in written]
    if not listed or view.tools or view.messages:
        return None
    done = 0
    for turn in view.turns:
        if done < len(listed) and turn.action.casefold() == listed[done]:
            done += 1
    if len(listed) == 1:
        done = 0  # one line is about this step, whatever was done before
    if not view.admissible:
        return written[done] if done < len(written) else None
    possible = {action.casefold(): action for action in view.admissible}
    return next((possible[line] for line in listed[done : done + _AHEAD] if line in possible), None)
