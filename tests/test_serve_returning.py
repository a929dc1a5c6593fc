"""A server that is started again: conversations go on in the episodes that they were."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import atlas
from atlas.cli import main
from atlas.records import Ask, Stop
from atlas.serve.kept_talks import NAME
from atlas.testing import ScriptedModel
from atlas.traces import Run
from atlas.traces.events import Resumed
from tests.serve_fixtures import CHAT, KEY, Limits, Serving, Tenant, Tenants, ask, chat, serving
from tests.waiting import until

OTHER = "a-key-of-a-tenant-0002"


def answers(given: Ask) -> str:
    return f"answer {given.view.index} to {given.view.opening}"


def agent(folder: Path, **settings: Any) -> atlas.Agent:
    return atlas.Agent(ScriptedModel(answers), run=folder, **settings)


def first(url: str, text: str = "hello", path: str = CHAT, **headers: str) -> tuple[str, str]:
    """The id of a new episode, and its first answer."""
    _, told, body = ask(url, path, chat(text), **headers)
    return told["x-atlas-episode"], body["choices"][0]["message"]["content"]


def test_a_conversation_goes_on_in_its_episode(tmp_path: Path) -> None:
    run, memory = tmp_path / "run", str(tmp_path / "memory.sqlite")
    with serving(agent(run, memory=memory, embedder="hash")) as (server, _):
        id, said = first(server.url)
    with serving(agent(run, memory=memory, embedder="hash")) as (server, tenant):
        told = ask(server.url, CHAT, chat("hello", said, "and then?"))[1]
        assert told["x-atlas-episode"] == id and "x-atlas-history" not in told
        assert ask(server.url, CHAT, chat("hello"))[1]["x-atlas-episode"] != id, "the same opening is another task"
        over = ask(server.url, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})[2]
        assert (over["steps"], over["success"]) == (2, True)
        (demo,) = tenant.agent.memory.demonstrations.all()  # type: ignore[union-attr]
        assert len(demo.steps) == 2, "also what was done before is learned"
    stored = next(e for e in Run(run).episodes() if e.id == id)
    assert stored.resumed == ["conversation"] and [s.index for s in stored.steps] == [0, 1]
    assert [m.content for m in stored.steps[1].decision.prompt.history][:2] == ["hello", said]
    result = stored.result
    assert result is not None and (result.stop, result.score, result.steps) == (Stop.DONE, 1.0, 2)
    assert result.spend[0].usage.calls == 2 and result.seconds >= 0
    (event,) = Run(run).events()[:1]
    assert isinstance(event, Resumed) and event.episode == id
    assert not [r for r in Run(run).results() if r.id == id and r.score is None]


def test_an_episode_is_scored_by_its_name_when_its_server_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with serving(agent(run), episodes=1) as (server, _):
        ids = [first(server.url, text, path=f"/e/{name}{CHAT}")[0] for text, name in (("a", "t%2017"), ("b", "t%2018"))]
        ask(server.url, f"/v1/atlas/episodes/{ids[1]}/score", {"score": 0.5})
        ids.append(first(server.url, "c", path="/e/t%2018" + CHAT)[0])
        first(server.url, "no name")
    found = {e.id: e.name for e in Run(run).episodes()}
    assert [found[id] for id in ids] == ["t 17", "t 18", "t 18"] and len(found) == 4 and "" in found.values()
    for name, id in (("t 17", ids[0]), ("t 18", ids[2]), (ids[1], ids[1]), (ids[0][:6], ids[0])):
        main(["score", str(run), name, "1"])
        assert f"episode {id}: score 1 " in capsys.readouterr().out, name
    main(["traces", "show", str(run), ids[0]])
    assert "its client called it t 17" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["score", str(run), "t 19", "1"])
    assert "no episode is named so, or begins with 't 19'" in capsys.readouterr().err
    main(["traces", "prune", str(run), "--containing", "t 17", "--yes"])
    assert b"t 17" not in (run / "trace.jsonl").read_bytes()


def test_a_killed_servers_too_and_the_trace_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, copy = tmp_path / "run", tmp_path / "copy"
    with serving(agent(run)) as (server, _):
        id, said = first(server.url)
        second = ask(server.url, CHAT, chat("hello", said, "and then?"))[2]["choices"][0]["message"]["content"]
        shutil.copytree(run, copy)
    with (copy / NAME).open("ab") as file:
        file.write(b'{"o": "default", "e": "')  # cut off
    with serving(agent(copy)) as (server, _):
        body = chat("hello", said, "and then?", second, "go on")
        assert ask(server.url, CHAT, body)[1]["x-atlas-episode"] == id
        assert ask(server.url, f"/v1/atlas/episodes/{id}")[2] == {"id": id, "open": True, "steps": 2}
    main(["traces", "show", str(copy), id])
    shown = " ".join(capsys.readouterr().out.split())
    assert "went on after its server was stopped, found by its conversation" in shown


def test_by_its_name_and_scored_when_it_is_back(tmp_path: Path) -> None:
    with serving(agent(tmp_path / "run")) as (server, _):
        ids = [first(server.url, path=f"/e/{name}{CHAT}")[0] for name in ("one", "two", "three")]
        ask(server.url, "/v1/atlas/episodes/three/score", {"score": 1.0})
    with serving(agent(tmp_path / "run")) as (server, _):
        assert ask(server.url, "/v1/atlas/episodes/one/score", {"score": 0.5})[2]["score"] == 0.5
        assert first(server.url, path=f"/e/two{CHAT}")[0] == ids[1]
        assert first(server.url, path=f"/e/three{CHAT}")[0] != ids[2], "that one is over"
    found = {e.id: e.resumed for e in Run(tmp_path / "run").episodes() if e.resumed}
    assert found == {id: ["name"] for id in ids[:2]}


def test_what_it_used_before_counts_against_its_budget(tmp_path: Path) -> None:
    def spare() -> atlas.Agent:
        return agent(tmp_path / "run", budget=atlas.Budget(tokens=15))

    with serving(spare()) as (server, _):
        _, said = first(server.url)
        two = ask(server.url, CHAT, chat("hello", said, "go on"))[2]["choices"][0]["message"]["content"]
    with serving(spare()) as (server, _):
        status, _, told = ask(server.url, CHAT, chat("hello", said, "go on", two, "go on"))
    assert status == 400 and told["error"]["code"] == "budget_exceeded"


@pytest.mark.parametrize("why", ["scored", "other agent", "idle", "lost"])
def test_who_does_not_go_on_begins_anew(tmp_path: Path, why: str) -> None:
    run = tmp_path / "run"
    with serving(agent(run)) as (server, _):
        id, said = first(server.url)
    if why == "scored":
        main(["score", str(run), id, "1"])
    if why == "lost":
        (run / NAME).write_bytes(b"\xff\n[]\n{}\n")
    back = atlas.Agent(ScriptedModel(["x"], name="another"), run=run) if why == "other agent" else agent(run)
    with serving(back, idle=0.1 if why == "idle" else 900) as (server, tenant):
        assert why != "idle" or until(lambda: not tenant.episodes._returning.left)
        assert ask(server.url, CHAT, chat("hello", said, "go on"))[1]["x-atlas-episode"] != id
    assert not any(e.resumed for e in Run(run).episodes())


def test_no_other_tenant_and_no_second_server_goes_on_with_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with serving(agent(run), KEY) as (server, _):
        id, said = first(server.url, authorization=f"Bearer {KEY}")
        with serving(agent(run)) as (second, _):
            assert ask(second.url, CHAT, chat("hello", said, "go on"))[1]["x-atlas-episode"] != id, "it is open there"
    other = Tenant("other", agent(run), [OTHER], Limits())
    with Serving(Tenants([other])) as server:
        body = chat("hello", said, "go on")
        told = ask(server.url, CHAT, body, authorization=f"Bearer {OTHER}")[1]
        assert told["x-atlas-episode"] != id
        assert ask(server.url, f"/v1/atlas/episodes/{id}", authorization=f"Bearer {OTHER}")[0] == 404
    with serving(agent(run), KEY) as (server, _):
        told = ask(server.url, CHAT, body, authorization=f"Bearer {KEY}")[1]
        assert told["x-atlas-episode"] == id


def test_what_is_kept_of_a_conversation_says_nothing_and_stays_small(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for _ in range(3):
        with serving(agent(run)) as (server, _):
            id, _ = first(server.url, "my secret question")
            ask(server.url, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})
    with serving(agent(run)):
        pass
    assert (run / NAME).read_bytes() == b"" and (run / NAME).stat().st_mode & 0o077 == 0


def test_a_file_that_cannot_be_written_keeps_nobody_from_an_answer(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with serving(agent(tmp_path / "run")) as (server, _):
        (tmp_path / "run" / NAME).mkdir()
        assert first(server.url)[1] == "answer 0 to hello"
