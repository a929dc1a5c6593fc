"""Generated incidents, and the scripted analyst on them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.assets import cache_dir
from atlas.benchmarks.excytin.analyst import Analyst
from atlas.benchmarks.excytin.analyst_reading import alerts, clues, searchable, table_rows
from atlas.benchmarks.excytin.data import Question, database, questions
from atlas.benchmarks.excytin.engine import SqlError
from atlas.benchmarks.excytin.incidents import FIRST, Incident, Spec, export, incident
from atlas.benchmarks.excytin.incidents.build import rows, story
from atlas.benchmarks.excytin.incidents.names import belongs
from atlas.benchmarks.excytin.incidents.records import shapes, tables
from atlas.benchmarks.excytin.judge import RuleJudge
from atlas.benchmarks.excytin.layers import ALERT_TABLES
from atlas.benchmarks.excytin.observe import observation
from atlas.benchmarks.excytin.sqlite_engine import SqliteEngine
from atlas.errors import ConfigError, DataError

pytest.importorskip("sqlglot", reason="the extra excytin is not installed")

SMALL = 300
"""Rows of noise: enough to tell the streams apart, quick to write."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_CACHE", str(cache))


def made(index: int = 0, split: str = "test", seed: int = 0, count: int = SMALL) -> Incident:
    return incident(Spec(split=split, index=index, seed=seed, rows=count))


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def names_of(split: str, index: int, seed: int) -> set[str]:
    """What the attacks' entities and the company's people and computers are called."""
    within, main, others, _ = story(Spec(split=split, index=index, seed=seed))
    entities = [e for one in (main, *others) for alert in one.alerts for e in alert.entities]
    return {entity.name.casefold() for entity in [*entities, *within.people, *within.computers]}


def test_the_same_seed_gives_the_same_rows_and_questions_anywhere(tmp_path: Path) -> None:
    spec = Spec(split="test", index=1, rows=SMALL)
    assert list(rows(spec)) == list(rows(spec))
    first = content(incident(spec).database)
    export([spec], tmp_path)
    assert content(database(spec.number, tmp_path)) == first
    assert questions(spec.number, "test", tmp_path) == [q for q in incident(spec).questions if q.split == "test"]
    assert list(rows(spec)) != list(rows(spec.model_copy(update={"seed": 1})))


@pytest.mark.parametrize("seeds", [(0, 0), (3, 4), (1, 0)])
def test_splits_share_no_names(seeds: tuple[int, int]) -> None:
    train = set.union(*(names_of("train", index, seeds[0]) for index in range(6)))
    test = set.union(*(names_of("test", index, seeds[1]) for index in range(6)))
    assert not train & test
    assert len(test) > 500


@given(st.text(min_size=1))
def test_a_name_alone_decides_its_split(name: str) -> None:
    assert belongs(name) == belongs(name.upper()) or name.casefold() != name.upper().casefold()


def test_every_table_has_rows_and_noise_is_as_much_as_asked_for() -> None:
    small, large = made(count=0), made(count=3_000)
    with closing(sqlite3.connect(large.database)) as connection:
        counts = {name: connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in tables()}
    with closing(sqlite3.connect(small.database)) as connection:
        without = sum(connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in tables())
    assert 3_000 <= sum(counts.values()) - without < 3_200
    assert all(counts[name] > 10 for name in ("SecurityAlert", "DeviceProcessEvents", "SigninLogs", "EmailEvents"))
    assert counts["SecurityIncident"] > 4


def test_attacks_do_not_stand_at_one_place_of_a_table() -> None:
    spec = Spec(split="test", index=0, rows=2_000)
    places = [number for number, (name, _) in enumerate(rows(spec)) if name in ALERT_TABLES]
    assert min(places) < 400
    assert max(places) > 1_600


@pytest.mark.parametrize("index", range(6))
def test_questions_can_be_answered_from_the_rows(index: int) -> None:
    """Every golden answer stands in a table, and the shortest path leads from alert to alert over shared entities."""
    found = made(index)
    _, main, _, _ = story(found.spec)
    with closing(sqlite3.connect(found.database)) as connection:
        text = "\n".join(
            str(cell) for name in tables() for row in connection.execute(f"SELECT * FROM {name}") for cell in row
        )
    for question in found.questions:
        escaped = question.answer.replace("\\", "\\\\")
        assert question.answer in text or escaped in text
        assert question.answer not in question.text
        path = question.shortest_alert_path
        assert (path[0], path[-1]) == (question.start_alert, question.end_alert)
        for alert, entity in zip(path[0::2], path[1::2], strict=False):
            assert entity in {e.key for e in main.alerts[alert].entities}
        for entity, alert in zip(path[1::2], path[2::2], strict=False):
            assert entity in {e.key for e in main.alerts[alert].entities}
        assert RuleJudge().verdict(question.answer, question.answer, question.solution).score == 1.0
    lengths = {len(question.shortest_alert_path) for question in found.questions}
    assert max(lengths) >= 3
    assert {q.split for q in found.questions} == {"train", "test"}


def test_splits_of_an_incident_ask_different_questions() -> None:
    asked = {split: {q.text for q in made(2).questions if q.split == split} for split in ("train", "test")}
    assert not asked["train"] & asked["test"]


def test_every_shape_comes_up_in_the_first_six() -> None:
    assert {story(Spec(split="test", index=index))[1].shape for index in range(6)} == set(shapes())


def test_a_number_leads_back_to_its_incident() -> None:
    for spec in (
        Spec(split="train", index=49, seed=2),
        Spec(split="test", index=0),
        Spec(split="test", index=7, seed=1),
    ):
        assert Spec.of(spec.number) == spec
    with pytest.raises(ConfigError, match=f"no generated incident 5: test incidents are {FIRST + 50}"):
        Spec.of(5)


