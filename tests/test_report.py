"""The report: nothing but itself is needed, nothing foreign is obeyed, and its figures are the account's."""

from __future__ import annotations

import random
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.errors import DataError, StoreError
from atlas.figures import money, percent_interval, points_interval
from atlas.records import Task
from atlas.report import gather, render, write_report
from atlas.report.charts import scatter
from atlas.report.headline import sentences
from atlas.report.svg import Box, log_ticks, place, spread, ticks
from atlas.testing.runs import ARMS, SETTINGS, MadeUpArm, write_episode, write_run
from atlas.traces import Run, RunWriter
from atlas.traces.account import arm_rows, comparisons
from atlas.traces.roles import by_name

CURVES = {
    **ARMS,
    "collect": MadeUpArm(30, 1.0, teacher=1.0),
    "cascade-nodemos": MadeUpArm(12, 0.6, teacher=0.5),
    "icd@5": MadeUpArm(12, 0.4, retrieves=True),
    "icd@10": MadeUpArm(12, 0.7, retrieves=True),
    "cascade@5": MadeUpArm(12, 0.7, teacher=0.4, retrieves=True),
    "cascade@10": MadeUpArm(12, 0.9, teacher=0.1, retrieves=True),
    "online": MadeUpArm(24, 0.6, teacher=0.7, retrieves=True, learns=True),
    "tiny/student": MadeUpArm(6, 0.1),
    "tiny/cascade": MadeUpArm(6, 0.8, teacher=0.3, retrieves=True),
}


