"""Responses that clients go on from by their ids, also when the server was started again."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atlas
from atlas.errors import ConfigError, StoreError
from atlas.testing import ScriptedModel
from atlas.wire.kept import Kept
from tests.serve_fixtures import serving


def item(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": f"no {number}", **more}


def shown(ask: Any) -> str:
    return " / ".join(message.content for message in ask.view.messages)


def test_a_server_that_is_started_again_goes_on(tmp_path: Path) -> None:
    last = None
    for turn in range(3):
        agent = atlas.Agent(ScriptedModel(shown), run=tmp_path / "run")
        with serving(agent) as (server, _):
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="mine")
            answer = client.responses.create(model="m", input=f"turn {turn}", previous_response_id=last)
            last = answer.id
            if turn == 2:
                other = openai.OpenAI(base_url=f"{server.url}/v1", api_key="another's", max_retries=0)
                with pytest.raises(openai.BadRequestError, match="no response"):
                    other.responses.create(model="m", input="x", previous_response_id=last)
                reference: Any = [{"type": "item_reference", "id": answer.output[0].id}]
                again = client.responses.create(model="m", input=[*reference, {"role": "user", "content": "so?"}])
                assert again.output_text == f"{answer.output_text} / so?"
    assert answer.output_text == "turn 0 / turn 0 / turn 1 / turn 0 / turn 0 / turn 1 / turn 2"
    assert stat.S_IMODE((tmp_path / "run" / "responses.sqlite").stat().st_mode) == 0o600


def test_nothing_is_made_where_nobody_asks_for_it(tmp_path: Path) -> None:
    with serving(atlas.Agent(ScriptedModel("hi"), run=tmp_path / "run")) as (server, _):
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="mine")
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        client.responses.create(model="m", input="x", store=False)
    assert not (tmp_path / "run" / "responses.sqlite").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from atlas.wire.kept import Kept
kept, talk = Kept(folder=Path(sys.argv[1])), []
for number in range(1000):
    kept.put("me", f"r{number}", talk, [{"id": f"i{number}", "text": str(number)}], 10)
    talk.append({"id": f"i{number}", "text": str(number)})
    print(number, flush=True)
    if number == 40:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_server_has_told_is_found(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    last = int(done.stdout.split()[-1])
    assert [i["text"] for i in Kept(folder=tmp_path).talk("me", f"r{last}")] == [str(n) for n in range(last + 1)]


puts = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.sampled_from(["r", "r_1", "r%1", "r\\"]), st.lists(st.integers(0, 5), max_size=4)
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=50)
@given(puts)
def test_the_file_says_what_the_memory_says(tmp_path_factory: pytest.TempPathFactory, done: Any) -> None:
    folder = tmp_path_factory.mktemp("kept")
    kept, plain = Kept(folder=folder), Kept()
    for number, (owner, id, before) in enumerate(done):
        own = [{"id": f"{id}/{number}", "n": number}]
        for one in (kept, plain):
            one.put(owner, id, [item(n) for n in before], own, 1)
    kept.close()
    again = Kept(folder=folder)
    for owner, id, _ in done:
        assert again.talk(owner, id) == plain.talk(owner, id)
    for number, (owner, id, _) in enumerate(done):
        names = [f"{id}/{number}"]
        for name in names:
            try:
                expected: Any = plain.item(owner, name)
            except ConfigError:
                with pytest.raises(ConfigError):
                    again.item(owner, name)
            else:
                assert again.item(owner, name) == expected


def test_the_file_is_bounded(tmp_path: Path) -> None:
    kept = Kept(most=20, largest=1 << 30, folder=tmp_path)
    talk: list[Any] = []
    for number in range(200):
        kept.put("me", f"r{number}", talk[-5:], [{"id": f"i{number}", "text": "x" * 1000}], 1000)
        talk.append({"id": f"i{number}", "text": "x" * 1000})
    again = Kept(most=20, folder=tmp_path)
    found = []
    for number in range(200):
        try:
            found.append((number, len(again.talk("me", f"r{number}"))))
        except ConfigError:
            continue
    assert found[-1] == (199, 6) and 18 <= len(found) <= 20 and found[0][0] == 200 - len(found)
    kept.close()
    big = Kept(most=1000, largest=5000, folder=tmp_path)
    for number in range(20):
        big.put("me", f"s{number}", [], [{"id": f"j{number}"}], 1000)
    assert len(Kept(largest=5000, folder=tmp_path).talk("me", "s19")) == 1
    with pytest.raises(ConfigError):
        Kept(largest=5000, folder=tmp_path).talk("me", "s14")


def test_many_threads_and_two_servers(tmp_path: Path) -> None:
    one, two = Kept(folder=tmp_path), Kept(folder=tmp_path)
    failed: list[BaseException] = []

    def work(kept: Kept, name: str) -> None:
        try:
            for number in range(30):
                kept.put(name, f"r{number}", [item(1)], [{"id": f"{name}{number}"}], 1)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=((one, two)[n % 2], f"t{n}")) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and all(len(one.talk(f"t{n}", "r29")) == 2 for n in range(6))


def test_a_file_that_is_damaged_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "responses.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"responses\.sqlite cannot be used .*: delete it"):
        Kept(folder=tmp_path)
    os.unlink(tmp_path / "responses.sqlite")
    Kept(folder=tmp_path).put("me", "r", [], [{"id": "i"}], 1)
