"""What atlas costs in time: both builds are given the same to do, and what is said of them follows from the figures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from atlas.benchmarks.perf import Table, against, concurrency, orchestration, stores, watch
from atlas.benchmarks.perf.__main__ import main
from atlas.benchmarks.perf.against import Pair, earlier, table
from atlas.benchmarks.perf.instant import InstantDemos, InstantHome, InstantModel
from atlas.benchmarks.perf.measured import COLLECTOR
from atlas.errors import ConfigError
from atlas.records import Ask, Prompt, View
from tests import postgres_server

ROOT = Path(__file__).resolve().parent.parent
TINY: dict[str, dict[str, object]] = {
    "orchestration": {"episodes": 1, "repetitions": 1},
    "concurrency": {"episodes": 3, "steps": 2, "latency": 0.01},
    "watch": {"lengths": [25]},
    "memory": {"added": 2, "windows": 60, "asked": 12},
}


def git(*arguments: str, cwd: Path) -> str:
    names = {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    known = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env={**known, **names}, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders go, empty at first."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that passes for the one this build stands in; at its tag ``first`` there is no atlas to measure."""
    folder = tmp_path / "clone"
    (folder / "atlas").mkdir(parents=True)
    (folder / "atlas" / "__init__.py").write_text("raise SystemExit('no build of ours')\n")
    git("init", "-q", cwd=folder)
    git("add", ".", cwd=folder)
    git("commit", "-qm", "A first try", cwd=folder)
    git("tag", "first", cwd=folder)
    monkeypatch.setattr(against, "_here", lambda: folder)
    return folder


