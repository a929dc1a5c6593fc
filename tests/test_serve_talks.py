"""Whose a conversation is, told by what is said in it."""

from __future__ import annotations

from typing import Any

from tests.serve_fixtures import CHAT, ask, atlas, serving  # first: it skips where the extra is absent

# isort: split
from atlas.records import Decision, Message
from atlas.serve.talks import Talks
from atlas.testing import ScriptedModel


def test_words_tell_whose_a_conversation_is_until_its_episode_is_over() -> None:
    talks = Talks()
    opening = [Message(role="user", content="go")]
    head = "I looked at every file of the project, one after the other, and what I found at last is this: "
    texts = {f"e{i}": f"{head}line {i} is wrong." for i in range(300)}
    for id, text in texts.items():
        for said in (text, *(f"{text} And {i} more." for i in range(3))):
            talks.said(id, opening, [Decision(actor="student", reason="", action="", text=said)])
    for id, text in texts.items():
        found = talks.find([Message(role="user", content=f'So far: "{text}" Go on.')])
        assert found is not None and found.id == id and found.rewritten
        assert talks.find([Message(role="user", content=f"So far: {text[:-1]}")]) is None, "not all of it"
        talks.forget(id)
        assert talks.find([Message(role="user", content=f"So far: {text}")]) is None
    assert not talks._texts and not talks._moments, "nothing is left of what is over"


def test_a_conversation_of_system_messages_alone_is_an_episode() -> None:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "system", "content": "Say a joke."}]}
    with serving(atlas.Agent(ScriptedModel(["a joke", "another joke"]))) as (server, tenant):
        status, first, answer = ask(server.url, CHAT, body)
        assert status == 200
        body["messages"] += [answer["choices"][0]["message"], {"role": "user", "content": "another"}]
        assert ask(server.url, CHAT, body)[1]["x-atlas-episode"] == first["x-atlas-episode"]
        assert len(tenant.episodes) == 1
