"""What is missing is said before incidents are written: that takes a minute, and nothing of it can be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atlas.cli import main


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ATLAS_DATA", raising=False)

    def run(*more: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["bench", "excytin", "--n", "1", "--demos", "1", *more])
        assert stop.value.code == 2
        assert not list(tmp_path.rglob("incident*")) and not (tmp_path / "runs").exists(), "nothing was written"
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("engine", "more", "extra"),
    [
        ("sqlite_engine", (), "excytin"),
        ("mysql_engine", ("--incident", "5", "--mysql", "mysql://a:b@127.0.0.1:9/x"), "mysql"),
    ],
)
def test_a_missing_extra(
    engine: str, more: tuple[str, ...], extra: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str) -> Any:
        return None

    monkeypatch.setattr(f"atlas.benchmarks.excytin.{engine}.find_spec", without)
    assert f"[{extra}]" in refused(*more)


def test_a_missing_key(refused: Callable[..., str]) -> None:
    pytest.importorskip("litellm", reason="needs the extra litellm")
    assert "MISTRAL_API_KEY is not set" in refused("--student", "mistral/mistral-small")
    assert "GEMINI_API_KEY is not set" in refused("--judge", "gemini/gemini-2.5-flash")
