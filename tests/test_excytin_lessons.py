"""What logged investigations leave in a memory: demonstrations, and a pamphlet by rule."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from atlas.benchmarks.excytin.lessons import InvestigationDistiller
from atlas.benchmarks.excytin.logged.files import read_file
from atlas.benchmarks.excytin.logged.importing import import_runs
from atlas.benchmarks.excytin.logged.memory import LONGEST, Built, build_memory
from atlas.cli import main
from atlas.distil import distil_run, read_lessons
from atlas.errors import ConfigError
from atlas.evaluators.verdict import Case
from atlas.memory.pamphlet import Kind
from atlas.memory.pamphlets import PamphletStore
from atlas.memory.store import DemonstrationStore
from atlas.records import Decision, Observation, Step, Task
from atlas.traces.reader import Run
from tests.test_excytin_recorded_runs import TRIAL, entry, write

TALK = [
    ("SELECT Sender FROM signins", "ProgrammingError: Table 'env_monitor_db.signins' doesn't exist"),
    ("SELECT Ip FROM SigninLogs WHERE Ip = 'x'", "ProgrammingError: Unknown column 'Ip' in 'where clause'"),
    ("DESCRIBE SigninLogs", "[('UserPrincipalName', 'text', 'YES', '', None, '')]" + " " * 3 * LONGEST),
    (
        "SELECT TimeGenerated, IPAddress FROM SigninLogs WHERE UserPrincipalName LIKE '%nina%' LIMIT 5",
        "[('2024-07-17', '1.2.3.4')]",
    ),
]


def talked(reward: float = 1.0) -> dict[str, Any]:
    """A trial with those queries and the right answer."""
    messages = list(TRIAL["messages"][:2])
    for sql, seen in TALK:
        messages += [
            {"role": "assistant", "content": f"Thought: go on\nAction: execute[{sql}]"},
            {"role": "user", "content": seen},
        ]
    messages.append({"role": "assistant", "content": "Thought: seen\nAction: submit[The address was 1.2.3.4.]"})
    return {"messages": messages, "reward": reward}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Incident 5 with a success, a half and a failure; incident 7 with a success."""
    first = [entry(**talked()), entry(1, **talked(0.4)), entry(2, **talked(0))]
    files = [
        write(tmp_path / "gpt-4.1" / "agent_incident_5.json", first),
        write(tmp_path / "gpt-4.1" / "agent_incident_7.json", [entry(**talked())]),
    ]
    import_runs([read_file(path) for path in files], tmp_path / "run")
    return Run(tmp_path / "run")


