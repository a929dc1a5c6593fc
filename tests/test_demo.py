"""``atlas demo`` at toy size: the whole loop, from nothing to a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atlas.cli import main
from atlas.traces import Run

TOY = ("--homes", "2", "--demos", "6", "--embedder", "hash")


def test_the_demo_ends_with_a_report_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["demo", *TOY, "--json"])
    out, err = capsys.readouterr()
    rows = {row["arm"]: row["episodes"] for row in json.loads(out)["arms"]}
    arms = ("teacher", "student", "icd", "cascade", "icd@5", "cascade@5", "online", "random-route")
    assert rows == {"collect": 6, **dict.fromkeys(arms, 2)}
    assert "report.html" in err
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page and "scripted" in page and "No language model" in page
    assert "smollm" not in page, "what did not play is not told of"
    played = [e.id for e in Run("demo").results()]
    (tmp_path / "demo" / "report.html").unlink()
    main(["demo", *TOY])
    said = capsys.readouterr().out
    assert "report.html" in said
    assert said.startswith("A student that copies") and "Nothing is billed" in said
    assert "By itself the student wins 0 % of the homes" in said and "smollm" not in said
    assert (tmp_path / "demo" / "report.html").is_file()
    assert [e.id for e in Run("demo").results()] == played


@pytest.mark.parametrize("wrong", [("--homes", "0"), ("--demos", "0"), ("--embedder", "none"), ("--homes", "few")])
def test_a_wrong_size_is_one_sentence(
    wrong: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["demo", *TOY, *wrong, "--json"])
    err = capsys.readouterr().err
    assert stop.value.code == 2 and "Traceback" not in err and err.splitlines()[-1].startswith("atlas: ")
    assert not (tmp_path / "demo" / "report.html").exists()
