"""Stand-ins for language models, so that the examples run without a key. They are programs, not models: the teacher
follows a recipe, the student can only imitate the demonstrations it is shown, and guesses where none fits."""

from __future__ import annotations

import json
import os
import random
import re

import atlas
from atlas.testing import ScriptedModel

RECIPES = {"broken": "refund", "where": "track", "cancel": "cancel"}
STUDENT = atlas.Price(prompt=0.40, completion=1.60, note="stated for the example")
TEACHER = atlas.Price(prompt=3.00, completion=15.00, note="stated for the example")


def pair() -> tuple[atlas.Model | str, atlas.Model | str]:
    """(student, teacher): the models named in ATLAS_STUDENT and ATLAS_TEACHER, a stand-in for each that is not."""
    student, teacher = os.environ.get("ATLAS_STUDENT"), os.environ.get("ATLAS_TEACHER")
    missing = [name for name, model in (("ATLAS_STUDENT", student), ("ATLAS_TEACHER", teacher)) if not model]
    if missing:
        print(f"{' and '.join(missing)} not named: stand-ins act, programs at made-up token counts, no models.")
    return (
        student or ScriptedModel(_imitate, name="stand-in-student", price=STUDENT, shares_prompt=True),
        teacher or ScriptedModel(_recipe, name="stand-in-teacher", price=TEACHER),
    )


def _recipe(ask: atlas.Ask) -> atlas.Reply:
    tool = next(tool for word, tool in RECIPES.items() if word in ask.view.task.goal)
    return _move(ask.view, ["find_order", tool, ""][min(ask.view.index, 2)])


def _imitate(ask: atlas.Ask) -> list[atlas.Reply]:
    view, wish = ask.view, ask.view.task.goal.partition(" ")[2]
    for window in view.retrieved:
        if window.goal.partition(" ")[2] == wish and len(window.steps) > view.index:
            action = window.steps[view.index].action
            return [_move(view, action.partition("(")[0] if "(" in action else "")] * ask.n
    guesses = [random.Random(f"{view.task.goal}{view.index}{ask.first + i}") for i in range(ask.n)]
    return [_move(view, guess.choice(["find_order", "refund", "track", "cancel"])) for guess in guesses]


def _move(view: atlas.View, tool: str) -> atlas.Reply:
    """Call ``tool`` with what the conversation says, or say that all is done."""
    if not tool:
        return atlas.Reply(text="It is done.")
    order = re.search(r"\bA\d+", view.observation)
    given = (
        {"order": order.group() if order else "?"} if tool != "find_order" else {"customer": view.task.goal.split()[0]}
    )
    return atlas.Reply(text="", tool_calls=(atlas.ToolCall(name=tool, arguments=json.dumps(given)),))
