"""Students that read: what stood in the prompts they learnt from is what they are shown when they play."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from atlas.records import BARE, TRANSCRIPT, Ask, Decision, DemoStep, Form, Guidance, View, Window

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("transformers", reason="needs the extra train")

import torch

from atlas import Recall, Solo
from atlas.actions import TextActions
from atlas.asking import Desk
from atlas.cli import app
from atlas.compression import ActionsFirst
from atlas.compression.pieces import tokens
from atlas.errors import ConfigError
from atlas.memory import Demonstration, Memory
from atlas.policies import Compressed
from atlas.prompts import REPLY_FORMAT, guidance_part
from atlas.train.recipes import Reads, SftSuccess
from atlas.train.trajectories import fingerprint, shown
from atlas.trained.trajectory import Moment, Trajectory, view_of
from tests.test_train_hf import TEMPLATE
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.torch

BESIDE = Window(
    demo_id="d", task_id="other", goal="press red", steps=(DemoStep(observation="It is red.", action="press red"),)
)
ENTRY = Guidance(id="e1", cue="it says red", action="press red")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_llama(folder, TEMPLATE, hidden_size=48, intermediate_size=96)
    torch.set_num_threads(1)
    return folder


def episode(*beside: Window, guidance: str = "") -> Trajectory:
    """Two steps; what is seen tries to look like an action, and like a special token."""
    moments = (
        Moment(observation="It says red.\n> press blue", action="press red", guidance=guidance),
        Moment(observation="Now <|im_end|> blue.", action="press blue", guidance=guidance),
    )
    stable = f"You press buttons.\n\n{REPLY_FORMAT}"
    return Trajectory(task="t", goal="press what it says", stable=stable, success=True, shown=beside, moments=moments)


def asked(of: Trajectory, step: int, *entries: Guidance) -> View:
    return view_of(of, step).replace(admissible=("press red", "press blue", "wait"), guidance=entries)


class Told:
    """A model that keeps what it is asked."""

    def __init__(self, model: Any) -> None:
        self.__class__ = type("Told", (type(model),), {"sample": Told._kept})
        self.__dict__ = model.__dict__
        self.asks: list[Ask] = []

    async def _kept(self, ask: Ask) -> Any:
        self.asks.append(ask)
        return await type(self).__mro__[1].sample(self, ask)


@pytest.mark.parametrize("form", [BARE, TRANSCRIPT])
@pytest.mark.parametrize("entries", [(), (ENTRY,)])
@pytest.mark.parametrize("beside", [(), (BESIDE,), (BESIDE, BESIDE.replace(demo_id="e", goal="press green"))])
def test_a_language_model_learns_from_the_prompts_it_will_be_shown(
    tiny: Path, form: Form, entries: tuple[Guidance, ...], beside: tuple[Window, ...]
) -> None:
    """The prompt of each step, rendered at the desk and tokenised by the player, stands in the training sequences,
    followed by the action and what ends it."""
    from atlas.models.hf import HF
    from atlas.train.hf import HFBase

    played = episode(*beside, guidance=guidance_part(entries))
    base, player = HFBase.load(str(tiny), form=form), Told(HF(tiny, device="cpu", form=form))
    sequences = base.encode(played, guided=bool(entries))
    for step, moment in enumerate(played.moments):
        asyncio.run(Desk().ask(player, asked(played, step, *entries), actor="student", actions=TextActions()))
        whole = [*player._prompt(player.asks[-1]), *player._word(moment.action), player._closes]
        assert any(sequence.tokens[: len(whole)] == whole for sequence in sequences)
    assert len(sequences) == (2 if entries and form == BARE else 1)
    learnt = [t for s in sequences for t, weight in zip(s.tokens, s.weights, strict=True) if weight]
    said = {BARE: "Action: press red</s>Action: press blue</s>", TRANSCRIPT: " press red\n press blue\n"}[form]
    assert base.tokenizer.decode(learnt) == said


def test_a_student_from_scratch_learns_from_the_tokens_it_will_read(tmp_path: Path) -> None:
    from atlas.models.scratch import Scratch
    from atlas.train.scratch import ScratchBase
    from atlas.trained.vocabulary import ACT, Reader

    played = episode(BESIDE)
    base = ScratchBase.new("tiny", [played, played])
    (encoded,) = base.encode(played)
    for reads in (True, False):
        base.save(tmp_path / str(reads), {"training": {"recipe": "sft-success", "reads_windows": reads}})
        player = Told(Scratch(tmp_path / str(reads)))
        read: list[list[int]] = []
        inner = player.ranked
        player.ranked = lambda prompt, actions, inner=inner, read=read: (
            read.append(list(prompt)),
            inner(prompt, actions),
        )[1]
        for step in range(2):
            asyncio.run(Desk().ask(player, asked(played, step), actor="student", actions=TextActions()))
        for prompt in read:
            assert prompt[-1] == ACT and (encoded.tokens[: len(prompt)] == prompt) is reads
        assert ("press red" in player.asks[0].prompt.retrieved) is reads
    words = Reader(base.vocabulary).goal(BESIDE.goal)
    assert encoded.tokens[: len(words)] == words and not any(encoded.weights[: len(words)])


def test_demonstrations_are_those_that_recall_finds_and_never_its_own(tmp_path: Path) -> None:
    from atlas.testing import ScriptedModel

    with Memory(tmp_path / "m.sqlite", "hash") as memory:
        for goal in ("put a mug in a drawer", "put a pan in a drawer", "look at a book under a lamp"):
            step = DemoStep(observation=f"a room, {goal}", action="look")
            memory.add(Demonstration(task_id=goal, goal=goal, steps=(step,), success=True))
        found = Trajectory(
            task="put a mug in a drawer",
            goal="put a mug in a drawer",
            moments=(Moment(observation="a room", action="look"),),
        )
        (beside,) = shown([found], memory.demonstrations)
        assert [w.task_id for w in beside.shown] == ["put a pan in a drawer"]
        policy = Recall(Solo(ScriptedModel(["Action: look"])), memory.demonstrations, 1, every="episode")
        decided = asyncio.run(policy.decide(view_of(found, 0), Desk()))
        assert [h.demo_id for h in decided.retrieved] == [w.demo_id for w in beside.shown]
    assert fingerprint([beside]) != fingerprint([found])


def test_each_is_left_out_now_and_then_and_never_where_it_is_measured() -> None:
    played, reads = episode(BESIDE, guidance="NOTE"), Reads(windows=True, entries=True, drop=0.3)
    rng = random.Random(0)
    drawn = [reads.drawn(played, rng) for _ in range(2000)]
    alone = sum(not t.shown for t, _ in drawn) / 2000
    bare = sum(not noted for _, noted in drawn) / 2000
    both = sum(not t.shown and not noted for t, noted in drawn) / 2000
    assert alone == pytest.approx(0.3, abs=0.03) and bare == pytest.approx(0.3, abs=0.03)
    assert both == pytest.approx(0.09, abs=0.02)
    assert reads.drawn(played, None) == (played, True)
    assert Reads(windows=True).drawn(played, None) == (played, False)
    assert "reads_windows" not in SftSuccess().config()


def test_words_are_renamed_in_a_share_of_the_readings_with_demonstrations() -> None:
    played, rng = episode(BESIDE, guidance="NOTE"), random.Random(0)
    reads = Reads(windows=True, drop=0.3, rename=0.5)
    drawn = [reads.drawn(played, rng)[0] for _ in range(2000)]
    assert {t.goal for t in drawn if not t.shown} == {played.goal}
    # With as many words as there are, few readings have the chance to rename none.
    other = sum(t.goal != played.goal or t.moments != played.moments for t in drawn if t.shown)
    assert 0.35 < other / sum(bool(t.shown) for t in drawn) < 0.5
    assert reads.drawn(played, None)[0] == played
    # A training that renames nothing draws what it drew before there was anything to rename.
    before, now = random.Random(1), random.Random(1)
    assert [Reads(windows=True).drawn(played, before)[0] for _ in range(50)] == [
        Reads(windows=True, rename=0.0).drawn(played, now)[0] for _ in range(50)
    ]
    assert Reads(windows=True, rename=0.5).config()["rename"] == 0.5 and "rename" not in Reads(windows=True).config()


def test_demonstrations_are_cut_in_training_as_they_are_when_the_student_plays() -> None:
    class Shown:
        """Keeps what it is shown."""

        async def decide(self, view: View, desk: Desk) -> Decision:
            self.windows = view.retrieved
            return Decision(action="wait", actor="student", reason="shown")

        def config(self) -> dict[str, object]:
            return {}

    steps = tuple(
        DemoStep(observation=f"There are a lamp {n}, a red pin, a nail, and much dust.", action=f"press {n}")
        for n in range(9)
    )
    played, rng = episode(BESIDE.replace(steps=steps)), random.Random(0)
    reads = Reads(windows=True, drop=0.2, compressor=ActionsFirst(), compress_to=0.4)
    (measured,) = reads.drawn(played, None)[0].shown
    seen = Shown()
    view = asked(played, 1).replace(lasting=True, retrieved=played.shown)
    asyncio.run(Compressed(seen, ActionsFirst(), 0.4).decide(view, Desk()))
    assert seen.windows == (measured,) and tokens(measured) <= 0.4 * tokens(played.shown[0])
    sizes = [[tokens(window) for window in reads.drawn(played, rng)[0].shown] for _ in range(300)]
    cut = [size for row in sizes for size in row]
    assert 0.7 < len(cut) / len(sizes) < 0.9
    assert min(cut) >= tokens(measured) and max(cut) > 0.9 * tokens(played.shown[0]) and len(set(cut)) > 5
    assert reads.config()["compress"] == ["actions", 0.4] and "compress" not in Reads(windows=True).config()


def test_what_cannot_be_read_is_said_before_the_work(tmp_path: Path) -> None:
    common = ["--data", str(tmp_path), "-o", str(tmp_path / "s")]
    for given, told in (
        (["redi", "--with-demos", "m.sqlite"], "belong to sft-success and escalations"),
        (["sft-success", "--embedder", "hash"], "--embedder is what --with-demos finds demonstrations by"),
        (["sft-success", "--k", "2"], "--k counts the demonstrations of --with-demos"),
        (["sft-success", "--drop", "0.1"], "--drop leaves out what"),
        (["sft-success", "--rename", "0.5", "--with-entries"], "--rename is for readings with demonstrations"),
        (["sft-success", "--rename", "0.5", "--with-demos", "m.sqlite"], "--rename makes words up"),
        (["sft-success", "--compress", "actions", "--with-entries"], "--compress cuts the demonstrations of"),
        (["sft-success", "--compress-to", "0.5", "--with-demos", "m.sqlite"], "--compress-to is for --compress"),
        (["sft-success", "--compress", "none.json", "--with-demos", "m.sqlite"], "there is no compressor none.json"),
    ):
        done = CliRunner().invoke(app, ["train", *given, *common])
        assert isinstance(done.exception, ConfigError) and told in str(done.exception)
