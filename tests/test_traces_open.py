"""What a server answered and what is open still is in no trace yet: a copy of a run has it, and a pruning finds it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")

from atlas.cli import main
from atlas.errors import StoreError
from atlas.records import Stop, total
from atlas.serve import Serving, Tenants
from atlas.traces import Run
from atlas.traces.copying import copy
from atlas.traces.place import place_of, values
from atlas.traces.prune import Choice, going, prune
from atlas.wrap.due import DUE
from tests.postgres_server import ask as asked
from tests.postgres_server import drop, fresh, schema
from tests.serve_fixtures import CHAT, ask, serving
from tests.test_serve_killed import RETRY, agent, answered, killed, tenant

WHO = {"by": "person:me", "reason": "asked for"}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A place for a run of each kind, twice."""
    with ExitStack() as stack:
        urls = {}
        with suppress(pytest.skip.Exception):
            urls = {"server": f"{fresh()}&run=desk", "server copy": f"{fresh()}&run=desk"}
        for url in urls.values():
            stack.callback(drop, url.removesuffix("&run=desk"))
        yield {"folder": str(tmp_path / "run"), "folder copy": str(tmp_path / "copy"), **urls}


def place(made: dict[str, str], kind: str) -> str:
    return made.get(kind) or f"{fresh()}&run=desk"


@contextmanager
def left_open(run: str, billed: Path, folder: Path) -> Iterator[str]:
    """The URL of a server whose episodes stay open when the block ends."""
    if "://" in run:  # a process that is killed there is missed after some seconds only
        with Serving(Tenants([tenant(agent(run, billed))])) as server:
            yield server.url
    else:
        with killed(lambda: tenant(agent(run, billed)), folder) as url:
            yield url


KINDS = ("folder", "server")


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_a_copy_goes_on_where_its_source_was(
    made: dict[str, str], source: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there, billed = place(made, source), place(made, f"{target} copy"), tmp_path / "billed"
    with killed(lambda: tenant(agent(here, billed)), tmp_path) as url:
        id, one = answered(url, ["hello"])
        assert answered(url, ["hello", one, "half a pair: \ud800"])[0] == id
        named, _ = answered(url, ["another"], f"/e/mine{CHAT}")
        over, _ = answered(url, ["third"], f"/e/over{CHAT}")
        ask(url, "/v1/atlas/episodes/over/score", {"score": 1.0})
    place_of(here).log(DUE).append(json.dumps({"episode": over, "arm": "agent", "over": False}).encode())
    main(["traces", "copy", here, there, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["open"] == 2 and total(Run(there).used()) == total(Run(here).used())
    assert [*values(place_of(there).log(DUE))] == [*values(place_of(here).log(DUE))]
    again = copy(place_of(here), place_of(there))
    assert (again.written, again.open, again.sha256) == (0, 2, told["sha256"])
    with Serving(Tenants([tenant(agent(there, billed))])) as server:
        # The client did not hear, and asks again at the copy.
        back, two = answered(server.url, ["hello", one, "half a pair: \ud800"], **RETRY)
        assert back == id and two == "answer 2 to hello" and len(billed.read_text().split()) == 4
        assert answered(server.url, ["hello", one, "half a pair: \ud800", two, "go on"])[0] == id
        assert ask(server.url, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})[2]["steps"] == 3
        assert ask(server.url, "/v1/atlas/episodes/mine/score", {"score": 0.0})[2]["id"] == named
    found = {e.id: e for e in Run(there).episodes()}
    assert set(found) == {id, named, over} and not any(e.lost for e in found.values())
    assert [s.decision.text for s in found[id].steps] == [f"answer {n} to hello" for n in (1, 2, 5)]
    assert [len(s.decision.prompt.history) for s in found[id].steps] == [1, 3, 5]
    assert total(Run(there).used()).calls == len(billed.read_text().split()) == 5
    with pytest.raises(StoreError, match="is another than in"):
        # It has gone on by itself: what its source knows is not put in its place.
        with Serving(Tenants([tenant(agent(here, billed))])) as server:
            ask(server.url, "/v1/atlas/episodes/mine/score", {"score": 0.5})
        copy(place_of(here), place_of(there))


def test_what_is_over_by_now_is_open_in_no_copy(made: dict[str, str], tmp_path: Path) -> None:
    here, billed = made["folder"], tmp_path / "billed"
    targets = [target for kind, target in made.items() if kind.endswith("copy")]
    with killed(lambda: tenant(agent(here, billed)), tmp_path) as url:
        answered(url, ["hello"])
        answered(url, ["another"], f"/e/mine{CHAT}")
        for target in targets:
            assert copy(place_of(here), place_of(target)).open == 2
        ask(url, "/v1/atlas/episodes/mine/score", {"score": 1.0})
        for target in targets:
            assert copy(place_of(here), place_of(target)).open == 1
            assert len(place_of(target).open_states()) == 1
    with serving(agent(here, billed), idle=0.2) as _:
        until = time.monotonic() + 300
        while len(Run(here).results()) < 2 and time.monotonic() < until:
            time.sleep(0.02)
    for target in targets:
        assert copy(place_of(here), place_of(target)).open == 0
        assert not place_of(target).open_states()
        assert [e.result.stop for e in Run(target).episodes() if e.result] == [Stop.DONE, Stop.DONE]
        assert total(Run(target).used()) == total(Run(here).used())


@pytest.mark.parametrize("where", KINDS)
def test_a_text_of_the_newest_open_step_alone_is_found_and_goes(
    made: dict[str, str], where: str, tmp_path: Path
) -> None:
    run, billed = place(made, where), tmp_path / "billed"
    with left_open(run, billed, tmp_path) as url:
        gone, one = answered(url, ["hello"])
        answered(url, ["hello", one, 'write to "Zoë  Q"'])
        stays, _ = answered(url, ["another"])
    done = prune(place_of(run), Choice(containing=('"ZOË  q"',)), **WHO)
    assert done.episodes == (gone,) and total(done.arms[0].spend).calls == 2
    assert not going(place_of(run), Choice(containing=('"ZOË  q"',))).lines
    assert [*place_of(run).open_states()] == [stays] and total(Run(run).used()).calls == 3
    if where == "server":
        kept = asked(f'SELECT state FROM "{schema(run.removesuffix("&run=desk"))}".run_open')
        assert len(kept) == 1 and b"Zo" not in bytes(kept[0][0])
    else:
        assert not any(b"Zo" in path.read_bytes() for path in Path(run).iterdir() if path.is_file())


@pytest.mark.parametrize("where", KINDS)
def test_responses_that_clients_go_on_from_go_with_what_is_pruned(
    made: dict[str, str], where: str, tmp_path: Path
) -> None:
    run, billed = place(made, where), tmp_path / "billed"
    with Serving(Tenants([tenant(agent(run, billed))])) as server:
        told = ask(server.url, "/v1/responses", {"model": "m", "input": "my name is Zoë Q"})[2]
        more = {"model": "m", "input": "and then?", "previous_response_id": told["id"]}
        assert ask(server.url, "/v1/responses", more)[0] == 200
    assert "responses" not in going(place_of(run), Choice(containing=("nobody",))).lines
    done = prune(place_of(run), Choice(containing=("zoë q",)), **WHO)
    assert done.episodes and done.lines["responses"] > 0
    assert not [*place_of(run).beside()]
    assert not going(place_of(run), Choice(containing=("zoë q",))).lines
    with Serving(Tenants([tenant(agent(run, billed))])) as server:
        assert ask(server.url, "/v1/responses", more)[0] in (400, 404)
