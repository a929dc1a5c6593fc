"""``atlas traces``: what a person, or a program with --json, reads of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import atlas
from atlas.cli import app
from atlas.errors import AtlasError
from atlas.figures import figure, money, percent, percent_interval, points_interval
from atlas.records import Task
from atlas.report.charts import whole
from atlas.stats import Interval
from atlas.testing import ScriptedModel
from atlas.testing.runs import ARMS, SETTINGS, MadeUpArm, write_run
from atlas.traces import Run, RunWriter
from atlas.traces.account import arm_rows
from atlas.words import clean, shorten


def call(*arguments: str) -> str:
    result = CliRunner(env={"COLUMNS": "140"}).invoke(app, ["traces", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def fails(*arguments: str) -> str:
    with pytest.raises(AtlasError) as error:
        CliRunner().invoke(app, ["traces", *arguments], catch_exceptions=False)
    return str(error.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    return write_run(root / "made-up", settings={**SETTINGS, "planned": {name: 20 for name in ARMS}})


def test_ls_lists_runs_with_arms_progress_and_dollars(folder: Path) -> None:
    text = call("ls", str(folder.parent))
    rows = arm_rows(Run(folder).results())
    assert "made-up" in text and "70/120" in text
    for row in rows[1:]:
        assert f"{row.arm} {percent_interval(row.success)}" in text
    (line,) = call("ls", str(folder.parent), "--json").splitlines()
    summary = json.loads(line)
    assert (summary["episodes"], summary["planned"], summary["open"]) == (70, 120, 0)
    assert summary["dollars"] == pytest.approx(sum(row.usage.dollars or 0 for row in rows))


def test_ls_shows_a_run_that_goes_on_and_one_that_is_broken(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "going-on", {})
    writer.start("e", "student", Task(id="t", goal="g"), 0, "c")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    text = call("ls", str(tmp_path))
    assert "going-on" in text and "(1 open)" in text and "not a readable run manifest" in text
    assert len(call("ls", str(tmp_path), "--json").splitlines()) == 1
    assert "no end" in call("show", str(tmp_path / "going-on")) or "no episode" in call(
        "show", str(tmp_path / "going-on")
    )
    writer.close()


def test_show_prints_the_account(folder: Path) -> None:
    text = call("show", str(folder))
    for row in arm_rows(Run(folder).results()):
        assert percent_interval(row.success) in text and money(row.dollars_per_episode) in text
    account = json.loads(call("show", str(folder), "--json"))
    assert [row["arm"] for row in account["arms"]] == list(ARMS)
    assert {row["arm"] for row in account["break_even"]} == {"icd", "cascade", "random-route"}
    assert account["cut_off"]["open"] == 0


def test_show_lists_episodes_of_an_arm_or_those_that_failed(folder: Path) -> None:
    failed = [e.id for e in Run(folder).results() if not e.success]
    listed = [json.loads(line) for line in call("show", str(folder), "--failed", "--json").splitlines()]
    assert [row["id"] for row in listed] == failed
    text = call("show", str(folder), "--arm", "student")
    assert all(e.id in text for e in Run(folder).results() if e.arm == "student")


def test_an_episode_reads_as_a_transcript(folder: Path) -> None:
    episode = next(e for e in Run(folder).episodes() if any(s.decision.reason == "split" for s in e.steps))
    text = call("show", str(folder), episode.id[:10])
    for step in episode.steps:
        assert step.decision.action in text
        assert all(f"{hit.demo_id}[{hit.start}:{hit.start + hit.length}]" in text for hit in step.decision.retrieved)
    assert "the student's samples disagree, so the teacher acts" in text
    assert "Possible actions" not in text
    assert "Possible actions" in call("show", str(folder), episode.id, "--prompts")
    content = json.loads(call("show", str(folder), episode.id, "--json"))
    assert len(content["steps"]) == len(episode.steps) and "prompt" not in content["steps"][0]["decision"]
    prompted = json.loads(call("show", str(folder), episode.id, "--prompts", "--json"))
    assert prompted["steps"][-1]["decision"]["prompt"]["stable"] == "You act in a household."


def test_a_goal_that_is_a_document_is_cut_where_people_read_it_and_whole_in_json(tmp_path: Path) -> None:
    goal = "Sum up:\n" + "word " * 20_000
    with atlas.Agent(ScriptedModel(["done"]), run=tmp_path / "run") as agent:
        with agent.episode(goal, task="t" * 1000) as episode:
            episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "go"}])
            episode.score(0)
        with agent.episode("two\nlines") as short:
            pass
    run = str(tmp_path / "run")
    for text in (call("show", run, episode.id), call("show", run, "--arm", "agent")):
        assert "Sum up: word" in text and "…" in text and len(text) < 4000
    assert "two\nlines" in call("show", run, short.id)
    assert json.loads(call("show", run, episode.id, "--json"))["task"]["goal"] == goal
    assert json.loads(call("show", run, "--arm", "agent", "--json").splitlines()[0])["goal"] == goal


def test_wrong_names_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    assert "holds no run" in fails("show", str(tmp_path / "nowhere"))
    assert "no arm 'studnet': its arms are collect, student" in fails("show", str(folder), "--arm", "studnet")
    assert "no episode begins with 'zzz'" in fails("show", str(folder), "zzz")
    assert "give more of the id" in fails("show", str(folder), "")
    assert "no folder" in fails("ls", str(tmp_path / "nowhere"))


def test_foreign_text_cannot_steer_the_terminal(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {"student": MadeUpArm(1, 1.0)})
    trace = folder / "trace.jsonl"
    attack = "\\u001b]0;owned\\u0007\\u001b[2J\\u009b31m[bold red]X[/bold red] [/] :skull: \\u202e"
    trace.write_text(trace.read_text().replace("A mug may", attack).replace("put a clean", attack))
    episode = Run(folder).results()[0]
    for text in (call("show", str(folder), episode.id, "--prompts"), call("show", str(folder), "--arm", "student")):
        assert "[bold red]X[/bold red] [/] :skull:" in text
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"} and "owned" not in text


@given(st.text())
def test_cleaned_text_holds_no_control_characters(text: str) -> None:
    cleaned = clean(text)
    assert all(c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160) for c in cleaned)
    assert clean(cleaned) == cleaned
    assert "\n" not in shorten(text, 20) and len(shorten(text, 20)) <= 20


def test_an_unfinished_escape_does_not_swallow_what_follows() -> None:
    assert clean("\x1b]0;title never ends\nthe observation") == "0;title never ends\nthe observation"
    assert clean("\x1b") == "" and clean("a\x1b[31mb\x1b[0mc") == "abc"


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "unpriced"),
        (0.0, "$0"),
        (0.00123, "$0.00123"),
        (0.0123456, "$0.0123"),
        (1.234, "$1.23"),
        (1234.5, "$1,234"),
        (0.9999, "$1.00"),
        (99.999, "$100"),
        (-0.5, "-$0.500"),
        (1e-7, "$0.000000100"),
    ],
)
def test_money_is_never_an_exponent_and_unpriced_is_never_nothing(dollars: float | None, text: str) -> None:
    assert money(dollars) == text


def test_rates_are_shown_with_their_interval() -> None:
    assert percent_interval(Interval(mean=0.933, low=0.861, high=0.97, n=60)) == "93 % [86, 97]"
    assert percent_interval(Interval(mean=0.0, low=0.0, high=1.0, n=0)) == "-"
    assert points_interval(Interval(mean=-0.05, low=-0.1, high=0.001, n=60)) == "-5.0 [-10.0, +0.1]"
    assert [percent(x) for x in (0.0, 0.004, 0.5, 0.996, 1.0)] == ["0 %", "0.4 %", "50 %", "99.6 %", "100 %"]


@given(st.floats(0, 1, allow_subnormal=False))
def test_what_is_not_all_is_never_shown_as_100_and_what_is_something_never_as_0(share: float) -> None:
    interval = Interval(mean=share, low=share, high=share, n=9)
    low, high = re.findall(r"\[([\d.]+), ([\d.]+)\]", percent_interval(interval))[0]
    some = [percent(share), percent_interval(interval), whole(share), f"{figure(share, 1)} %", f"{figure(share, 2)} %"]
    for shown in [float(text.split()[0]) for text in some]:
        assert (shown == 0) == (share < 1e-9) and (shown == 100) == (share > 1 - 1e-9)
    assert share < 1e-9 or float(high) > 0, "a bound may be rounded outwards alone"
    assert share > 1 - 1e-9 or float(low) < 100, "a bound may be rounded outwards alone"
    lead = points_interval(Interval(mean=-share, low=-share, high=-share, n=9)).split()[0]
    assert (float(lead) == 0) == (share < 1e-9) and (float(lead) == -100) == (share > 1 - 1e-9)


def test_shares_just_below_all_and_just_above_nothing() -> None:
    assert [percent(x) for x in (0.9996, 0.99999, 0.0004, 1 - 1e-16)] == ["99.96 %", "99.999 %", "0.04 %", "100 %"]
    assert percent_interval(Interval(mean=0.9996, low=0.998, high=0.9999, n=9)) == "99.96 % [99.8, 100]"
    assert percent_interval(Interval(mean=0.004, low=0.001, high=0.0049, n=9)) == "0.4 % [0, 0.5]"
    assert points_interval(Interval(mean=0.0004, low=-1e-17, high=0.1, n=9)) == "+0.04 [+0.0, +10.0]"


def turns(*metrics: dict[str, object] | None) -> dict[str, object]:
    """A trajectory of another agent; of each of its replies what the agent told of the tokens."""
    steps: list[dict[str, object]] = [{"step_id": 1, "source": "user", "message": "count the files"}]
    for told in metrics:
        reply = {"step_id": len(steps) + 1, "source": "agent", "message": "one more", "model_name": "vendor/m"}
        steps.append({**reply, **({"metrics": told} if told is not None else {})})
    agent = {"name": "counter", "version": "1", "model_name": "vendor/m"}
    return {"schema_version": "ATIF-v1.6", "session_id": "s", "agent": agent, "steps": steps}


@pytest.mark.parametrize(
    ("metrics", "whole", "prompt"),
    [
        ([None, None], "tokens unknown, unpriced", "-"),
        ([{"prompt_tokens": 1200, "completion_tokens": 34}, None], "1,234 + ? tokens, unpriced", "1,200 + ?"),
        ([{"prompt_tokens": 1200}], "1,200 + ? tokens, unpriced", "1,200 + ?"),
        ([{"prompt_tokens": 1200, "completion_tokens": 34}], "1,234 tokens, unpriced", "1,200"),
        ([{"prompt_tokens": 0, "completion_tokens": 0, "cost_usd": 0.0}], "0 tokens, $0", "0"),
    ],
)
def test_tokens_that_nobody_told_are_not_shown_as_none(
    metrics: list[dict[str, object] | None], whole: str, prompt: str, tmp_path: Path
) -> None:
    (tmp_path / "t.json").write_text(json.dumps(turns(*metrics)))
    call("import", "atif", str(tmp_path / "t.json"), "-o", str(tmp_path / "run"))
    (episode,) = Run(tmp_path / "run").episodes()
    assert episode.result is not None
    text = call("show", str(tmp_path / "run"), episode.id)
    assert whole in text.splitlines()[-1]
    table = next(line for line in call("show", str(tmp_path / "run")).splitlines() if "vendor/m" in line)
    assert re.split(r"\s{2,}", table.strip())[4] == prompt
    page = tmp_path / "page.html"
    CliRunner().invoke(app, ["report", str(tmp_path / "run"), "-o", str(page)], catch_exceptions=False)
    assert f">{prompt}<" in page.read_text()


def test_a_terminal_of_80_columns_folds_names_and_cuts_no_figure(folder: Path) -> None:
    from atlas.tables import arms_table, spend_table

    rows = arm_rows(Run(folder).results())
    narrow = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["traces", "show", str(folder)], catch_exceptions=False)
    assert "\u2026" not in narrow.output
    for row in rows:
        assert percent_interval(row.success) in narrow.output and money(row.dollars_per_episode) in narrow.output
    assert all(column.no_wrap for table in (arms_table(rows), spend_table([])) for column in table.columns[3:])