class Page(HTMLParser):
    """Checks that tags nest, and collects what the tests ask about."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(write_run(tmp_path_factory.mktemp("runs") / "made-up", CURVES))


@pytest.fixture(scope="module")
def html(run: Run) -> str:
    return render(run)


def test_the_page_needs_nothing_but_itself(html: str) -> None:
    page = Page(html)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use"}
    assert not [
        a for a in page.attributes if a[0] in ("src", "href", "xlink:href", "srcset", "action") or a[0][:2] == "on"
    ]
    assert "http://" not in html and "https://" not in html
    assert "url(" not in html and "@import" not in html and "@font-face" not in html


def test_every_picture_is_well_formed_and_stays_in_its_frame(html: str) -> None:
    pictures = re.findall(r'<svg viewBox="0 0 (\d+) \d+".*?</svg>', html, re.DOTALL)
    assert {"760", "360"} <= set(pictures)
    for match in re.finditer(r"<svg .*?</svg>", html, re.DOTALL):
        root = ET.fromstring(match[0])
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for element in root.iter():
            for name, limit in (
                ("x1", width),
                ("x2", width),
                ("cx", width),
                ("y1", height),
                ("y2", height),
                ("cy", height),
            ):
                assert 0 <= float(element.attrib.get(name, 0)) <= limit


def test_the_figures_are_the_account_s(run: Run, html: str) -> None:
    shown = "".join(Page(html).text)
    for row in arm_rows(run.results()):
        assert percent_interval(row.success) in shown
        assert money(row.dollars_per_episode) in shown
        for spend in row.spend:
            assert f"{spend.usage.prompt_tokens:,}" in shown
    for pair in comparisons(run.results(), by_name(e.arm for e in run.results())):
        assert f"{pair.first} vs {pair.second}" in shown
        assert points_interval(pair.success) in shown


def test_the_headline_is_computed(run: Run) -> None:
    facts = gather(run)
    first, second, third = sentences(facts)
    rows = {row.arm: row for row in arm_rows(run.results())}
    assert percent_interval(rows["student"].success) in first and f"{facts.demonstrations} demonstrations" in first
    assert percent_interval(rows["cascade"].success) in second and percent_interval(rows["teacher"].success) in second
    gap = next(p for p in facts.pairs if (p.first, p.second) == ("cascade", "random-route")).success
    assert points_interval(gap) in third
    assert ("not told apart" in third) == (gap.low <= 0 <= gap.high)


def test_a_cascade_that_loses_is_said_to_lose(tmp_path: Path) -> None:
    arms = {"cascade": MadeUpArm(30, 0.05, teacher=0.2), "random-route": MadeUpArm(30, 0.95, teacher=0.2)}
    assert any("did worse than random routing" in s for s in sentences(gather(Run(write_run(tmp_path / "r", arms)))))


def test_a_curve_s_ends_played_the_same_tasks(tmp_path: Path) -> None:
    arms = {
        "collect": MadeUpArm(9, 1.0, teacher=1.0),
        "student": MadeUpArm(3, 0.1),
        "icd": MadeUpArm(4, 0.5),
        "icd@5": MadeUpArm(4, 0.4),
    }
    (curve,) = gather(Run(write_run(tmp_path / "r", arms))).groups[0].curves
    assert [(point.demos, point.arm.name) for point in curve.points] == [(5, "icd@5"), (9, "icd")]


def test_learning_curves_are_read_from_arm_names(run: Run) -> None:
    main_group, tiny = gather(run).groups
    curves = {curve.name: [point.demos for point in curve.points] for curve in main_group.curves}
    assert curves == {"icd": [0, 5, 10, 30], "cascade": [0, 5, 10, 30]}
    assert [arm.name for arm in tiny.arms] == ["student", "cascade"]
    assert tiny.teacher is main_group.teacher is not None
    (growth,) = main_group.growth
    assert len(growth.each) == 24 and len(growth.teacher_share) == 24 + 1 - growth.window
    assert growth.teacher_share[-1] < growth.teacher_share[0]


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x1b[31m"


def test_foreign_text_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = {**SETTINGS, "title": HOSTILE, "notes": [HOSTILE], HOSTILE: {HOSTILE: HOSTILE}}
    with RunWriter(folder, settings) as writer:
        arm = MadeUpArm(2, 1.0, teacher=0.5, retrieves=True)
        for name in (HOSTILE, "cascade", f"{HOSTILE}/icd", f"{HOSTILE}@3"):
            for number in range(2):
                write_episode(writer, name, arm, number, random.Random(f"{name}{number}"))
    trace = folder / "trace.jsonl"
    escaped = HOSTILE.replace('"', '\\"').replace("\x1b", "\\u001b")
    trace.write_text(
        trace.read_text().replace("You arrive", escaped).replace("A mug may", escaped).replace("demo1", escaped)
    )
    html = render(Run(folder))
    page = Page(html)
    assert not page.tags & {"script", "img"}
    assert not [a for a in page.attributes if a[0].startswith("on")]
    assert "<script>alert(1)</script>" in "".join(page.text)
    assert "\x1b" not in html


@pytest.mark.parametrize(
    "arms",
    [
        {"collect": MadeUpArm(2, 1.0, teacher=1.0)},
        {"student": MadeUpArm(1, 0.0)},
        {
            "icd": MadeUpArm(3, 1.0, retrieves=True, dollars=0.0),
            "teacher": MadeUpArm(3, 1.0, teacher=1.0),
            "student": MadeUpArm(3, 0.0),
        },
        {"icd": MadeUpArm(2, 1.0, dollars=None), "cascade": MadeUpArm(2, 1.0, teacher=0.2, dollars=None)},
        {"cascade@3": MadeUpArm(2, 1.0, teacher=0.3), "cascade@1": MadeUpArm(2, 1.0, teacher=0.3)},
        {"icd@0": MadeUpArm(2, 1.0, dollars=0.0)},
        {"online": MadeUpArm(1, 1.0, teacher=0.5, learns=True)},
        {"x/": MadeUpArm(1, 1.0), "/y": MadeUpArm(1, 1.0), "a@b@3": MadeUpArm(1, 1.0)},
    ],
)
def test_any_selection_of_arms_makes_a_page(tmp_path: Path, arms: dict[str, MadeUpArm]) -> None:
    html = render(Run(write_run(tmp_path / "run", arms)))
    Page(html)
    assert "nan" not in html.lower().replace("finance", "")


def test_unpriced_arms_are_named_and_not_drawn_as_free(tmp_path: Path) -> None:
    arms = {"icd": MadeUpArm(2, 1.0, dollars=None), "teacher": MadeUpArm(2, 1.0, teacher=1.0)}
    run = Run(write_run(tmp_path / "run", arms))
    assert "icd" not in scatter(gather(run).groups[0], 760, 400)
    assert "Not shown: icd (unpriced)" in render(run)


def test_a_run_without_finished_episodes_is_one_sentence(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", {}) as writer:
        writer.start("e", "student", Task(id="t", goal="g"), 0, "c")
    with pytest.raises(DataError, match="no finished episode"):
        render(Run(tmp_path / "run"))


def test_an_unwritable_page_is_one_sentence(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StoreError, match="choose another path"):
        write_report(run, tmp_path / "absent" / "report.html")
    with pytest.raises(SystemExit) as stop:
        main(["report", str(run.folder), "-o", str(tmp_path)])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_command_writes_the_page_and_prints_figures(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["report", str(run.folder), "-o", str(tmp_path / "r.html")])
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    capsys.readouterr()
    main(["report", str(run.folder), "--json"])
    assert type(gather(run)).model_validate_json(capsys.readouterr().out) == gather(run)


def test_scales_are_round_and_labels_keep_apart() -> None:
    assert ticks(0, 1, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert log_ticks(0.001, 0.02) == pytest.approx([0.001, 0.002, 0.005, 0.01, 0.02])
    placed = spread([10.0, 11.0, 12.0], 15, 0, 100)
    assert min(b - a for a, b in pairwise(placed)) >= 15
    frame, mark = Box(0, 0, 300, 100), Box(60, 40, 60, 20)
    assert place(50, 50, 60, 15, [(mark, 1.0)], frame).overlap(mark) == 0


# --- arms by whatever spelling ----------------------------------------------------------------------------------------

SPELLED = {
    "teacher": MadeUpArm(12, 0.9, teacher=1.0),
    "cascade:0.8": MadeUpArm(12, 0.9, teacher=0.2, retrieves=True),
    "random-route:0.8": MadeUpArm(12, 0.6, teacher=0.2, retrieves=True),
}


def test_a_cascade_with_a_threshold_is_what_the_run_is_about(tmp_path: Path) -> None:
    made = Run(write_run(tmp_path / "run", SPELLED))
    facts = gather(made)
    assert [(pair.first, pair.second) for pair in facts.pairs] == [
        ("cascade:0.8", "teacher"),
        ("cascade:0.8", "random-route:0.8"),
    ]
    cascade, control = sentences(facts)
    assert cascade.startswith("The cascade cascade:0.8") and "The teacher itself won" in cascade
    assert "beat random routing" in control or "not told apart" in control
    drawn = re.findall(r'class="mark h(\d+)"', scatter(facts.groups[0], 760, 430))
    assert len(drawn) == len(set(drawn)) == 3, "each arm has a colour of its own"


def test_a_control_is_never_what_others_are_compared_with(tmp_path: Path) -> None:
    arms = {"pamphlets": MadeUpArm(6, 0.9), "pamphlets-shuffled": MadeUpArm(6, 0.5)}
    (found,) = gather(Run(write_run(tmp_path / "run", arms))).pairs
    assert (found.first, found.second) == ("pamphlets", "pamphlets-shuffled")
