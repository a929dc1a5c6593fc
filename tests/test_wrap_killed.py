"""A process that is killed in an episode of its own: what it had been answered is in its run."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="needs the extra litellm")

import atlas
from atlas.benchmarks.reliability import children
from atlas.errors import StoreError
from atlas.memory import postgres_connection
from atlas.records import Ask, Price, Reply, Stop, total
from atlas.testing import ScriptedModel
from atlas.traces import Run, server_connection
from atlas.traces.copying import copy
from atlas.traces.open_log import OPEN, open_lines
from atlas.traces.place import place_of
from atlas.traces.server import ServerClaims, ServerRun
from atlas.traces.server_open import AgentEpisodes
from tests.postgres_server import ask as asked
from tests.postgres_server import drop, fresh, schema
from tests.waiting import until

PRICE = Price(prompt=1.0, completion=2.0)


def agent(run: Path | str, arm: str = "agent") -> atlas.Agent:
    """Its model says how often it was asked in this process."""
    count = iter(range(1, 99))
    model = ScriptedModel(lambda ask: Reply(text=f"answer {next(count)}"), name="clerk", price=PRICE)
    return atlas.Agent(model, run=run, arm=arm, expect=None)


def said(episode: atlas.wrap.WrappedEpisode, *texts: str) -> str:
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    return str(episode.client.chat.completions.create(model="m", messages=turns).choices[0].message.content)  # type: ignore[arg-type]


@contextmanager
def killed(work: Callable[[], object], folder: Path) -> Iterator[None]:
    """A process that does ``work`` and is then killed, at the block's end."""
    done = folder / "done"

    def all_of_it() -> None:
        work()
        done.touch()
        time.sleep(120)

    child = children.begin(all_of_it, folder, folder / "said")
    try:
        until = time.monotonic() + 60
        while not done.exists():
            assert time.monotonic() < until and children.ended(child, 0) is None, (folder / "said").read_text()
            time.sleep(0.01)
        yield
    finally:
        done.unlink(missing_ok=True)
        assert children.kill(child) == -signal.SIGKILL


def two_calls(run: Path | str, arm: str = "agent") -> None:
    episode = agent(run, arm).episode("help")
    episode.__enter__()
    one = said(episode, "hello")
    said(episode, "hello", one, "and then?")


def test_what_was_answered_when_it_was_killed_is_recorded_once(tmp_path: Path) -> None:
    with killed(lambda: two_calls(tmp_path / "run"), tmp_path):
        # It is alive: nobody takes its episode.
        agent(tmp_path / "run").close()
        assert not Run(tmp_path / "run").results() and len(open_lines(tmp_path / "run" / OPEN)) == 1
    run = Run(tmp_path / "run")
    used = total(run.used())
    assert used.calls == 2 and used.dollars is not None, "before anybody looks after it"
    agent(tmp_path / "run", "another").close()
    assert not run.results(), "another arm's is not its own"
    for _ in range(2):
        agent(tmp_path / "run").close()
        (result,) = run.results()
        assert (result.stop, result.score, result.steps) == (Stop.CANCELLED, None, 2)
        (stored,) = run.episodes()
        assert [step.decision.text for step in stored.steps] == ["answer 1", "answer 2"]
        assert [step.outcome.text for step in stored.steps] == ["and then?", ""]
        assert total(run.used()) == used and result.config == stored.config
    assert open_lines(tmp_path / "run" / OPEN) == {}


def recorded(run: Path | str) -> bool:
    agent(run).close()
    return bool(Run(run).results())


