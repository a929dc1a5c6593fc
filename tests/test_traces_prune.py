"""Episodes are taken out of a run for good: out of its trace, of what is kept beside it, and of a memory."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.errors import ConfigError, StoreError
from atlas.memory import Memory
from atlas.memory.check import check
from atlas.memory.erase import erase
from atlas.memory.pamphlet import Entry, Origin
from atlas.records import total
from atlas.testing.runs import MadeUpArm, write_episode, write_run
from atlas.traces import Run, RunWriter
from atlas.traces.place import place_of
from atlas.traces.prune import Choice, going, needle, prune
from tests.postgres_server import server
from tests.test_traces import step_of

ARMS = {"cascade": MadeUpArm(4, 0.9, teacher=0.5, retrieves=True), "student": MadeUpArm(3, 0.5)}
WHO = {"by": "person:me", "reason": "asked for"}


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture(params=["folder", "server"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "run")
    return f"{server()}?schema=prune_{os.getpid()}_{random.getrandbits(32)}&run=run"


def run_with_a_name(where: str) -> Run:
    """Four episodes of one arm; the second was shown a text of its own, and the last one read a name."""
    from atlas.records import Prompt

    with RunWriter(where, {"n": 1}) as writer:
        rng = random.Random(1)
        for number in range(4):
            write_episode(writer, "student", MadeUpArm(4, 0.5, steps=3), number, rng)
    episodes = [(episode.id, episode.recorded) for episode in Run(where).episodes()]
    with RunWriter(where, {"n": 1}) as writer:
        writer.step(episodes[1][0], step_of(episodes[1][1], Prompt(stable="only for this one")))
        writer.step(episodes[3][0], step_of(episodes[3][1], Prompt(stable="all"), text='call "Zoë  Müller" at home'))
        writer.step(episodes[2][0], step_of(episodes[2][1], Prompt(stable="all")))
        log = writer.place.log("verdicts.jsonl")
        for name, _ in episodes:
            log.append(json.dumps({"episode": name, "said": "well"}).encode())
        writer.place.log("calls.jsonl").append(b'{"asked":"x","completion":{"text":"zo\\u00eb  m\\u00fcller"}}')
    return Run(where)


def test_what_was_chosen_is_gone_and_its_totals_stay(where: str) -> None:
    run = run_with_a_name(where)
    before, used = run.episodes(), total(run.used())
    assert all(episode.steps for episode in before)
    chosen = Choice(episodes=(before[1].id,))
    told = going(run.place, chosen)
    assert told.episodes == (before[1].id,) and not told.done and len(Run(where).episodes()) == 4
    done = prune(place_of(where), chosen, **WHO)
    after = Run(where)
    assert done.done and done.lines == told.lines and done.bytes == told.bytes
    left = after.episodes()
    assert [e.id for e in left] == [e.id for i, e in enumerate(before) if i != 1]
    assert [e.steps for e in left] == [e.steps for i, e in enumerate(before) if i != 1]
    text = b"".join(line for _, _, line in after.place.log("trace.jsonl").lines())
    assert before[1].id.encode() not in text and b"only for this one" not in text
    assert {json.loads(line)["episode"] for _, _, line in after.place.log("verdicts.jsonl").lines()} == {
        e.id for e in left
    }
    gone = after.pruned()
    assert gone is not None and gone.episodes == 1 and gone.log[0].reason == "asked for"
    assert total(after.used()) == used
    # Once more, and it adds up.
    prune(place_of(where), Choice(arms=("student",)), **WHO)
    empty = Run(where)
    assert not empty.episodes() and total(empty.used()) == used
    again = empty.pruned()
    assert again is not None and again.episodes == 4 and [one.episodes for one in again.log] == [1, 3]
    # It goes on, by the same settings, and its schema stays.
    with RunWriter(where, {"n": 1}) as writer:
        write_episode(writer, "student", ARMS["student"], 9, random.Random(9))
    assert len(Run(where).episodes()) == 1 and Run(where).manifest["schema"] == 3


def test_a_text_is_found_in_any_case_and_however_it_is_escaped(where: str) -> None:
    run = run_with_a_name(where)
    last = run.episodes()[3].id
    done = prune(run.place, Choice(containing=('"ZOË  müller"',)), **WHO)
    assert done.episodes == (last,) and done.lines["calls.jsonl"] == 1
    assert not [line for _, _, line in run.place.log("trace.jsonl").lines() if b"ller" in line]
    for blank in (" ", ""):
        with pytest.raises(ConfigError, match="stands everywhere"):
            prune(run.place, Choice(containing=("Zoë", blank)), by="person:me", reason="asked for")
    with pytest.raises(ConfigError, match="reason is kept"):
        prune(run.place, Choice(containing=("Zoë",)), by="person:me", reason="zoË asked")


def test_nobody_prunes_a_run_that_is_being_written(where: str) -> None:
    with RunWriter(where, {"n": 1}) as writer:
        write_episode(writer, "student", ARMS["student"], 0, random.Random(0))
        with pytest.raises(StoreError, match="being written"):
            prune(place_of(where), Choice(everything=True), **WHO)
        assert len(Run(where).episodes()) == 1


def test_what_other_episodes_were_shown_of_somebody_goes_with_them(tmp_path: Path) -> None:
    from atlas.records import Prompt

    with RunWriter(tmp_path / "run", {}) as writer:
        for number in range(3):
            write_episode(writer, "student", MadeUpArm(3, 1.0, steps=2), number, random.Random(number))
        names = [episode.id for episode in Run(tmp_path / "run").episodes()]
        writer.step(names[0], step_of(9, Prompt(stable="as for Maria")))
        writer.step(names[2], step_of(9, Prompt(stable="s", guidance="as for Maria")))
    assert set(going(place_of(tmp_path / "run"), Choice(containing=("maria",))).episodes) == {names[0], names[2]}


def test_an_attempt_that_was_played_again_goes_with_the_one_that_counts(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", {}) as writer:
        first = write_episode(writer, "student", ARMS["student"], 0, random.Random(0))
        again = write_episode(writer, "student", ARMS["student"], 0, random.Random(1))
        writer.end(again.replace(retries=first.id))
    assert set(going(place_of(tmp_path / "run"), Choice(episodes=(again.id,))).episodes) == {first.id, again.id}


@pytest.mark.parametrize("after", ["trace.jsonl.pruned", "run.json.pruned", "pruning", "run.json"])
def test_a_kill_leaves_the_old_run_or_the_new_one(tmp_path: Path, after: str) -> None:
    """Killed when a file of that name comes to be."""
    folder = write_run(tmp_path / "run", ARMS)
    before = [e.id for e in Run(folder).episodes()]
    place_of(folder).log("verdicts.jsonl").append(json.dumps({"episode": before[0]}).encode())
    code = (
        "import os, signal, sys, pathlib\n"
        "from atlas.traces import folder_prune\n"
        "from atlas.traces.place import place_of\n"
        "from atlas.traces.prune import Choice, prune\n"
        "real, put = pathlib.Path.replace, folder_prune._put\n"
        "def die(name):\n"
        "    name = pathlib.Path(name).name\n"
        "    if name == sys.argv[2] or name.startswith(sys.argv[2] + '-'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "def replace(self, to):\n    made = real(self, to); die(to); return made\n"
        "def putting(to, content):\n    put(to, content); die(to)\n"
        "pathlib.Path.replace, folder_prune._put = replace, putting\n"
        "prune(place_of(sys.argv[1]), Choice(arms=('cascade',)), by='person:me', reason='r')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(folder), after], capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = [e.id for e in Run(folder).episodes()]
    verdicts = [*place_of(folder).log("verdicts.jsonl").lines()]
    if after in ("pruning", "run.json"):
        assert left == before[4:] and not verdicts
    else:
        assert left == before and len(verdicts) == 1
    prune(place_of(folder), Choice(arms=("cascade",)), **WHO) if left == before else None
    assert sorted(p.name for p in folder.iterdir()) == ["run.json", "trace.jsonl", "verdicts.jsonl"]
    assert [e.id for e in Run(folder).episodes()] == before[4:] and before[0].encode() not in everything(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def memory_at(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "memory.sqlite")
    return f"{server()}?schema=erase_{os.getpid()}_{random.getrandbits(32)}"


def test_a_memory_forgets_what_came_of_episodes_in_every_version(memory_at: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"cascade": MadeUpArm(4, 1.0, teacher=0.5, steps=4)})
    run = Run(folder)
    episodes = [e for e in run.episodes() if e.result is not None]
    with Memory(memory_at, "hash") as memory:
        for episode in episodes:
            assert episode.result is not None
            memory.keep(episode.result, episode.steps)
        first = episodes[0]
        assert first.result is not None
        secret = Entry(
            cue="you meet Maria Schmidt",
            action="call her Mary",
            origins=(Origin(task="t", run=run.name, episode=first.id),),
        )
        joined = Entry(
            cue="you are in a kitchen",
            action="look into the drawers",
            origins=(Origin(task="t", run=run.name, episode=episodes[1].id),),
        )
        memory.entries.add_many([secret, joined], author=f"trace:{run.name}/{first.id}", reason="distilled")
        more = (Origin(task="u", run=run.name, episode=first.id),)
        memory.entries.add_many(
            [joined.model_copy(update={"origins": more})], author="person:me", reason="Maria Schmidt"
        )
        memory.warm()
        count, kept = len(memory.demonstrations), memory.entries.get(joined.id)
        assert kept.support == 2
        done = erase(
            memory.database, {(run.name, first.id)}, needle(("maria schmidt",)), author="person:me", reason="asked for"
        )
        assert len(done.demonstrations) == 1 and done.entries == (secret.id,) and done.fewer == (joined.id,)
        assert len(memory.demonstrations) == count - 1  # of the one that is open, too
        assert memory.entries.get(joined.id).support == 1
        log = memory.log()
        assert (log[-1].version.reason, log[-1].version.author) == ("asked for", "person:me")
        memory.rollback(log[-1].version.number - 1, author="person:me", reason="back")
        assert len(memory.demonstrations) == count - 1
        with pytest.raises(StoreError):
            memory.entries.get(secret.id)
        # What is learned anew is taken in anew.
        assert memory.entries.add_many([secret], author="person:me", reason="again").new == (secret.id,)
        erase(memory.database, set(), needle(("maria schmidt",)), author="person:me", reason="asked for")
    assert check(memory_at).whole
    if "://" not in memory_at:
        assert b"aria Schmidt" not in b"".join(p.read_bytes() for p in tmp_path.glob("memory.sqlite*"))


def test_the_command_tells_first_and_does_it_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        write_run(tmp_path / "runs" / name, ARMS, seed=len(name) + ord(name[0]))
    main(["export", str(tmp_path / "runs" / "one"), "--format", "rows", "--any-outcome", "-o", str(tmp_path / "out")])
    capsys.readouterr()
    runs = str(tmp_path / "runs")
    main(["traces", "prune", runs, "--arm", "cascade", "--older", "1h", "--json"])
    assert all(not one["episodes"] for one in json.loads(capsys.readouterr().out)["runs"])
    main(["traces", "prune", runs, "--arm", "cascade", "--exports", str(tmp_path / "out"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [len(one["episodes"]) for one in told["runs"]] == [4, 4] and not told["done"]
    assert len(told["exports"]) == 1 and "make it again" in told["exports"][0]
    main(["traces", "prune", runs, "--arm", "cascade", "--yes"])
    assert "4 episodes" in capsys.readouterr().out
    main(["traces", "show", str(tmp_path / "runs" / "one")])
    assert "4 episodes of" in capsys.readouterr().out
    one, page = str(tmp_path / "runs" / "one"), tmp_path / "page.html"
    main(["report", one, "-o", str(page)])
    assert "4 episodes of" in page.read_text()
    capsys.readouterr()
    main(["report", one, "--json"])
    assert len(json.loads(capsys.readouterr().out)["pruned"]["log"]) == 1
    with pytest.raises(SystemExit):
        main(["traces", "prune", runs, "--yes"])
    assert "say which episodes" in capsys.readouterr().err
    main(["traces", "prune", one, "--all", "--yes"])
    with pytest.raises(SystemExit):
        main(["report", one, "-o", str(page)])
    assert "were taken out" in capsys.readouterr().err


def test_age_is_counted_from_the_beginning_of_an_episode(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", ARMS)
    assert not going(place_of(folder), Choice(before=time.time() - 3600)).episodes
    assert len(going(place_of(folder), Choice(before=time.time() + 1)).episodes) == 7
