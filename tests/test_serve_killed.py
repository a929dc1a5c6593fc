"""A server that is killed: what it had answered is in its run, and the next one goes on from it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")

import atlas
from atlas.benchmarks.reliability import children
from atlas.cli import main
from atlas.records import Ask, Price, Reply, Stop, ToolCall, total
from atlas.serve import Limits, Serving, Tenant, Tenants
from atlas.testing import ScriptedModel
from atlas.traces import Run
from atlas.traces.open_log import OPEN, OpenLog, open_lines
from atlas.traces.open_state import state_of
from atlas.traces.place import place_of
from atlas.traces.prune import Choice, prune
from tests.postgres_server import drop, fresh
from tests.serve_fixtures import CHAT, ask, chat, serving
from tests.waiting import until

PRICE = Price(prompt=1.0, completion=2.0)
RETRY = {"x_stainless_retry_count": "1"}


class Billed:
    """A model whose calls are in a file, however its process ends."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, given: Ask) -> Reply:
        with self.file.open("a") as file:
            file.write("x\n")
        number = len(self.file.read_text().splitlines())
        if "tool" in given.view.opening:
            return Reply(text="", tool_calls=(ToolCall(id=f"call_{number}", name="look", arguments="{}"),))
        return Reply(text=f"answer {number} to {given.view.opening}")


def agent(run: object, billed: Path, name: str = "clerk", **settings: Any) -> atlas.Agent:
    model = ScriptedModel(Billed(billed), name=name, price=PRICE)
    return atlas.Agent(model, run=str(run), expect=None, **settings)


@contextmanager
def killed(make: Callable[[], Tenant], folder: Path) -> Iterator[str]:
    """The URL of a server in a process of its own, which is killed when the block ends."""

    def work() -> None:
        with Serving(Tenants([make()])) as server:
            (folder / "url.new").write_text(server.url)
            (folder / "url.new").rename(folder / "url")
            time.sleep(3600)

    child = children.begin(work, folder, folder / "said")
    try:
        assert until((folder / "url").exists), (folder / "said").read_text()
        yield (folder / "url").read_text()
    finally:
        (folder / "url").unlink(missing_ok=True)
        assert children.kill(child) == -signal.SIGKILL


def tenant(made: atlas.Agent, **limits: Any) -> Tenant:
    return Tenant("default", made, (), Limits(**limits), moves=made.folder is None)


def answered(url: str, texts: list[str], path: str = CHAT, **headers: str) -> tuple[str, str]:
    """The episode and the answer."""
    status, told, body = ask(url, path, chat(*texts), **headers)
    assert status == 200, body
    return told["x-atlas-episode"], body["choices"][0]["message"]["content"]