def test_it_is_recorded_once_on_a_server_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fresh()
    run = f"{url}&run=desk"
    monkeypatch.setattr(server_connection, "GRACE", 0.5)
    try:
        with killed(lambda: two_calls(run), tmp_path):
            agent(run).close()
            assert not Run(run).results() and len(place_of(run).open_states()) == 1, "it is alive"
        used = total(Run(run).used())
        assert used.calls == 2 and used.dollars is not None, "before anybody looks after it"
        copy(place_of(run), place_of(tmp_path / "copied"))
        copy(place_of(tmp_path / "copied"), place_of(f"{url}&run=back"))
        agent(run, "another").close()
        assert not Run(run).results(), "another arm's is not its own"
        for there in (run, tmp_path / "copied", f"{url}&run=back"):
            assert until(partial(recorded, there)), "a server misses it after a while"
            agent(there).close()
            (result,) = Run(there).results()
            assert (result.stop, result.score, result.steps) == (Stop.CANCELLED, None, 2)
            (stored,) = Run(there).episodes()
            assert [step.decision.text for step in stored.steps] == ["answer 1", "answer 2"]
            assert total(Run(there).used()) == used and result.config == stored.config
            assert place_of(there).open_states() == {}
    finally:
        drop(url)


def test_what_ended_leaves_nothing_open_on_a_server(tmp_path: Path) -> None:
    url = fresh()
    run = f"{url}&run=desk"
    try:
        with agent(run) as made, made.episode("help") as episode:
            said(episode, "hello")
            assert len(place_of(run).open_states()) == 1
            episode.succeed()
        assert place_of(run).open_states() == {} and len(Run(run).results()) == 1
    finally:
        drop(url)


def test_a_server_that_keeps_nothing_keeps_nobody_from_an_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = fresh()
    try:
        with agent(f"{url}&run=desk") as made, made.episode("help") as episode:
            asked(f'DROP TABLE "{schema(url)}".run_open')
            assert said(episode, "hello") == "answer 1"
            assert said(episode, "hello", "answer 1", "and then?") == "answer 2"
            episode.succeed()
        assert caplog.text.count("who is killed loses the newest answer") == 1
        assert [result.steps for result in Run(f"{url}&run=desk").results()] == [2]
    finally:
        drop(url)


@pytest.mark.parametrize("on_server", [False, True])
def test_a_run_whose_claims_cannot_be_kept_keeps_nobody_from_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, on_server: bool
) -> None:
    url = fresh() if on_server else ""
    run = f"{url}&run=desk" if on_server else str(tmp_path / "run")
    try:
        with agent(run) as made, made.episode("help") as episode:
            if on_server:
                monkeypatch.setattr(ServerClaims, "claim", gone)
            else:
                (tmp_path / "run" / "claims").unlink(missing_ok=True)
                (tmp_path / "run" / "claims").mkdir()
            assert said(episode, "hello") == "answer 1"
            assert said(episode, "hello", "answer 1", "and then?") == "answer 2"
            episode.succeed()
        assert caplog.text.count("who is killed loses the newest answer") == 1
        assert [result.steps for result in Run(run).results()] == [2]
    finally:
        if on_server:
            drop(url)


def test_a_server_that_is_back_keeps_what_is_open_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = fresh()
    run = f"{url}&run=desk"
    try:
        with agent(run) as made, made.episode("help") as episode:
            said(episode, "hello")
            place = made.place
            assert isinstance(place, ServerRun)
            with monkeypatch.context() as away:
                away.setattr(AgentEpisodes, "keep", lambda *_: place.connection()._reconnect())
                away.setattr(postgres_connection, "BACK_SECONDS", 0.0)
                away.setattr(postgres_connection, "connect", gone)
                assert said(episode, "hello", "answer 1", "and then?") == "answer 2"
            assert "who is killed loses the newest answer" in caplog.text
            said(episode, "hello", "answer 1", "and then?", "answer 2", "and now?")
            (state,) = place_of(run).open_states().values()
            assert state.state["count"] == 2, "what it answered since"
        assert place_of(run).open_states() == {}
    finally:
        drop(url)


def gone(*_: object) -> None:
    raise StoreError("the server cannot be reached")


