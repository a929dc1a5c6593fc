"""What a run is resumed by: the settings are those of the commands of before, and roles are none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atlas.benchmarks.bench import Bench
from atlas.cli import main
from atlas.errors import StoreError
from atlas.records import content_hash
from atlas.report import gather
from atlas.traces import Run
from atlas.traces.roles import ROLES, by_name, recorded, roles_of
from atlas.traces.writer import MANIFEST

BEFORE: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "settings_before.json").read_text())
"""Commands, and the settings and their hash as the code made them that had no record of options."""


@pytest.mark.parametrize("case", BEFORE)
def test_settings_are_those_of_before_there_was_a_record_of_options(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        pass

    async def run(bench: Bench) -> None:
        found.update(bench.settings())
        raise Begun

    found: dict[str, Any] = {}
    monkeypatch.setattr(Bench, "run", run)
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ATLAS_CONFIG", str(tmp_path / "config"))
    with pytest.raises(Begun):
        main(["bench", *BEFORE[case]["command"], "-o", str(tmp_path / "run")])
    assert json.loads(json.dumps(found)) == BEFORE[case]["settings"]
    assert content_hash(found) == BEFORE[case]["hash"]


PLAY = ("bench", "alfworld", "--n", "2", "--demos", "4", "--embedder", "hash", "--max-steps", "8")
ARMS = "teacher,cascade:0.8,random-route:0.8,icd@2,online"


def without_roles(folder: Path) -> None:
    """The run as it was written before."""
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["about"][ROLES]
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_roles_stand_in_the_run_and_runs_of_before_are_told_of_and_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    main([*PLAY, "--arms", ARMS, "-o", str(folder), "--json"])
    written = recorded(Run(folder))
    assert list(written) == ARMS.split(",")
    assert written["random-route:0.8"].control_of == "cascade:0.8" and written["online"].grows
    assert (written["icd@2"].base, written["icd@2"].demos, written["icd@2"].bare) == ("icd", 2, "student")
    assert written["cascade:0.8"].trust == "votes:0.8" and "samples disagree" in written["cascade:0.8"].says
    assert written == by_name(written), "by their names the same would come of it"
    facts, trace = gather(Run(folder)), (folder / "trace.jsonl").read_bytes()
    assert ROLES not in facts.about and {p.first for p in facts.pairs} == {"cascade:0.8"}

    without_roles(folder)
    assert not recorded(Run(folder)) and roles_of(Run(folder), written) == written
    assert gather(Run(folder)) == facts
    capsys.readouterr()
    main([*PLAY, "--arms", ARMS, "-o", str(folder), "--json"])
    assert (folder / "trace.jsonl").read_bytes() == trace, "nothing is left to play"
    assert json.loads(capsys.readouterr().out)["pairs"] == [pair.model_dump(mode="json") for pair in facts.pairs]


def test_a_report_goes_by_the_roles_and_not_by_the_names(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    main([*PLAY, "--arms", "teacher,cascade,random-route", "-o", str(folder), "--json"])
    for path in (folder / MANIFEST, folder / "trace.jsonl"):
        text = path.read_text()
        for old, new in (("random-route", "dice"), ("cascade", "mine"), ('"teacher"', '"boss"')):
            kept = text.replace('"kind": "cascade"', '"kind": "KEPT"').replace('"kind": "teacher"', '"kind": "BOSS"')
            text = kept.replace(old, new).replace("KEPT", "cascade").replace("BOSS", "teacher")
        path.write_text(text)
    facts = gather(Run(folder))
    (group,) = facts.groups
    assert group.cascade is not None and group.cascade.name == "mine"
    assert group.teacher is not None and group.teacher.name == "boss"
    assert [(pair.first, pair.second) for pair in facts.pairs] == [("mine", "boss"), ("mine", "dice")]


def test_roles_that_are_none_are_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    main([*PLAY, "--arms", "student", "-o", str(folder), "--json"])
    manifest = json.loads((folder / MANIFEST).read_text())
    for wrong in ({"student": {"name": 7}}, ["student"]):
        manifest["about"][ROLES] = wrong
        (folder / MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(StoreError, match="mend or remove them"):
            gather(Run(folder))
