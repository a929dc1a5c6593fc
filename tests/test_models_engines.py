"""What the engines of models in this process hand to their tokenizers, without weights."""

from __future__ import annotations

import json
from typing import Any

from atlas.models import hf_engine, llama_engine

TEXT, WHOLE = "a \ud83d desk", "a \ufffd desk"


def _encoded(text: str, **_: Any) -> dict[str, list[int]]:
    """As tokenizers do, it takes whole characters alone."""
    return {"input_ids": list(text.encode())}


class Heard(llama_engine.Engine):
    """What its server would be sent."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def _post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        self.heard.append(json.dumps(body, ensure_ascii=False).encode())
        return {"tokens": [1], "prompt": "p"}


def test_half_a_character_is_replaced_before_it_is_tokenized() -> None:
    engine = object.__new__(hf_engine.Engine)
    engine.tokenizer = _encoded
    assert engine.tokenize(TEXT) == list(WHOLE.encode())
    heard = Heard()
    assert heard.tokenize(TEXT) == [1] and heard.template([{"role": "user", "content": TEXT}]) == "p"
    assert [WHOLE in said.decode() for said in heard.heard] == [True, True]