def perf(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


# --- what is measured -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_this_build_can_be_measured(name: str) -> None:
    """In a process of its own, as it is beside an earlier one."""
    done = subprocess.run(
        [sys.executable, "-m", "atlas.benchmarks.perf.measured", name, json.dumps(TINY[name])],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    figures = json.loads(done.stdout)
    assert all(isinstance(value, int | float) for value in figures.values())
    assert table(name, "x", Pair([figures], [figures])).rows
    if name == "concurrency":
        assert figures[COLLECTOR] == 0, "playing leaves the host's garbage collector as it is"


@pytest.mark.parametrize(
    "measure",
    [partial(orchestration.measure, 1), partial(concurrency.measure, 2, 1), watch.measure],
    ids=["orchestration", "concurrency", "watch"],
)
def test_tables_of_this_build_alone(measure: Callable[[], Table]) -> None:
    made = measure()
    assert made.rows and all(len(row) == len(made.columns) for row in made.rows)


async def test_nothing_is_said_twice_that_a_game_does_not_say_twice() -> None:
    home, demos = InstantHome(1), InstantDemos()
    first, second = await home.open(), await home.step("look")
    assert first.admissible != second.admissible and len(first.admissible) == len(second.admissible)
    view = View(task=home.task, opening="")
    said = await InstantModel("m").sample(Ask(view=view, prompt=Prompt(), n=3))
    assert len({reply.text for reply in said.replies}) == 3
    one, other = demos.search(view, 2), demos.search(view, 2)
    assert one == other and one[0] is not other[0], "windows are made anew"
    assert one[0].steps[0] is other[0].steps[0], "around steps that the memory holds"


# --- two builds -------------------------------------------------------------------------------------------------------


def test_the_least_of_the_rounds_is_compared_and_each_round_by_itself() -> None:
    what = "Recall(Cascade), traced"
    made = table("orchestration", "abc A change", Pair([{what: 200.0}, {what: 300.0}], [{what: 90.0}, {what: 60.0}]))
    assert made.rows == ((what, 200.0, 60.0, 0.3, "0.2 to 0.45"),)
    assert "abc A change" in made.note and "2 rounds" in made.note
    assert [(aim.limit, aim.measured, aim.met) for aim in made.aims] == [(0.4, 0.3, True)]


def test_a_step_that_costs_more_than_promised_misses_its_aim() -> None:
    what = "Recall(Cascade), traced"
    (aim,) = table("orchestration", "abc", Pair([{what: 100.0}], [{what: 41.0}])).aims
    assert aim.measured == 0.41 and not aim.met


def burst(solo: float, full: float, collector: int) -> dict[str, float]:
    over = {"Solo: over ideal, %": solo, "Recall(Cascade): over ideal, %": full}
    return {COLLECTOR: collector, **over, "Solo: CPU s": 1.0, "Recall(Cascade): CPU s": 2.0}


def test_episodes_in_flight_have_aims_for_this_build_alone() -> None:
    made = table("concurrency", "abc", Pair([burst(0.0, 50.0, 1)], [burst(9.0, 25.0, 0)]))
    assert [(aim.measured, aim.met) for aim in made.aims] == [(9.0, True), (25.0, False), (0, True)]
    assert made.note.endswith("changed while episodes are played by the build before.")
    assert made.rows[0] == ("Solo: over ideal, %", 0.0, 9.0, None, None), "nothing has a ratio to nothing"
    assert made.rows[1][:4] == ("Recall(Cascade): over ideal, %", 50.0, 25.0, 0.5)
    assert COLLECTOR not in {row[0] for row in made.rows}


def test_a_build_that_changes_the_garbage_collector_is_named() -> None:
    made = table("concurrency", "abc", Pair([burst(1, 1, 0)], [burst(1, 1, 1)]))
    assert made.note.endswith("by this one.") and not made.aims[2].met
    assert table("concurrency", "abc", Pair([burst(1, 1, 0)] * 2, [burst(1, 1, 0)] * 2)).note.endswith("neither build.")


def test_builds_take_turns(clone: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def figures(self: against.Earlier, tree: Path, name: str, settings: object) -> dict[str, float]:
        asked.append("now" if tree == clone else "before")
        return {"decision": 2.0 if tree == clone else 4.0}

    monkeypatch.setattr(against.Earlier, "_figures", figures)
    with earlier("first") as build:
        made = build.compare("watch")
    assert asked == ["before", "now", "now", "before", "before", "now"]
    assert made.rows == (("decision", 4.0, 2.0, 0.5, "0.5 to 0.5"),)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_an_earlier_build_is_run_by_todays_measurements(scratch: Path) -> None:
    known = git("status", "--porcelain", cwd=ROOT)
    with earlier("HEAD") as build:
        assert build.tree.is_relative_to(scratch) and git("rev-parse", "HEAD", cwd=ROOT).startswith(
            build.said.split()[0]
        )
        for name in against.OVERLAID:
            laid, ours = (tree / "benchmarks" / "perf" / name for tree in (build.tree, ROOT))
            assert laid.read_bytes() == ours.read_bytes()
        (build.tree / "atlas" / "policies" / "__init__.py").write_text("raise SystemExit('this tree was run')\n")
        with pytest.raises(ConfigError, match="this tree was run"):
            build.compare("watch")
    with earlier("HEAD") as build:
        made = build.compare("watch", TINY["watch"], rounds=1)
    assert len(made.rows) == 2 and all(row[3] is not None for row in made.rows)
    assert not list(scratch.iterdir())
    assert git("status", "--porcelain", cwd=ROOT) == known
    assert str(scratch) not in git("worktree", "list", cwd=ROOT)


def test_a_build_that_cannot_be_measured_is_one_sentence_and_leaves_nothing(clone: Path, scratch: Path) -> None:
    done = perf("watch", "--against", "first")
    assert done.exit_code == 2 and not list(scratch.iterdir())
    assert "watch cannot be measured on the build" in done.stderr and "A first try (no build of ours)" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(
    number: signal.Signals, clone: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(against.Earlier, "_figures", lambda *_: signal.raise_signal(number))
    assert perf("watch", "--against", "first").exit_code != 0
    assert not list(scratch.iterdir()) and signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize("revision", ["no-such-branch", "--all", ""])
def test_an_unknown_revision_is_one_sentence(revision: str, clone: Path, scratch: Path) -> None:
    done = perf("watch", "--against", revision)
    assert done.exit_code == 2 and not list(scratch.iterdir())
    assert (
        done.stderr
        == f"atlas: there is no revision {revision!r} in {clone}: name a commit, branch or tag that it has\n"
    )


def test_without_a_checkout_there_is_nothing_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "_here", lambda: tmp_path)
    done = perf("watch", "--against", "HEAD")
    assert done.exit_code == 2 and f"{tmp_path} is no git checkout: run this in a clone" in done.stderr


def test_without_git_there_is_nothing_earlier(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    done = perf("watch", "--against", "HEAD")
    assert done.exit_code == 2 and "is taken from git" in done.stderr and done.stderr.count("\n") == 1


def test_what_is_measured_of_this_build_alone_is_not_compared() -> None:
    done = perf("imports", "--against", "HEAD")
    assert done.exit_code == 2
    assert (
        "imports is not measured against an earlier build: choose of orchestration, concurrency, watch" in done.stderr
    )


def test_comparisons_as_json(clone: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against.Earlier, "_figures", lambda self, tree, *_: {"Recall(Cascade), traced": 5.0})
    done = perf("orchestration", "--against", "first", "--json")
    (made,) = json.loads(done.stdout)["tables"]
    assert made["rows"] == [["Recall(Cascade), traced", 5.0, 5.0, 1.0, "1 to 1"]] and made["met"] == [False]


def test_the_ways_to_a_hosted_model_are_measured_side_by_side() -> None:
    pytest.importorskip("litellm", reason="needs the extra litellm")
    from atlas.benchmarks.perf import upstream

    found = upstream.measure(upstream.BLOCK)
    assert [row[1] for row in found.rows] == [upstream.BLOCK] * 3
    assert all(float(str(row[2])) > 0 for row in found.rows)


@pytest.mark.slow
def test_a_run_that_has_grown_is_measured_beside_one_file(tmp_path: Path) -> None:
    from atlas.benchmarks.perf import traces
    from atlas.traces.packing import pack
    from atlas.traces.place import TRACE, log_hash, place_of

    made = traces.measure(400, tmp_path)
    assert made.columns[1:] == ("one file", "segments", "packed") and made.aims[0].met
    assert len(made.rows) == 14 and all(None not in row for row in made.rows[4:11])
    said = ("report RUN", "traces show RUN --last 1", "report RUN --last 1")
    assert [row[0] for row in made.rows[11:]] == [f"{what} of 2 episodes" for what in said]
    assert pack(place_of(tmp_path / "packed" / "run")).segments > 3
    grown = [log_hash(place_of(tmp_path / name / "run").log(TRACE)) for name in ("segments", "packed")]
    assert grown[0] == grown[1]


# --- servers ----------------------------------------------------------------------------------------------------------


def test_a_server_is_measured_between_clients_and_a_provider() -> None:
    pytest.importorskip("uvicorn", reason="needs the extra serve")
    pytest.importorskip("openai", reason="needs the extra litellm")
    from atlas.benchmarks.perf import serve

    made = serve.measure(2, 10, clients=[2], place="", rounds=1)
    assert [row[:3] for row in made.rows[:3]] == [
        ("(direct)", 2, "no"),
        ("atlas serve, an episode a client", 2, "no"),
        ("atlas serve, an episode a request", 2, "no"),
    ]
    assert len(made.rows) == 6 and all(row[-1] == 0 for row in made.rows), "nothing failed, streamed or not"
    assert "Not measured: litellm's proxy and Portkey's gateway" in made.note


@pytest.mark.parametrize("stream", [False, True])
def test_clients_of_a_measurement_count_what_is_right(stream: bool) -> None:
    from atlas.benchmarks.perf import serve
    from atlas.benchmarks.perf.serve_load import Load

    with serve.provider() as port:
        seen = serve.load(Load(port=port, clients=3, requests=7, stream=stream))
        paced = serve.load(Load(port=port, clients=2, requests=4, stream=stream, pace=40.0))
    assert len(seen.seconds) == 7 and not seen.failed
    assert len(paced.seconds) == 4 and paced.wall >= 0.05, "at a pace nobody asks before it is due"


def test_a_peer_that_cannot_be_installed_or_started_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atlas.benchmarks.perf import serve_peers

    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="Portkey's gateway cannot be installed"):
        serve_peers.portkey(tmp_path)
    with pytest.raises(ConfigError, match="x did not start"), serve_peers.running("x", [sys.executable, "-c", ""], 9):
        raise AssertionError("it takes no connections")


@pytest.mark.parametrize("server", [False, True])
def test_stores_are_measured_beside_each_other_where_there_is_a_server(
    server: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "PROCESSES", 2)
    monkeypatch.delenv(stores.SERVER, raising=False)
    if server:
        monkeypatch.setenv(stores.SERVER, postgres_server.server())
    found = stores.measure(added=3, windows=60, asked=3, each=2)
    rows = {str(row[0]): row[1:] for row in found.rows}
    assert rows["the same, updates lost"] == (0.0, 0.0 if server else None)
    assert all(isinstance(row[0], float) for what, row in rows.items() if "copying" not in what)
    assert all(isinstance(row[1], float) for row in rows.values()) or not server
    assert bool(found.aims) is server and (stores.SERVER in found.note) is not server


def test_the_right_family_is_counted_by_embedder_and_index() -> None:
    from atlas.benchmarks.perf.families import measure
    from atlas.records import Task

    verbs = {"heat": "put a hot {} in fridge", "cool": "put a cool {} in microwave", "light": "look at {} under lamp"}
    things = ("apple", "egg", "mug", "plate", "potato", "tomato", "bread", "cup")
    kept = [Task(id=f"{f}-{t}", goal=g.format(t), family=f) for f, g in verbs.items() for t in things]
    asked = [Task(id=f"new-{f}", goal=g.format("pan"), family=f) for f, g in verbs.items()]
    (row,) = measure(kept, asked, ["hash"], ["exact"])
    assert (row["first_right"], row["six_right"], row["queries"], row["demos"]) == (1.0, 1.0, 3, 24)
    assert row["chance"] == pytest.approx(1 / 3, abs=0.001)
