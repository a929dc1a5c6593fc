"""Open episodes that move between the processes of a run on a server, in mid-conversation."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")

import atlas
from atlas.errors import ConfigError
from atlas.memory import Memory
from atlas.records import Ask, total
from atlas.serve import Limits, Serving, Tenant, Tenants
from atlas.serve.moving import Held, Moving
from atlas.testing import ScriptedModel
from atlas.traces import Run, server_connection
from tests.postgres_server import ask as on_server
from tests.postgres_server import drop, fresh, schema
from tests.serve_fixtures import CHAT, ask, chat
from tests.waiting import meanwhile, until

MODEL = """
import time
from atlas.testing import ScriptedModel

def counts(ask):
    turns = sum(turn.observation != "" for turn in ask.view.turns)
    if "slow" in ask.view.task.goal and len(ask.view.turns) == 2:
        time.sleep(60)
    return f"answer {len(ask.view.turns)} to {ask.view.task.goal}"

def clerk():
    return ScriptedModel(counts, name="clerk")
"""


def answers(ask: Ask) -> str:
    return f"answer {len(ask.view.turns)} to {ask.view.task.goal}"


@pytest.fixture
def url() -> Iterator[str]:
    made = fresh()
    yield made
    drop(made)


@contextmanager
def servers(url: str, number: int = 2, **limits: Any) -> Iterator[list[str]]:
    """The URLs of servers of one memory and one run, each with an agent of its own."""
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            agent = atlas.Agent(
                ScriptedModel(answers, name="clerk"), run=f"{url}&run=desk", memory=url, embedder="hash", expect=None
            )
            tenant = Tenant("default", agent, (), Limits(**limits), moves=True)
            made.append(stack.enter_context(Serving(Tenants([tenant]))).url)
        yield made


def said(where: str, texts: list[str], path: str = CHAT, **headers: str) -> str:
    """The conversation goes on by one answer."""
    status, told, body = ask(where, path, chat(*texts), **headers)
    assert status == 200, body
    texts.append(body["choices"][0]["message"]["content"])
    return told["x-atlas-episode"]


def test_a_conversation_that_alternates_between_servers_is_one_episode(url: str) -> None:
    with servers(url) as (one, other):
        talk, named = ["find the order"], ["book a table"]
        ids, names = set(), set()
        for turn in range(6):
            where = (one, other)[turn % 2]
            ids.add(said(where, talk))
            names.add(said((other, one)[turn % 2], named, "/e/mine/v1/chat/completions"))
            talk.append(f"and then {turn}")
            named.append(f"at {turn}")
        assert len(ids) == len(names) == 1 and ids != names
        (id,) = ids
        assert ask(other, f"/v1/atlas/episodes/{id}")[2] == {"id": id, "open": True, "steps": 5}
        assert ask(one, "/v1/atlas/episodes/mine/score", {"score": 1.0})[2]["steps"] == 6
        assert ask(other, f"/v1/atlas/episodes/{id}/score", {"score": 0.5, "end": False})[2]["open"]
        over = ask(one, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})[2]
        assert over["steps"] == 6 and over["success"] and not over["open"]
        late = ask(other, f"/v1/atlas/episodes/{id}/score", {"score": 0.0})[2]
        assert late["score"] == 0.0 and late["steps"] == 6, "the other one learns that it is over, and scores it late"
    run = Run(f"{url}&run=desk")
    episodes = run.episodes()
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.result is not None and not episode.lost
        assert [step.index for step in episode.steps] == list(range(6))
        assert [len(step.decision.prompt.history) for step in episode.steps] == sorted(
            len(step.decision.prompt.history) for step in episode.steps
        )
        assert total(episode.result.spend).calls == 6 == total(s for step in episode.steps for s in step.spend).calls
    assert [step.outcome.text for step in episodes[0].steps][:2] == ["and then 0", "and then 1"]
    with Memory(url, "hash") as memory:
        assert len(memory.demonstrations.all()[0].steps) == 6, "what is learned is the whole of it"


def test_many_calls_of_one_episode_at_once_are_all_answered_and_kept(url: str) -> None:
    with servers(url) as both:
        told: list[tuple[int, Any]] = []

        def call(number: int) -> None:
            status, _, body = ask(both[number % 2], "/e/mine/v1/chat/completions", chat(f"part {number}"))
            told.append((status, body))

        for start in (0, 8):
            threads = [threading.Thread(target=call, args=(start + number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [status for status, _ in told] == [200] * 16, told
        assert ask(both[0], "/v1/atlas/episodes/mine/score", {"score": 1.0})[2]["steps"] == 16
    (episode,) = Run(f"{url}&run=desk").episodes()
    assert episode.result is not None and total(episode.result.spend).calls == 16 and not episode.lost
    assert [step.index for step in episode.steps] == list(range(16))


async def test_a_client_that_hangs_up_while_its_episode_is_claimed_leaves_it_free(url: str) -> None:
    agent = atlas.Agent(ScriptedModel(answers, name="clerk"), run=f"{url}&run=desk", expect=None)
    moving, asked, answered = Moving(agent), threading.Event(), threading.Event()
    claims = moving._open.claims
    claim = claims.claim

    def slow(key: object) -> bool:
        asked.set()
        answered.wait(60)
        return claim(key)

    claims.claim = slow  # type: ignore[method-assign]

    async def turn() -> None:
        async with moving.turn("one", Held(), lambda episode: None):
            raise AssertionError("it was called off")

    call = asyncio.create_task(turn())
    assert await meanwhile(asked.is_set)
    call.cancel()
    await asyncio.sleep(0)
    answered.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    other = atlas.Agent(ScriptedModel(answers, name="clerk"), run=f"{url}&run=desk", expect=None)
    theirs = Moving(other)._open.claims
    assert await meanwhile(lambda: theirs.claim(("open", "one")), seconds=30)
    await moving.close()
    agent.close()
    other.close()


@pytest.mark.parametrize("enders", [1, 4])
def test_calls_and_scores_at_once_with_a_score_are_answered_and_leave_one_episode_of_a_name(
    url: str, enders: int, caplog: pytest.LogCaptureFixture
) -> None:
    with servers(url) as both:
        for _ in range(6):
            talk = ["begin"]
            said(both[0], talk, "/e/mine/v1/chat/completions")
            begun = threading.Barrier(6 + enders)
            told: list[tuple[int, Any]] = []

            def call(number: int, begun: threading.Barrier = begun, told: list[tuple[int, Any]] = told) -> None:
                begun.wait()
                where = both[number % 2]
                if number < 6:
                    told.append(ask(where, "/e/mine/v1/chat/completions", chat(f"part {number}"))[::2])
                else:
                    told.append(ask(where, "/v1/atlas/episodes/mine/score", {"score": 1.0})[::2])

            threads = [threading.Thread(target=call, args=(number,)) for number in range(6 + enders)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert {status for status, _ in told} <= {200, 404, 499, 503}, told
            said(both[1], ["after"], "/e/mine/v1/chat/completions")
            assert ask(both[0], "/v1/atlas/episodes/mine/score", {"score": 1.0})[0] == 200
    assert "Traceback" not in caplog.text and "KeyError" not in caplog.text
    for episode in Run(f"{url}&run=desk").episodes():
        assert episode.result is not None and not episode.lost and episode.result.steps == len(episode.steps)


def test_an_answer_that_was_given_elsewhere_is_given_again_and_is_no_further_step(url: str) -> None:
    with servers(url) as (one, other):
        talk = ["count"]
        id = said(one, talk)
        first = talk[-1]
        again = ["count"]
        assert said(other, again, x_stainless_retry_count="1") == id and again[-1] == first
        talk.append("go on")
        assert said(other, talk) == id
        assert said(other, ["count"]) != id, "without that it is another episode of the same task"
        assert ask(one, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})[2]["steps"] == 2


def test_responses_are_gone_on_from_at_either_server(url: str) -> None:
    with servers(url) as (one, other):
        status, headers, first = ask(one, "/v1/responses", {"model": "m", "input": "hello"})
        assert status == 200
        more = {"model": "m", "input": "and now?", "previous_response_id": first["id"]}
        status, told, second = ask(other, "/v1/responses", more)
        assert status == 200 and told["x-atlas-episode"] == headers["x-atlas-episode"]
        assert second["output"][0]["content"][0]["text"].startswith("answer 1 to hello")


def test_idle_episodes_end_wherever_they_were_and_a_server_that_stops_leaves_them_open(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas.serve.app.SWEEP", 0.2)
    talk = ["stay"]
    with servers(url, 1) as (one,):
        id = said(one, talk)
    assert Run(f"{url}&run=desk").results() == []
    with servers(url, 2, idle=900) as (one, other):
        talk.append("still there?")
        assert said(other, talk) == id
        on_server(f"UPDATE {schema(url)}.run_open SET used = used - interval '1 hour'")
        assert until(lambda: Run(f"{url}&run=desk").results())
        results = Run(f"{url}&run=desk").results()
        assert [(e.id, e.steps, e.score) for e in results] == [(id, 2, None)]
        talk.append("once more")
        assert said(one, talk) != id, "it is over, so that another one begins"
    ends = [e for e in Run(f"{url}&run=desk").episodes() if e.result is not None]
    assert [e.id for e in ends].count(id) == 1


def test_what_cannot_move_is_one_sentence(tmp_path: Path) -> None:
    with (
        atlas.Agent(ScriptedModel("x"), run=tmp_path / "run") as agent,
        pytest.raises(ConfigError, match=r"give --run postgresql://.*&run=NAME, and no --otlp"),
    ):
        Tenant("default", agent, moves=True)


def test_workers_without_a_run_on_a_server_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    command = [sys.executable, "-m", "atlas", "serve", "--port", "0", "--student", "python:mine.py:clerk"]
    made = subprocess.run(
        [*command, "--run", "run", "--workers", "2"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=env(),
        timeout=300,
    )
    assert made.returncode == 2 and made.stdout == ""
    assert " ".join(made.stderr.split()).count("give --run postgresql://") == 1
    assert not (tmp_path / "run").exists(), "what is refused leaves nothing"


# --- real processes ---------------------------------------------------------------------------------------------------


def env() -> dict[str, str]:
    root = str(Path(atlas.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


@contextmanager
def process(url: str, folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    (folder / "mine.py").write_text(MODEL)
    words = ["--student", "python:mine.py:clerk", "--embedder", "hash", "--expect", "none", "--memory", url]
    command = [sys.executable, "-m", "atlas", "serve", "--port", "0", *words, "--run", f"{url}&run=desk", *options]
    made = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=env())
    try:
        assert made.stdout is not None
        yield made.stdout.readline().split()[3].removesuffix("/v1"), made
        made.send_signal(signal.SIGTERM)
        made.communicate(timeout=600)
    finally:
        made.kill()
        made.wait()


def cut_off(where: str, talk: list[str]) -> None:
    """A call whose server is killed."""
    with suppress(OSError, http.client.HTTPException):
        ask(where, CHAT, chat(*talk))


@pytest.mark.slow
def test_a_server_that_is_killed_in_mid_call_costs_that_call_and_no_step_is_there_twice(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "GRACE", 0.5)
    talk = ["be slow"]
    with process(url, tmp_path) as (killed, made), servers(url, 1) as (other,):
        id = said(killed, talk)
        talk.append("second")
        assert said(other, talk) == id
        talk.append("third")
        threading.Thread(target=lambda: cut_off(killed, talk[:]), daemon=True).start()
        deadline = time.monotonic() + 120
        while sum(len(e.steps) for e in Run(f"{url}&run=desk").episodes()) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        made.kill()
        assert said(other, talk) == id
        assert ask(other, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})[2]["steps"] == 3
    (episode,) = Run(f"{url}&run=desk").episodes()
    assert [step.index for step in episode.steps] == [0, 1, 2] and not episode.lost
    assert [step.outcome.text for step in episode.steps[:2]] == ["second", "third"]


@pytest.mark.slow
def test_workers_share_a_port_and_a_client_that_never_reaches_the_same_one_has_one_episode(
    url: str, tmp_path: Path
) -> None:
    with process(url, tmp_path, "--workers", "2") as (where, _):
        talks = [[f"task {number}"] for number in range(6)]
        ids = [{said(where, talk)} for talk in talks]
        for turn in range(5):
            for talk, seen in zip(talks, ids, strict=True):
                talk.append(f"turn {turn}")
                seen.add(said(where, talk))
        assert all(len(seen) == 1 for seen in ids) and len(set.union(*ids)) == 6
        for (id,) in ids:
            assert ask(where, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})[2]["steps"] == 6
    episodes = Run(f"{url}&run=desk").episodes()
    steps = Counter((e.id, step.index) for e in episodes for step in e.steps)
    assert len(steps) == 36 and set(steps.values()) == {1}