@pytest.fixture(params=["folder", "server"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "run")
    else:
        made = fresh()
        yield f"{made}&run=desk"
        drop(made)


def test_what_was_answered_is_paid_for_and_gone_on_with(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    billed = tmp_path / "billed"
    with killed(lambda: tenant(agent(run, billed)), tmp_path) as url:
        id, one = answered(url, ["hello"])
        assert answered(url, ["hello", one, "and then?"])[0] == id
        alone, _ = answered(url, ["another"], f"/e/mine{CHAT}")
    used = total(Run(run).used())
    assert used.calls == 3 and used.dollars, "before anybody asks"
    main(["traces", "show", run])
    assert "2 open or killed: $0.0000530" in " ".join(capsys.readouterr().out.split())
    with Serving(Tenants([tenant(agent(run, billed))])) as server:
        # The client did not hear, or says so, and asks again.
        again, two = answered(server.url, ["hello", one, "and then?"], **RETRY)
        assert again == id and two == "answer 2 to hello" and len(billed.read_text().split()) == 3
        assert answered(server.url, ["hello", one, "and then?", two, "go on"])[0] == id
        assert ask(server.url, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})[2]["steps"] == 3
        assert ask(server.url, "/v1/atlas/episodes/mine/score", {"score": 0.0})[2]["id"] == alone
    found = {e.id: e for e in Run(run).episodes()}
    assert set(found) == {id, alone} and not any(e.lost for e in found.values())
    steps = found[id].steps
    assert [s.decision.text for s in steps] == [f"answer {n} to hello" for n in (1, 2, 4)]
    assert [s.outcome.text for s in steps] == ["and then?", "go on", ""]
    assert [len(s.decision.prompt.history) for s in steps] == [1, 3, 5]
    assert [total(s.spend).calls for s in steps] == [1, 1, 1]
    assert total(Run(run).used()).calls == len(billed.read_text().split()) == 4


def test_an_answer_that_nobody_had_is_given_to_who_asks_again(tmp_path: Path) -> None:
    """It was kept, and the server killed before the client had it."""
    run, billed = tmp_path / "run", tmp_path / "billed"
    with killed(lambda: tenant(agent(run, billed)), tmp_path) as url:
        id, one = answered(url, ["hello"])
        named, _ = answered(url, ["work"], f"/e/mine{CHAT}")
    lines = [line for line in (run / OPEN).read_bytes().splitlines(keepends=True) if b'"had"' not in line[:14]]
    (run / OPEN).write_bytes(b"".join(lines) + b'{"type":"open","episode":"' + id.encode())
    with serving(agent(run, billed)) as (server, _):
        assert answered(server.url, ["work"], f"/e/mine{CHAT}") == (named, "answer 2 to work")
        assert answered(server.url, ["hello"]) == (id, one) and len(billed.read_text().split()) == 2
        assert answered(server.url, ["work"], f"/e/mine{CHAT}") == (named, "answer 3 to work"), "once"
        assert answered(server.url, ["hello"])[0] != id, "the same opening, asked by one who has its answer"


def test_who_has_its_answer_begins_anew_with_the_same_opening(tmp_path: Path) -> None:
    run, billed = tmp_path / "run", tmp_path / "billed"
    with killed(lambda: tenant(agent(run, billed)), tmp_path) as url:
        id, one = answered(url, ["hello"])
        assert until(lambda: b'"had"' in (run / OPEN).read_bytes())
    with serving(agent(run, billed)) as (server, _):
        assert answered(server.url, ["hello"])[0] != id
        assert answered(server.url, ["hello", one, "go on"])[0] == id


def test_what_nobody_goes_on_with_ends_in_the_trace(tmp_path: Path) -> None:
    run, billed = tmp_path / "run", tmp_path / "billed"
    with killed(lambda: tenant(agent(run, billed)), tmp_path) as url:
        id, one = answered(url, ["hello"])
        answered(url, ["hello", one, "and then?"])
    another = agent(run, billed, name="another")
    with serving(another, idle=0.2) as _:
        assert until(lambda: Run(run).results())
    (result,) = Run(run).results()
    assert (result.id, result.stop, result.score, result.steps) == (id, Stop.DONE, None, 2)
    assert total(result.spend).calls == 2 and result.config == Run(run).episodes()[0].config
    assert len(Run(run).episodes()[0].steps) == 2 and open_lines(run / OPEN) == {}


def test_choices_calls_of_tools_and_a_budget_survive(tmp_path: Path) -> None:
    run, billed = tmp_path / "run", tmp_path / "billed"
    spare = {"budget": atlas.Budget(tokens=40)}
    with killed(lambda: tenant(agent(run, billed, **spare)), tmp_path) as url:
        status, told, body = ask(url, CHAT, chat("tool", n=2), x_stainless_retry_count="0")
        assert status == 200, body
        said = [choice["message"] for choice in body["choices"]]
        id = told["x-atlas-episode"]
    with serving(agent(run, billed, **spare)) as (server, _):
        again = ask(server.url, CHAT, chat("tool", n=2), **RETRY)[2]
        assert [choice["message"] for choice in again["choices"]] == said
        assert again["usage"] == body["usage"] and again["id"] == body["id"]
        messages = [*chat("tool")["messages"], said[1]]
        messages.append({"role": "tool", "tool_call_id": said[1]["tool_calls"][0]["id"], "content": "seen"})
        assert ask(server.url, CHAT, {"model": "m", "messages": messages})[1]["x-atlas-episode"] == id
        for number in range(9):
            messages.append({"role": "user", "content": f"{number}"})
            status, _, told_ = ask(server.url, f"/e/{id}{CHAT}", {"model": "m", "messages": messages})
            if status != 200:
                break
        assert told_["error"]["code"] == "budget_exceeded", "what was used before counts"
    first = Run(run).episodes()[0].steps[0]
    assert first.decision.tool_calls[0].id == said[1]["tool_calls"][0]["id"] and first.outcome.text == "seen"


def test_it_is_pruned_with_its_episode_and_by_a_text(tmp_path: Path) -> None:
    run, billed = tmp_path / "run", tmp_path / "billed"
    with killed(lambda: tenant(agent(run, billed)), tmp_path) as url:
        gone, _ = answered(url, ["my name is Zoe Q"])
        stays, _ = answered(url, ["hello"])
    done = prune(place_of(run), Choice(containing=("zoe q",)), by="person:me", reason="asked for")
    assert done.episodes == (gone,) and total(done.arms[0].spend).calls == 1
    assert list(open_lines(run / OPEN)) == [stays]
    assert not any(b"Zoe" in path.read_bytes() for path in run.iterdir() if path.is_file())
    assert gone.encode() not in b"".join(path.read_bytes() for path in run.iterdir() if path.is_file())
    assert total(Run(run).used()).calls == 2


def test_the_file_stays_small_and_another_writer_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.traces.open_log.LARGE", 4000)
    path = tmp_path / OPEN
    one, two = OpenLog(path), OpenLog(path)
    for number in range(300):
        id = f"{number:012x}"
        (one, two)[number % 2].append(b'{"type":"open","episode":"%s","text":"%s"}' % (id.encode(), b"x" * 60))
        if number % 10:
            (two, one)[number % 2].append(b'{"type":"over","episode":"%s"}' % id.encode())
    assert path.stat().st_size < 12_000
    assert list(open_lines(path)) == [f"{number:012x}" for number in range(0, 300, 10)]
    two.append(b'{"type":"open","episode":"cut of')
    one.append(b'{"type":"over","episode":"000000000000"}')
    assert len(open_lines(path)) == 29
    for log in (one, two):
        log.close()


def test_lines_that_are_missing_are_no_state(tmp_path: Path) -> None:
    run, billed = tmp_path / "run", tmp_path / "billed"
    with killed(lambda: tenant(agent(run, billed)), tmp_path) as url:
        id, one = answered(url, ["half a pair: \ud800"])
        assert answered(url, ["half a pair: \ud800", one, "and then?"])[0] == id
    lines = open_lines(run / OPEN)[id]
    assert state_of(lines, "default") is not None and state_of(lines, "other") is None
    assert state_of(lines[1:], "default") is None
    for cut in range(0, len(lines[0]) - 2, 7):
        assert state_of([lines[0][:cut] + b"\n"], "default") is None
    assert json.loads(lines[0])["owner"] == "default" and os.stat(run / OPEN).st_mode & 0o077 == 0
