"""What an ALFWorld game asks for, read from its goal sentence."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal["put", "two", "clean", "heat", "cool", "look"]


class Goal(BaseModel):
    """One household task: which class of object, what to do with it, and where it ends.

    `place` is a class of receptacle, or the class of lamp when `kind` is "look". Classes are the names
    without their number: `apple`, not `apple 1`.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    object: str
    place: str


_OBJECT = r"(?P<object>[a-z][a-z \-]*?)"
_PLACE = r"(?P<place>[a-z][a-z \-]*)"
_SOME = r"(?:an?|some|the|one)"
_IN = r"(?:in/on|into|onto|in|on)"
_ADJECTIVES = "clean|hot|heated|cool|cold|cooled"
LONGEST = 500
"""Characters of a goal: the wordings are far shorter, and what is longer could be cut in many ways."""
_BY_WORD: dict[str, Kind] = {
    "clean": "clean", "heat": "heat", "hot": "heat", "heated": "heat",
    "cool": "cool", "cold": "cool", "cooled": "cool",
}  # fmt: skip

_PATTERNS = [
    re.compile(rf"(?:put|find) two {_OBJECT}(?: and put them)? {_IN} (?:{_SOME} )?{_PLACE}"),
    re.compile(rf"put {_SOME} (?P<word>{_ADJECTIVES}) {_OBJECT} {_IN} (?:{_SOME} )?{_PLACE}"),
    re.compile(rf"(?P<word>clean|heat|cool) {_SOME} {_OBJECT} and put it {_IN} (?:{_SOME} )?{_PLACE}"),
    re.compile(rf"(?:look at|examine) (?:{_SOME} )?{_OBJECT} (?:under|with|by|in) (?:{_SOME} )?{_PLACE}"),
    re.compile(rf"(?:find|take|put) (?:{_SOME} )?{_OBJECT}(?: and put it)? {_IN} (?:{_SOME} )?{_PLACE}"),
]
_KINDS: list[Kind | None] = ["two", None, None, "look", "put"]
_TASK_LINE = re.compile(r"your task is to: *([^\n]*)")


def parse_goal(sentence: str) -> Goal | None:
    """Read a goal sentence in any of the wordings that ALFWorld uses; None when it is none of them.

    `sentence` may be the bare sentence or a text that contains the line "Your task is to: ...".
    """
    text = sentence.lower()
    if line := _TASK_LINE.search(text):
        text = line.group(1)
    text = text.strip().rstrip(".").strip()
    if len(text) > LONGEST:
        return None
    for pattern, kind in zip(_PATTERNS, _KINDS, strict=True):
        if found := pattern.fullmatch(text):
            parts = found.groupdict()
            return Goal(
                kind=kind or _BY_WORD[parts["word"]],
                object=parts["object"].strip(),
                place=parts["place"].strip(),
            )
    return None