def test_successes_on_the_train_incident_become_demonstrations(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    built = build_memory(run, path, embedder="hash")
    assert (built.runs, built.successes, built.demonstrations) == (3, 1, 1)
    with DemonstrationStore(path, "hash") as store:
        (demo,) = store.all()
    assert demo.task_id.startswith("incident_5/") and demo.score == 1.0
    assert [step.action.split("[")[0] for step in demo.steps] == ["execute", "execute", "submit"]
    assert demo.steps[0].observation == TRIAL["messages"][1]["content"], "what was seen before the refused queries"
    assert all(len(step.observation) < LONGEST + 60 for step in demo.steps)
    assert demo.steps[1].observation.endswith("more characters]")
    assert demo.dollars == pytest.approx(0.11) and demo.source.model == "gpt-4.1-nano-2025-04-14"


def test_the_reward_that_counts_may_be_less(run: Run, tmp_path: Path) -> None:
    assert build_memory(run, tmp_path / "a", at_least=0.4, embedder="hash").successes == 2


def test_building_it_twice_adds_nothing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    first, again = (build_memory(run, path, embedder="hash") for _ in range(2))
    assert first.entries > 0
    assert (again.demonstrations, again.entries, again.successes) == (0, 0, 1)
    with PamphletStore(path, "hash") as pamphlet:
        assert len(pamphlet) == first.entries


def test_an_incident_that_the_run_does_not_have(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no runs on incident 38: choose one of 5, 7"):
        build_memory(run, tmp_path / "memory", incidents=(38,), embedder="hash")
    assert not (tmp_path / "memory").exists()


def test_the_command_says_what_to_test_it_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "gpt-4.1" / "agent_incident_7.json", [entry(**talked())])
    command = ["traces", "import", "excytin", str(file), "-o", str(tmp_path / "run"), "--memory", str(tmp_path / "m")]
    main([*command, "--train-incident", "7", "--embedder", "hash"])
    assert "memory from incident 7: 1 new demonstrations" in capsys.readouterr().out
    main([*command, "--train-incident", "7", "--embedder", "hash", "--json"])
    told = json.loads(capsys.readouterr().out)["memory"]
    assert Built(**{**told, "incidents": tuple(told["incidents"])}).demonstrations == 0


def case(*queries: tuple[str, str], answer: str = "The address was 1.2.3.4.") -> Case:
    goal = "Nina signed in at night. What is the IP address she signed in from?"
    steps = []
    seen = goal
    for index, (sql, observed) in enumerate(queries):
        steps.append(
            Step(
                index=index,
                observation=seen,
                decision=Decision(action=f"execute[{sql}]", actor="student", reason="logged"),
                outcome=Observation(text=observed),
                seconds=0,
            )
        )
        seen = observed
    return Case(id="e1", task=Task(id="incident_5/test/0", goal=goal), steps=tuple(steps), answer=answer)


def test_a_success_teaches_where_such_an_answer_stands() -> None:
    found = InvestigationDistiller().lessons(case(*TALK), success=True)
    (place,) = [entry for entry in found.entries if entry.kind == Kind.SCHEMA]
    assert place.cue == "what is asked for is the IP address"
    assert place.action == "give the IPAddress of the row that fits the question"
    assert place.effect == "the value alone is the answer"
    assert place.pattern == ("submit[{IPAddress}]",)
    assert place.origins[0].task == "incident_5/test/0" and place.origins[0].episode == "e1"


def test_a_success_teaches_how_it_was_come_to() -> None:
    """Only the queries that the answer depends on, backwards from it; their values are slots."""
    entities = '[{"Type": "ip", "Address": "1.2.3.4"}, {"Type": "account", "Name": "ann"}]'
    queries = (
        ("SHOW TABLES", "[('SecurityAlert',)]"),
        ("SELECT Id, Title, Entities FROM SecurityAlert WHERE Entities LIKE '%ws-1%'", str([("a-1", "x", entities)])),
        ("SELECT Title FROM SecurityAlert", "[('unrelated',)]"),
        ("SELECT AlertIds FROM SecurityIncident WHERE AlertIds LIKE '%a-1%' LIMIT 3", "[('a-1 and more',)]"),
        ("SELECT Entities FROM SecurityAlert WHERE Id = 'a-1'", str([(entities,)])),
    )
    goal = "Somebody used `ws-1`. What is the IP address of the sign-in?"
    told = case(*queries, answer="1.2.3.4")
    told = told.model_copy(update={"task": told.task.model_copy(update={"goal": goal})})
    (how,) = [e for e in InvestigationDistiller().lessons(told, success=True).entries if e.kind == Kind.PRINCIPLE]
    assert how.pattern == (
        "execute[SELECT DISTINCT Id, Title FROM SecurityAlert WHERE Entities LIKE '%{named}%']",
        "execute[SELECT Entities FROM SecurityAlert WHERE Id = '{Id}']",
        "submit[{what is asked for}]",
    )
    assert how.action == "search SecurityAlert by what the task names; then read SecurityAlert by Id"


def test_a_failure_teaches_what_was_wrong() -> None:
    found = InvestigationDistiller().lessons(case(*TALK), success=False)
    (wrong,) = [entry for entry in found.entries if entry.kind == Kind.FAILURE]
    assert wrong.cue == "what is asked for is the IP address" and not wrong.pattern
    assert wrong.action.startswith("do not give {IPAddress} ")


@pytest.mark.parametrize(
    ("first", "then", "advice"),
    [
        ("Who = 'nina@a.example'", "Who LIKE '%nina%'", "search by a part of the value"),
        ("Who = 'nina'", "Who LIKE '%nina%'", "compare with LIKE"),
        ("Who = 'nina' AND TimeGenerated > '2024-07-01'", "Who = 'nina'", "leave out the bounds on time"),
        ("Who = 'nina' AND App = 'mail'", "Who = 'nina'", "leave out a condition"),
    ],
)
def test_what_helped_where_nothing_was_found(first: str, then: str, advice: str) -> None:
    queries = (
        (f"SELECT Ip FROM SigninLogs WHERE {first}", "[]"),
        (f"SELECT Ip FROM SigninLogs WHERE {then}", "[('1.2.3.4',)]"),
    )
    found = InvestigationDistiller().lessons(case(*queries), success=True)
    actions = [entry.action for entry in found.entries if entry.cue == 'you observe "[]"']
    assert any(action.startswith(advice) for action in actions)
    failed = InvestigationDistiller().lessons(case(*queries), success=False).entries
    assert not [entry for entry in failed if entry.cue.startswith("you observe")]


def test_an_investigation_without_an_answer_teaches_to_give_one() -> None:
    found = InvestigationDistiller().lessons(case(*TALK, answer=""), success=False)
    assert any(e.kind == Kind.STOP and e.action.startswith("submit the likeliest value") for e in found.entries)


def test_a_column_that_is_not_there_teaches_what_worked() -> None:
    found = InvestigationDistiller().lessons(case(*TALK), success=True)
    (wrong,) = [entry for entry in found.entries if entry.kind == Kind.FAILURE]
    assert wrong.cue == "you want the column Ip of SigninLogs"
    assert wrong.action == "SigninLogs has no Ip: search it by UserPrincipalName"


def test_a_failure_teaches_how_to_go_on_from_refusals_and_no_way_to_an_answer() -> None:
    found = InvestigationDistiller().lessons(case(*TALK), success=False)
    guards = {entry.pattern for entry in found.entries if entry.kind == Kind.GUARD}
    assert guards == {("execute[SHOW TABLES]",), ("execute[DESCRIBE {table}]",)}
    assert not [entry for entry in found.entries if entry.kind in (Kind.SCHEMA, Kind.PRINCIPLE)]


def test_no_lesson_holds_a_value_of_its_incident() -> None:
    for success in (True, False):
        found = InvestigationDistiller().lessons(case(*TALK), success=success)
        text = " ".join(entry.model_dump_json() for entry in found.entries)
        assert "1.2.3.4" not in text and "nina" not in text.casefold()


def test_it_distils_stored_runs_like_any_distiller(run: Run) -> None:
    lessons = asyncio.run(distil_run(run, InvestigationDistiller(worth=1), run.episodes()))
    kinds = [{entry.kind for entry in lesson.distilled.entries} for lesson in lessons]
    assert [Kind.SCHEMA in found for found in kinds] == [True, False, False, True]
    assert len(asyncio.run(distil_run(run, InvestigationDistiller(worth=1), run.episodes()))) == 4


def test_an_investigation_without_queries_teaches_nothing() -> None:
    assert InvestigationDistiller().lessons(case(), success=True).entries == ()
    assert InvestigationDistiller().lessons(case(("SHOW TABLES", "[]"), answer=""), success=True).entries == ()


def test_a_bench_distils_its_demonstrations_by_these_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sqlglot", reason="the extra excytin is not installed")
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ATLAS_DATA", raising=False)
    small = ["--rows", "100", "--embedder", "hash", "--demos", "3", "--n", "1"]
    main(["bench", "excytin", *small, "--arms", "pamphlets", "-o", str(tmp_path / "run"), "--json"])
    lessons = [lesson for lesson in read_lessons(tmp_path / "run") if lesson.distilled.entries]
    kinds = {entry.kind for lesson in lessons for entry in lesson.distilled.entries}
    assert lessons and {Kind.SCHEMA, Kind.PRINCIPLE} <= kinds
