"""Students of wrapped agents: trained from an agent's own logs, they call its tools and take over."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("openai", reason="needs openai")

import torch
from click.testing import CliRunner

import atlas
from atlas.calling import tools_text
from atlas.cli import app
from atlas.errors import ConfigError
from atlas.export import run_rows
from atlas.models.hf import HF
from atlas.models.scratch import Scratch
from atlas.prompts import render
from atlas.records import TRANSCRIPT, Ask, Message, Reply, Task, ToolCall, View
from atlas.testing import ScriptedModel
from atlas.traces.reader import Run
from atlas.train.hf import HFBase
from atlas.train.trajectories import read
from tests.test_train_hf import TEMPLATE, episode
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.torch

NAMES = ("find", "track")
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {what: {}}}}}
    for name, what in zip(NAMES, ("order", "parcel"), strict=True)
]


def teacher(ask: Ask) -> Reply:
    """Finds the order, tracks its parcel and says where it is."""
    view = ask.view
    if view.index == 2:
        return Reply(text=f"It is {view.observation}.")
    what = view.opening.split()[-1] if view.index == 0 else view.observation
    call = ToolCall(name=NAMES[view.index], arguments=json.dumps({("order", "parcel")[view.index]: what}))
    return Reply(text="I look." if view.index == 0 else "", tool_calls=(call,))


def loop(client: Any, order: str) -> str:
    """Written for ``openai.OpenAI``."""
    messages: list[Any] = [
        {"role": "system", "content": "You serve customers."},
        {"role": "user", "content": f"Where is {order}"},
    ]
    for _ in range(4):
        message = client.chat.completions.create(model="m", messages=messages, tools=TOOLS).choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return str(message.content)
        for call in message.tool_calls:
            given = json.loads(call.function.arguments)
            came = f"P{given['order'][1:]}" if call.function.name == "find" else f"near {given['parcel'][1:]}"
            messages.append({"role": "tool", "tool_call_id": call.id, "content": came})
    return ""


def play(agent: atlas.Agent, numbers: list[int]) -> list[atlas.Episode]:
    ended = []
    with agent:
        for number in numbers:
            with agent.episode(goal="where is it", task=f"t{number}") as made:
                made.score(loop(made.client, f"A{number}") == f"It is near {number}.")
            assert made.result is not None
            ended.append(made.result)
    return ended


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wrapped agent left behind whose teacher acted alone."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("agent") / "run"
    numbers = random.Random(0).sample(range(1000, 10_000), 60)
    model = ScriptedModel(teacher, name="expert")
    assert all(e.score == 1.0 for e in play(atlas.Agent(None, model, run=run, permitted=["expert"]), numbers))
    return run


def test_a_student_of_an_agent_s_own_logs_takes_over(logs: Path, tmp_path: Path) -> None:
    told = ["--base", "scratch", "--tokens", "150000", "--batch-tokens", "1024", "--threads", "1"]
    done = CliRunner().invoke(app, ["train", "sft-success", "--data", str(logs), *told, "-o", str(tmp_path / "own")])
    assert done.exit_code == 0, done.output
    agent = atlas.Agent(Scratch(tmp_path / "own"), ScriptedModel(teacher, name="expert"), audit=0.0, distil=False)
    ended = play(agent, [*range(100, 112)])
    assert sum(e.score or 0.0 for e in ended) >= 11
    assert sum(e.teacher_steps for e in ended) <= 6, "of 36 steps"


def test_a_language_model_is_trained_on_what_it_will_be_asked(logs: Path, tmp_path: Path) -> None:
    """Every step's prompt in a wrapped agent, as the played model tokenises it, is a prefix of what trains it."""
    write_tiny_llama(tmp_path, TEMPLATE, hidden_size=48, intermediate_size=96)
    base, player = HFBase.load(str(tmp_path), context=4096), HF(tmp_path, device="cpu")
    talk = read([logs])[0]
    assert talk.talk and talk.stable == "You serve customers." and talk.tools == tools_text(TOOLS)
    (encoded,) = base.encode(talk)
    learnt = base.tokenizer.decode([t for t, w in zip(encoded.tokens, encoded.weights, strict=True) if w])
    assert learnt == "".join(f"{moment.reply}</s>" for moment in talk.moments)
    rows = [row for row in run_rows(Run(logs)) if row.task == talk.task]
    assert len(rows) == 3 and rows[0].completion.content == "I look."
    for row in rows:
        messages = tuple(row.messages())
        view = View(
            task=Task(id="t", goal=row.goal), opening="", messages=messages, tools=tuple(TOOLS), turns=(), options={}
        )
        prompt = player._prompt(Ask(view=view, prompt=render(view)))
        assert encoded.tokens[: len(prompt)] == prompt


def test_conversations_are_trained_as_such_whatever_form_games_have(logs: Path, tmp_path: Path) -> None:
    write_tiny_llama(tmp_path, TEMPLATE, hidden_size=48, intermediate_size=96)
    talk = read([logs])[0]
    bare, lines = (HFBase.load(str(tmp_path), context=4096, form=form) for form in ("bare", TRANSCRIPT))
    assert lines.encode(talk) == bare.encode(talk)
    assert lines.encode(episode(0)) != bare.encode(episode(0))
    lines.tokenizer.chat_template = None
    without = HFBase(lines.net, lines.tokenizer, "m", form=TRANSCRIPT)
    with pytest.raises(ConfigError, match="m has no chat template"):
        without.encode(talk)


@pytest.mark.parametrize("written", ['find({"order": "A7"})', "It is near 7."])
def test_a_language_model_calls_by_what_it_writes(tmp_path: Path, written: str, monkeypatch: Any) -> None:
    write_tiny_llama(tmp_path, TEMPLATE, hidden_size=48, intermediate_size=96)
    student = HF(tmp_path, device="cpu")
    tokens = student._engine.tokenize(written)

    def say(prompts: Any, seeds: list[Any], **_: Any) -> list[Any]:
        return [([tokens for _ in own], 0) for own in seeds]

    monkeypatch.setattr(student._engine, "write", say)
    with atlas.Agent(student) as agent, agent.episode(goal="g") as made:
        reply: Any = made.client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Where is A7"}], tools=TOOLS
        )
    (choice,) = reply.choices
    if "(" in written:
        assert choice.finish_reason == "tool_calls" and choice.message.content is None
        (call,) = choice.message.tool_calls
        assert (
            call.type == "function"
            and call.id
            and (call.function.name, call.function.arguments) == ("find", '{"order": "A7"}')
        )
    else:
        assert choice.finish_reason == "stop" and choice.message.content == written and not choice.message.tool_calls


def test_messages_with_more_than_text_have_their_system_told(logs: Path) -> None:
    from atlas.train.trajectories import _stable

    row = next(iter(run_rows(Run(logs))))
    marked = Message(role="system", content="Serve.", sent={"role": "system", "content": [{"type": "text"}]})
    prompt = row.prompt.replace(stable="", history=(marked, *row.prompt.history))
    assert _stable(row.model_copy(update={"prompt": prompt})) == "Serve."