def test_what_was_paid_and_came_to_nothing_counts(tmp_path: Path) -> None:
    def failing() -> None:
        def say(ask: Ask) -> Reply:
            return Reply(text="fine")

        made = atlas.Agent(
            ScriptedModel(say, name="clerk", price=PRICE),
            run=tmp_path / "run",
            expect=None,
            budget=atlas.Budget(tokens=1),
        )
        episode = made.episode("help")
        episode.__enter__()
        said(episode, "hello")
        with pytest.raises(Exception, match="budget"):
            said(episode, "hello", "fine", "and then?")

    with killed(failing, tmp_path):
        pass
    agent(tmp_path / "run").close()
    (stored,) = Run(tmp_path / "run").episodes()
    assert [step.outcome.text for step in stored.steps] == ["and then?"] and stored.result is not None


def test_one_that_was_killed_while_it_ended_is_whole(tmp_path: Path) -> None:
    """Its end is in the trace, and open.jsonl does not know yet."""
    with agent(tmp_path / "run") as made:
        with made.episode("help") as episode:
            said(episode, "hello")
            kept = (tmp_path / "run" / OPEN).read_bytes()
            episode.succeed()
        (before,) = Run(tmp_path / "run").results()
    (tmp_path / "run" / OPEN).write_bytes(kept)
    agent(tmp_path / "run").close()
    assert Run(tmp_path / "run").results() == [before] and open_lines(tmp_path / "run" / OPEN) == {}


def test_steps_that_the_trace_has_already_are_not_doubled(tmp_path: Path) -> None:
    """Killed between a step's line and the next word about it."""
    with killed(lambda: two_calls(tmp_path / "run"), tmp_path):
        pass
    path = tmp_path / "run" / OPEN
    first, *_ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first)
    agent(tmp_path / "run").close()
    (stored,) = Run(tmp_path / "run").episodes()
    assert [step.decision.text for step in stored.steps] == ["answer 1"] and stored.result is not None


def test_a_server_goes_on_with_its_own_and_leaves_an_agents(tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="needs the extra serve")
    from tests.serve_fixtures import CHAT, ask, chat, serving

    with serving(agent(tmp_path / "run")) as (server, _):
        assert ask(server.url, CHAT, chat("hello"))[0] == 200
        (lines,) = open_lines(tmp_path / "run" / OPEN).values()
        assert sum(line.startswith(b'{"type":"open"') for line in lines) == 1, "once, and by the server"
        agent(tmp_path / "run").close()
        assert not Run(tmp_path / "run").results()


def test_an_agent_without_a_folder_keeps_nothing(tmp_path: Path) -> None:
    fine = ScriptedModel(lambda ask: Reply(text="fine"))
    with atlas.Agent(fine, expect=None) as made, made.episode("help") as episode:
        assert episode.keeper is None and said(episode, "hello") == "fine"


CLIENT = """
import json, os, pathlib, time, urllib.request
body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
head = {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "content-type": "application/json"}
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(urllib.request.Request(url, body, head)).read()
pathlib.Path("asked").touch()
parent = os.getppid()
while os.getppid() == parent:
    time.sleep(0.05)
"""


def test_a_command_whose_atlas_run_was_killed(tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="needs the extra serve")
    from atlas.serve import run_command

    child = children.begin(
        lambda: run_command([sys.executable, "-c", CLIENT], agent(tmp_path / "run"), goal="help") and None,
        tmp_path,
        tmp_path / "said",
    )
    until = time.monotonic() + 60
    while not (tmp_path / "asked").exists():
        assert time.monotonic() < until and children.ended(child, 0) is None, (tmp_path / "said").read_text()
        time.sleep(0.01)
    assert children.kill(child) == -signal.SIGKILL
    agent(tmp_path / "run").close()
    (stored,) = Run(tmp_path / "run").episodes()
    assert [step.decision.text for step in stored.steps] == ["answer 1"]
    assert stored.result is not None and stored.result.stop is Stop.CANCELLED
