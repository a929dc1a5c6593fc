"""What is beside the rows that TRL reads: a card that names the columns, and how long the rows are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from atlas.export import ExportPlan, export
from atlas.records import Message, Prompt, ToolCall
from atlas.tokens import estimate_tokens
from atlas.traces import Run
from tests.export_fixtures import lines, steps_run

CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: train.jsonl
dataset_info:
  features:
  - name: prompt
    list: json
  - name: completion
    list: json
  - name: tools
    list: json
---
"""


def tool(name: str, **argument: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {f"{name}_it": argument}}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def asked(text: str, *tools: dict[str, Any], called: Any = None) -> Prompt:
    history = [Message(role="user", content=text)]
    if tools:
        name = tools[0]["function"]["name"]
        call = ToolCall(id="c", name=name, arguments=json.dumps({f"{name}_it": called}))
        history += [Message(role="assistant", tool_calls=(call,)), Message(role="tool", content="r", tool_call_id="c")]
    return Prompt(history=tuple(history), tools=tools)


def test_a_card_names_the_columns_of_what_trl_reads_and_of_nothing_else(tmp_path: Path) -> None:
    run = Run(steps_run(tmp_path / "run", [asked("one"), asked("two", tool("a"))]))
    for form in ("trl-sft", "openai-sft", "rows"):
        manifest = export([run], tmp_path / form, ExportPlan(format=form, permitted=("*",)))
        assert ("README.md" in manifest.files) == (form == "trl-sft") == (manifest.lengths is not None)
    card = (tmp_path / "trl-sft" / "README.md").read_text()
    assert card.startswith(CARD) and 'load_dataset("FOLDER", split="train")' in card
    export([run], tmp_path / "trl-sft", ExportPlan(format="trl-sft", permitted=("*",)))
    assert (tmp_path / "trl-sft" / "README.md").read_text() == card, "an export replaces an earlier one, card and all"


def test_rows_longer_than_a_trainers_max_length_are_counted_and_said(tmp_path: Path) -> None:
    words = "the cat sat on the mat " * 200
    prompts = [asked("short"), asked(words), asked(words * 3), asked("b", tool("a", description=words * 2))]
    run = Run(steps_run(tmp_path / "run", prompts))
    manifest = export([run], tmp_path / "out", ExportPlan(format="trl-sft", permitted=("*",), keep_duplicates=True))
    assert manifest.lengths is not None
    told = {int(limit): rows for limit, rows in manifest.lengths.longer_than.items()}
    assert (told[1024], told[2048], told[4096], told[131072]) == (3, 2, 0, 0)
    assert estimate_tokens(words * 3) < manifest.lengths.longest < estimate_tokens(words * 3) + 30
    (note,) = manifest.notes
    assert note.startswith("about 3 of 4 rows are longer than 1,024 tokens, TRL's max_length if you set none")
    short = export([run], tmp_path / "rows", ExportPlan(format="rows", permitted=("*",)))
    assert short.lengths is None and not short.notes


def test_datasets_loads_files_whose_later_rows_bring_other_tools(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="4.7")
    first = [asked(f"{i} " + "x" * 10_000) for i in range(1100)]
    later = [asked(f"{i}", tool("a", type="string"), called="s") for i in range(20)]
    last = [asked(f"{i}", tool("b", enum=[1, "1"]), tool("c", items={"type": "null"}), called=[i]) for i in range(20)]
    run = Run(steps_run(tmp_path / "run", [*first, *later, *last]))
    export([run], tmp_path / "out", ExportPlan(format="trl-sft", permitted=("*",), keep_duplicates=True))
    assert (tmp_path / "out" / "train.jsonl").stat().st_size > 10 << 20
    data = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert [dict(row) for row in data] == [{"tools": None, **row} for row in lines(tmp_path / "out" / "train.jsonl")]
