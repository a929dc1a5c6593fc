"""How a local model reads best: tried, kept, and used from then on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from atlas.benchmarks import tuning
from atlas.benchmarks.alfworld.expert import Expert
from atlas.benchmarks.options import BenchOptions
from atlas.benchmarks.tuning import Tuning
from atlas.cli import app
from atlas.errors import ConfigError, DataError
from atlas.models import catalogue, load
from atlas.models.readings import Reading, Tried, keep, reading_of, readings_file
from atlas.prompts import render, transcript
from atlas.protocols import RanksActions
from atlas.records import BARE, TRANSCRIPT, Ask, Task, Turn, View
from atlas.testing import ScriptedModel


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_CONFIG", str(tmp_path / "config"))


class Tuned(ScriptedModel, RanksActions):
    """Right as a chat ranked by the mean with two demonstrations, now and then with one, and else never."""

    def __init__(self) -> None:
        super().__init__(self._act, name="tuned")

    def _act(self, ask: Ask) -> str:
        view = ask.view
        right = (self.form, self.rank) == (BARE, "mean") and (len(view.retrieved) == 2 or len(self.asks) % 2)
        past = [(turn.action, turn.observation) for turn in view.turns]
        return (
            f"Action: {Expert().act(view.task.goal, view.opening, past, view.admissible).action if right else 'stay'}"
        )


@pytest.fixture
def player(monkeypatch: pytest.MonkeyPatch) -> Tuned:
    monkeypatch.setattr(tuning, "DEMONSTRATIONS", 8)
    return Tuned()


def test_the_best_way_is_found_and_a_killed_search_goes_on(tmp_path: Path, player: Tuned) -> None:
    def killed(tried: Tried, done: int, of: int) -> None:
        if len(player.asks) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tuning("tuned", tmp_path / "t", split="homes", games=2, each=4, seen=killed, player=player).run()
    reading = Tuning("tuned", tmp_path / "t", split="homes", games=2, each=4, player=player).run()
    states = reading.best.states
    assert len(player.asks) == states * len(reading.tried) and states > 2
    assert (reading.best.form, reading.best.rank, reading.best.k, reading.best.remind) == (BARE, "mean", 2, False)
    assert reading.best.good == states


def test_what_was_found_is_used_and_told(player: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "load", lambda name: player)
    done = CliRunner().invoke(app, "models tune tuned --split homes --games 2 --each 5 --json".split())
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["best"]["form"] == BARE and Path(told["file"]) == readings_file()
    found = reading_of("tuned?form=transcript")
    assert found is not None and found.best.words == "form bare, rank mean, 2 demonstrations an episode"
    (entry,) = (entry for entry in catalogue() if entry.name == "tuned")
    assert entry.reading.startswith("tuned: form bare, rank mean")
    assert (BenchOptions(student="tuned").every, BenchOptions(student="tuned").shown) == ("episode", 2)
    assert (BenchOptions(student="tuned", recall="step").every, BenchOptions(student="other").every) == ("step", "step")
    assert BenchOptions(student="tuned", k=3).shown == 3
    assert (
        BenchOptions(student="other").settings(guided=False).keys()
        == BenchOptions(recall="step").settings(guided=False).keys()
    )
    assert BenchOptions(student="tuned").settings(guided=False)["recall"] == "episode"


def test_a_loaded_model_reads_as_it_was_tuned_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, object]] = []

    class Loads(Tuned):
        def __init__(self, source: str, **options: object) -> None:
            super().__init__()
            given.append(options)
            self.name = Path(source).name

    monkeypatch.setattr("atlas.models.llama.Llama", Loads)
    path = tmp_path / "m.gguf"
    path.touch()
    assert load(f"gguf:{path}").name == "m.gguf" and given[-1] == {}
    keep(f"gguf:{path}", Reading(best=Tried(form=TRANSCRIPT, rank="mean", remind=True)))
    assert load(f"gguf:{path}").name == "m.gguf?form=transcript&rank=mean&remind=yes"
    assert given[-1] == {"form": TRANSCRIPT, "rank": "mean", "remind": True}
    assert load(f"gguf:{path}?rank=sum&remind=no").name == "m.gguf?form=transcript&rank=sum&remind=no"
    assert given[-1] == {"form": TRANSCRIPT, "rank": "sum", "remind": False}
    with pytest.raises(ConfigError, match="remind is yes or no"):
        load(f"gguf:{path}?remind=perhaps")
    readings_file().write_text("{")
    with pytest.raises(DataError, match="remove it, and tune again"):
        load(f"gguf:{path}")


def test_a_reminder_stands_last() -> None:
    view = View(
        task=Task(id="t", goal="put a mug away"),
        opening="a room",
        turns=(Turn(action="look", observation="a mug"),),
        lasting=True,
    )
    text = transcript(render(view, list_actions=False, form=TRANSCRIPT, remind=True))
    assert text.endswith("a mug\nTask: put a mug away\n>")
    told = render(view, list_actions=False, form=BARE, remind=True)
    assert told.messages()[-1].content == "a mug\n\nTask: put a mug away\na mug"
    assert render(view, list_actions=False, form=BARE).ask == ""


def test_a_model_without_a_prompt_is_refused() -> None:
    done = CliRunner().invoke(app, ["models", "tune", "nearest"])
    assert isinstance(done.exception, ConfigError) and "no prompt to tune" in str(done.exception)
