"""Replies as they are read: the quick way and the patterns say the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atlas.actions import Parsed, _at_once, _read

OFFERED = ("look", "Go to shelf 1", "think", "*")
PARTS = ["Thought:", "Action:", "Action: ", "thought", "action", ":", " ", "\t", "\n", "\r", "\u2028", "look", "*", ">"]
near_the_form = st.lists(st.sampled_from([*PARTS, *OFFERED]), max_size=12).map(lambda parts: "".join(parts))
in_the_form = st.builds(
    lambda thought, before, action, after: f"Thought:{thought}\nAction: {before}{action}{after}",
    st.text(max_size=6),
    st.text(" \t:*`_\u2003", max_size=3),
    st.sampled_from(OFFERED) | st.text(max_size=4),
    st.text(" \t:*`_.\u2003", max_size=3),
)


@given(near_the_form | in_the_form)
def test_a_reply_in_the_form_asked_for_is_read_as_any_other(text: str) -> None:
    found = _at_once(text, OFFERED)
    assert found is None or found == _read(text, OFFERED)


def test_the_form_asked_for_is_known() -> None:
    said = "Thought: it may be there.\nAction: go to  Shelf 1."
    assert _at_once(said, OFFERED) == Parsed("Go to shelf 1", "go to shelf 1", "it may be there.")
    assert _at_once(said, ()) is None is _at_once("Thought: a\nThought: b\nAction: look", OFFERED)
