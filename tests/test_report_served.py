"""The report for one who runs an agent: how it goes over time, what it costs and learned, and why episodes failed."""

from __future__ import annotations

import json
import random
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import openai
import pytest

import atlas
from atlas.cli import main
from atlas.errors import ConfigError, StoreError
from atlas.figures import money, percent_interval, points_interval
from atlas.memory import Memory
from atlas.records import Ask
from atlas.report import gather, render
from atlas.report.served import Service
from atlas.stats import wilson
from atlas.stats.intervals import difference
from atlas.testing import ScriptedModel
from atlas.testing.runs import ARMS, MadeUpArm, write_episode, write_run
from atlas.traces import Run, RunWriter
from atlas.traces.newest import Newest
from tests.test_report import Page
from tests.wrap_fixtures import user

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m"


def answers(*rights: bool, price: Any = None) -> ScriptedModel:
    """One answer for each episode, the same in all its samples."""
    by_task = {str(number): "right" if right else f"wrong {HOSTILE}" for number, right in enumerate(rights)}

    def answer(ask: Ask) -> str:
        return by_task[ask.view.task.id]

    return ScriptedModel(answer, name="small")


def serve(run: Path, student: ScriptedModel, count: int, teacher: bool = True, **settings: Any) -> None:
    model = ScriptedModel("right", name="large", price=atlas.Price(prompt=40.0, completion=40.0)) if teacher else None
    with atlas.Agent(student, model, run=run, **settings) as agent:
        for number in range(count):
            with agent.episode(f"order {number}", task=str(number)) as episode:
                said = episode.client.chat.completions.create(model="m", messages=user(f"order {number} {HOSTILE}"))
                episode.score(float(said.choices[0].message.content == "right"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent that wins two of the first fifteen, 13 %, and then all: what a single dot would hide."""
    folder = tmp_path_factory.mktemp("served")
    with Memory(folder / "memory.sqlite", "hash") as memory:
        rights = [number in (3, 9) or number >= 15 for number in range(40)]
        serve(folder / "desk", answers(*rights), 40, memory=memory)
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Service:
    found = gather(Run(folder / "desk")).service
    assert found is not None
    return found


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return render(Run(folder / "desk"))


def text_of(html: str) -> str:
    return " ".join("".join(Page(html).text).replace("\xa0", " ").split())


def test_success_has_a_trend_with_an_interval(service: Service, html: str) -> None:
    won = [bool(episode.success) for episode in service.episodes]
    assert (service.older, service.newer) == (wilson(sum(won[:20]), 20), wilson(sum(won[20:]), 20))
    assert service.trend == difference(service.newer, service.older) and service.trend.low > 0
    shown = text_of(html)
    assert "Success rose from" in shown and points_interval(service.trend) in shown
    for window in service.windows:
        assert f"{window.first} to {window.last}" in shown and percent_interval(window.success) in shown


def test_windows_are_all_episodes_once_and_of_some_size(service: Service) -> None:
    numbers = [n for window in service.windows for n in range(window.first, window.last + 1)]
    assert numbers == list(range(1, 41)) and all(window.episodes >= 4 for window in service.windows)
    assert sum(window.scored for window in service.windows) == 40


def test_what_the_teacher_alone_would_have_cost_is_estimated_and_said_how(
    service: Service, folder: Path, html: str
) -> None:
    results = Run(folder / "desk").results()
    calls = [s.usage for e in results for s in e.spend if s.actor == "teacher"]
    per_call = sum(usage.dollars or 0.0 for usage in calls) / sum(usage.calls for usage in calls)
    assert service.call is not None and service.call.mean == pytest.approx(per_call)
    assert service.alone is not None
    assert service.alone.mean == pytest.approx(per_call * sum(e.steps for e in results) / 40)
    assert service.dollars is not None and f"{money(service.dollars.mean)}, " in text_of(html)
    assert "is an estimate: the steps that were played, times what a call of the teacher cost" in text_of(html)
    taught = [e for e in results if e.lane == "teacher"]
    assert service.measured is not None and service.measured.n == len(taught) > 0


def test_what_was_learned_stands_there_with_its_moment(service: Service, folder: Path, html: str) -> None:
    with Memory(folder / "memory.sqlite", "hash") as memory:
        assert service.demonstrations == len(memory.demonstrations) > 0
        assert service.memory is not None and len(service.memory.versions) == memory.database.head()
    assert sum(v.demonstrations for v in service.memory.versions) == service.demonstrations
    assert sum(window.demonstrations for window in service.windows) == service.demonstrations
    assert [event.change.turned for event in service.changes] == ["dropped", "recovered"]
    assert all(event.said in text_of(html) for event in service.changes)


def test_failures_are_grouped_and_lead_to_their_transcripts(service: Service, html: str) -> None:
    counts = {failed.reason: len(failed.episodes) for failed in service.failures}
    failed = sum(episode.success is False for episode in service.episodes)
    assert sum(counts.values()) == failed and "failed: the student acted alone, sure of itself" in counts
    page = Page(html)
    ids = [value for name, value in page.attributes if name == "id"]
    links = [value for name, value in page.attributes if name == "href"]
    assert links and len(set(ids)) == len(ids) and set(links) <= {f"#{name}" for name in ids}


def test_the_page_needs_nothing_but_itself_and_obeys_nothing(html: str) -> None:
    page = Page(html)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "image", "use"}
    assert not [a for a in page.attributes if a[0] in ("src", "srcset", "action") or a[0][:2] == "on"]
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert "\x1b" not in html and "https://" not in html and "&lt;script&gt;" in html


def pictures(html: str) -> None:
    assert "<svg " in html
    for match in re.finditer(r"<svg .*?</svg>", html, re.DOTALL):
        root = ET.fromstring(match[0])
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for element in root.iter():
            for name, limit in {"x1": width, "x2": width, "cx": width, "y1": height, "cy": height, "y": height}.items():
                assert 0 <= float(element.attrib.get(name, 0)) <= limit
        for path in re.findall(r'd="M([^"Z]*)', match[0]):
            for point in path.split("L"):
                x, y = map(float, point.split())
                assert 0 <= x <= width and 0 <= y <= height


def test_every_picture_is_well_formed_and_stays_in_its_frame(html: str) -> None:
    pictures(html)


def test_a_secret_that_the_agent_read_is_not_on_the_page(tmp_path: Path) -> None:
    key = "sk-proj-" + "a1B2" * 12
    student = ScriptedModel(f"the key is {key}", name="small")
    with atlas.Agent(student, run=tmp_path / "run") as agent, agent.episode(f"use {key}", task=key) as episode:
        episode.client.chat.completions.create(model="m", messages=user(f"my key: {key}"))
        episode.fail()
    page = render(Run(tmp_path / "run"))
    assert key not in page and "the key is" in page


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("teacher", [True, False])
def test_a_short_run_makes_a_page(tmp_path: Path, count: int, teacher: bool) -> None:
    serve(tmp_path / "run", answers(*[True] * count), count, teacher, audit=1.0 if teacher else None)
    page = render(Run(tmp_path / "run"))
    pictures(page)
    shown = text_of(page)
    assert "None: no episode failed" in shown and "Nothing to look at" in shown
    assert ("times what a call of the teacher cost" in shown) is teacher
    assert "Supervision never changed." in shown and "names no memory that is there" in shown


def test_without_prices_and_scores_it_says_so(tmp_path: Path) -> None:
    student = ScriptedModel("hello", name="small", price=None)
    with atlas.Agent(student, run=tmp_path / "run") as agent:
        for number in range(6):
            with agent.episode(f"greet {number}") as episode:
                episode.client.chat.completions.create(model="m", messages=user())
    page = render(Run(tmp_path / "run"))
    pictures(page)
    assert "unpriced" in text_of(page) and "none of the last 6 episodes has a score" in text_of(page)


def test_an_episode_that_failed_is_told_by_what_happened_to_it(tmp_path: Path) -> None:
    with atlas.Agent(ScriptedModel("hi"), run=tmp_path / "run", budget=atlas.Budget(tokens=1)) as agent:
        with pytest.raises(KeyError), agent.episode("a") as episode:
            raise KeyError("no such order")
        with agent.episode("b") as episode:
            episode.fail()
        with agent.episode("c") as episode:
            episode.client.chat.completions.create(model="m", messages=user())
            with pytest.raises(openai.BadRequestError, match="budget"):
                episode.client.chat.completions.create(model="m", messages=user())
            episode.fail()
    found = gather(Run(tmp_path / "run")).service
    assert found is not None
    assert {failed.reason for failed in found.failures} == {
        "error: KeyError in the agent",
        "failed: no model was asked",
        "failed: its budget was spent",
    }


# --- which page -------------------------------------------------------------------------------------------------------


def test_runs_that_compare_arms_keep_their_page(tmp_path: Path) -> None:
    assert gather(Run(write_run(tmp_path / "bench"))).service is None
    for arm in ("one", "two"):
        with atlas.Agent(ScriptedModel("hi"), run=tmp_path / "both", arm=arm) as agent, agent.episode("g") as episode:
            episode.client.chat.completions.create(model="m", messages=user())
            episode.succeed()
    assert gather(Run(tmp_path / "both")).service is None
    assert "The arms" in render(Run(tmp_path / "both"))


def test_several_agents_that_share_a_run_have_their_rows_too(tmp_path: Path) -> None:
    for arm in ("one", "two"):
        serve(tmp_path / "both", answers(*[False] * 9), 9, teacher=arm == "one", arm=arm)
    facts = gather(Run(tmp_path / "both"))
    assert facts.service is None and [(e.arm, e.raised) for e in facts.changes] == [("one", True), ("two", False)]
    shown = text_of(render(Run(tmp_path / "both")))
    assert all(event.said in shown for event in facts.changes)
    # Taught as success dropped: nothing that was chosen by task.
    assert not facts.groups[0].supervised and "With lanes chosen" not in shown


def test_an_agent_with_lanes_shows_them(tmp_path: Path) -> None:
    student, teacher = ScriptedModel("right", name="small"), ScriptedModel("VERDICT: yes", name="large")
    with (
        Memory(":memory:", "hash") as memory,
        atlas.Agent(student, teacher, memory=memory, lanes=True, run=tmp_path / "run") as agent,
    ):
        for number in range(4):
            with agent.episode(f"order {number}") as episode:
                episode.client.chat.completions.create(model="m", messages=user())
                episode.succeed()
    page = render(Run(tmp_path / "run"))
    assert "Supervision by task" in text_of(page) and "which lane each episode had" in text_of(page)


def test_arms_are_explained_in_words_and_so_is_a_tie_with_chance(tmp_path: Path) -> None:
    shown = text_of(render(Run(write_run(tmp_path / "run"))))
    assert "An arm is one way to play" in shown and "A tie with random routing means" in shown
    assert "the student with retrieved demonstrations (in-context distillation)" in shown
    without = {name: arm for name, arm in ARMS.items() if name != "random-route"}
    assert "A tie with random" not in text_of(render(Run(write_run(tmp_path / "other", without))))


def test_the_reader_chooses_what_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(tmp_path / "run")
    pairs = gather(Run(folder), compare=["icd", "teacher", "student"]).pairs
    assert [(p.first, p.second) for p in pairs] == [("icd", "teacher"), ("icd", "student")]
    main(["report", str(folder), "-o", str(tmp_path / "r.html"), "--compare", "icd, teacher"])
    shown = text_of((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "icd vs teacher" in shown and "cascade vs" not in shown and "icd against teacher:" in shown
    capsys.readouterr()
    main(["report", str(folder), "--compare", "icd,teacher", "--json"])
    assert [pair["second"] for pair in json.loads(capsys.readouterr().out)["pairs"]] == ["teacher"]
    for wrong, sentence in ((["icd"], "two arms or more"), (["icd", "nobody"], "no arm 'nobody'")):
        with pytest.raises(ConfigError, match=sentence):
            gather(Run(folder), compare=wrong)
    arms = [e.arm for e in Newest(Run(folder), last=1).episodes()]
    gone = next(arm for arm in ("icd", "teacher") if arm not in arms)
    with pytest.raises(ConfigError, match=rf"no arm '{gone}' was scored in the newest 1 of \d+ episodes: look at more"):
        gather(Newest(Run(folder), last=1), compare=[gone, *arms])


@pytest.mark.parametrize(
    ("order", "first"),
    [
        (["icd", "student"], "icd"),
        (["student", "icd", "teacher"], "icd"),
        (["teacher", "student"], "teacher"),
        (["random-route", "icd-irrelevant", "icd", "student"], "icd"),
        (["random-route", "icd-irrelevant"], None),
        (["random-route", "cascade", "teacher", "student"], "cascade"),
    ],
)
def test_the_paired_table_never_starts_from_a_control(tmp_path: Path, order: list[str], first: str | None) -> None:
    arms = {name: MadeUpArm(6, 0.5) for name in order}
    pairs = gather(Run(write_run(tmp_path / "run", arms))).pairs
    assert {p.first for p in pairs} == ({first} if first else set())


def test_a_memory_that_is_not_there_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    run = Run(folder / "desk")
    with pytest.raises(StoreError, match="there is no memory"):
        render(run, memory=tmp_path / "none.sqlite")
    assert gather(run, memory=folder / "memory.sqlite").service is not None


def test_a_run_of_many_episodes_is_drawn_without_a_tick_for_each(tmp_path: Path) -> None:
    rng = random.Random(1)
    with RunWriter(tmp_path / "run", {"kind": "wrapped"}) as writer:
        for number in range(450):
            write_episode(writer, "agent", MadeUpArm(450, 0.5, teacher=0.3, steps=2, learns=True), number, rng)
    run = Run(tmp_path / "run")
    page = render(run)
    pictures(page)
    assert "mark plain" not in page.partition("</style>")[2] and len(page) < 400_000