def test_a_damaged_incident_names_its_folder() -> None:
    found = made(6)
    path = found.database.parent / "questions.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match="delete this folder"):
        made(6)


def test_nothing_is_left_behind_where_writing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("atlas.benchmarks.excytin.incidents.build.write_rows", broken)
    with pytest.raises(DataError, match="No space left on device"):
        made(9)
    assert not list((cache_dir() / "excytin" / "generated").glob("incident_10059*"))
    assert not list((cache_dir() / "excytin" / "generated").glob(".write-*"))


def investigate(question: Question, engine: SqliteEngine) -> tuple[str, list[str]]:
    """The submitted answer and all actions."""
    history: list[tuple[str, str]] = []
    while len(history) < 25:
        action = Analyst(question.text, history).act().action
        if action.startswith("submit["):
            return action[len("submit[") : -1], [*(a for a, _ in history), action]
        try:
            seen = observation(engine.query(action[len("execute[") : -1]))
        except SqlError as error:
            seen = str(error)
        history.append((action, seen))
    return "", [action for action, _ in history]


def test_the_analyst_solves_most_generated_questions_within_the_steps() -> None:
    judge, scores = RuleJudge(), []
    for index in range(6):
        found = made(index)
        engine = SqliteEngine(found.database)
        for question in found.questions[:10]:
            answer, actions = investigate(question, engine)
            assert actions[0] == "execute[SHOW TABLES]"
            assert len(actions) <= 15
            assert all(len(action) <= 400 for action in actions)
            scores.append(judge.verdict(answer, question.answer, question.solution).score)
        engine.close()
    assert sum(score == 1.0 for score in scores) >= 0.8 * len(scores)


def test_the_analyst_answers_only_with_what_it_has_seen() -> None:
    """Where the database is empty there is nothing to know: no golden answer comes from anywhere else."""
    found = made(0)
    for question in found.questions[:5]:
        history: list[tuple[str, str]] = []
        for _ in range(25):
            action = Analyst(question.text, history).act().action
            if action.startswith("submit["):
                break
            history.append((action, "[('SecurityAlert',)]" if "SHOW" in action else "[]"))
        assert action == "submit[unknown]"


def test_the_analyst_goes_on_where_somebody_else_acted_between() -> None:
    found = made(3)
    question = found.questions[0]
    engine = SqliteEngine(found.database)
    answer, actions = investigate(question, engine)
    history = []
    for action in actions[:-1]:
        history += [("execute[SELECT nonsense]", "ProgrammingError: Unknown column"), ("", "")]
        history.append(
            (action.lower().replace("securityalert", "SecurityAlert"), observation(engine.query(action[8:-1])))
        )
    assert Analyst(question.text, history).act().action == f"submit[{answer}]"


def test_what_was_read_of_an_incident_by_another_alert_is_not_read_again() -> None:
    """A student may come to the alerts by another way: a review takes what was shown, however it was asked for."""
    found = made(3)
    engine, same = SqliteEngine(found.database), []
    for question in found.questions[:8]:
        answer, actions = investigate(question, engine)
        own = next((a for a in actions if "JOIN SecurityIncident" in a), None)
        if own is None or not answer:
            continue
        used = own.rpartition("LIKE '%")[2].partition("%'")[0]
        seen = observation(engine.query(own[8:-1]))
        other = next(alert.id for alert in alerts(seen) if alert.id != used)
        queries = [*actions[:2], own.replace(used, other)]
        history = [(action, observation(engine.query(action[8:-1]))) for action in queries]
        # What stands in other tables it still looks up.
        lookups = [a for a in actions if a.startswith("execute[") and "SecurityAlert" not in a][1:]
        history += [(action, observation(engine.query(action[8:-1]))) for action in lookups]
        same.append(Analyst(question.text, history).act().action == f"submit[{answer}]")
    engine.close()
    assert len(same) >= 4 and sum(same) >= 0.75 * len(same)


@given(st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_question_and_any_observation_get_an_action(text: str) -> None:
    history: list[tuple[str, str]] = []
    for _ in range(25):
        action = Analyst(text, history).act().action
        assert action.startswith(("execute[", "submit["))
        assert len(action) <= 400
        if action.startswith("submit["):
            return
        assert action not in [done for done, _ in history]
        history.append((action, "[('SecurityAlert',), ('SecurityIncident',)]" if "SHOW" in action else text))
    raise AssertionError("no answer within the steps")


def test_values_of_a_question_come_most_telling_first() -> None:
    asked = (
        "On host `srv-9` the user a.b@c.example opened https://x.example/q from 10.1.2.3 (`Some Name`) on `2024-07-01`."
    )
    assert clues(asked) == ["https://x.example/q", "a.b@c.example", "10.1.2.3", "srv-9", "Some Name"]
    assert searchable("C:\\Users\\Public\\a longer part.exe' OR '1'='1") == "a longer part.exe"


def test_entities_without_their_escapes_are_read() -> None:
    """As the benchmark's CSV files have them: backslashes and inner quotation marks stand bare."""
    raw = (
        '[{"$id":"2","Directory":"C:\\Scripts","Name":"a.ps1","Type":"file"},'
        '{"CommandLine":""" x.exe"" -q","Type":"process"}]'
    )
    row = [("id-1", "title", "told", raw)]
    (alert,) = alerts(str(row))
    assert [(entity["Type"], entity.get("Name")) for entity in alert.entities] == [("file", "a.ps1"), ("process", None)]
    assert table_rows("ProgrammingError: no") is None
    assert table_rows("Retrieved 20 entries. Displaying first 15 entries.\n[('a',)]") == (("a",),)
