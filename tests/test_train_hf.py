"""Language models as bases: what is trained is what will be asked, and what is saved can be served and played."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from atlas.errors import ConfigError, DataError
from atlas.prompts import REPLY_FORMAT, render
from atlas.records import Ask, Task, Turn, View
from atlas.trained.trajectory import Moment, Trajectory
from tests.tiny_llama import write_tiny_llama

torch = pytest.importorskip("torch", reason="needs the extra train")
transformers = pytest.importorskip("transformers", reason="needs the extra train")

pytestmark = pytest.mark.torch

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
COLOURS = ("red", "blue", "green", "black")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers that reads letters, with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_llama(folder, TEMPLATE, hidden_size=48, intermediate_size=96)
    torch.set_num_threads(1)
    return folder


def episode(number: int, **changes: Any) -> Trajectory:
    """Press the button of the colour that is named; two steps."""
    rng = random.Random(number)
    first, second = rng.choice(COLOURS), rng.choice(COLOURS)
    moments = (
        Moment(observation=f"It says {first}.", action=f"press {first}", thought="As it says."),
        Moment(observation=f"Now {second}.", action=f"press {second}"),
    )
    given = {"task": f"t{number}", "goal": "press what it says", "stable": REPLY_FORMAT, "moments": moments}
    return Trajectory(**{**given, "success": True, **changes})


def asked(of: Trajectory, step: int = 0) -> Ask:
    turns = tuple(
        Turn(action=m.action, observation=of.moments[i + 1].observation) for i, m in enumerate(of.moments[:step])
    )
    view = View(
        task=Task(id=of.task, goal=of.goal),
        opening=of.moments[0].observation,
        turns=turns,
        admissible=tuple(f"press {colour}" for colour in COLOURS),
    )
    return Ask(view=view, prompt=render(view, list_actions=False))


def trained(base: Any, out: Path, **settings: Any) -> Any:
    from atlas.train.recipes import SftSuccess
    from atlas.train.trainer import Settings, Trainer

    data = [episode(i) for i in range(48)]
    given = {"epochs": 3, "lr": 3e-3, "batch_tokens": 700, "evaluations": 2, **settings}
    trainer = Trainer(base, SftSuccess(), data, [episode(i) for i in range(100, 106)], out, Settings(**given))
    trainer.run()
    return trainer


def test_what_is_trained_is_what_will_be_asked(tiny: Path) -> None:
    """Every step's prompt, as the played model tokenises it, is a prefix of the sequence that trains the episode."""
    from atlas.models.hf import HF
    from atlas.train.hf import HFBase

    base, player, played = HFBase.load(str(tiny)), HF(tiny, device="cpu"), episode(3)
    (encoded,) = base.encode(played)
    learnt = [t for t, w in zip(encoded.tokens, encoded.weights, strict=True) if w]
    said = "".join(f"Action: {m.action}</s>" for m in played.moments)
    assert base.tokenizer.decode(learnt) == said
    for step, moment in enumerate(played.moments):
        prompt = player._prompt(asked(played, step)) + list(player._word(moment.action)) + [player._end]
        assert encoded.tokens[: len(prompt)] == prompt


def test_long_episodes_are_cut_and_every_step_is_trained_once(tiny: Path) -> None:
    from atlas.train.hf import HFBase

    long = episode(0, moments=tuple(Moment(observation=f"{i}" * 40, action=f"press {i}") for i in range(12)))
    base = HFBase.load(str(tiny), context=512)
    parts = base.encode(long)
    assert len(parts) > 1 and all(len(p) <= 512 for p in parts)
    learnt = "".join(base.tokenizer.decode([t for t, w in zip(p.tokens, p.weights, strict=True) if w]) for p in parts)
    assert learnt == "".join(f"Action: press {i}</s>" for i in range(12))


def test_notes_are_in_the_prompt_of_their_own_step_alone(tiny: Path) -> None:
    from atlas.train.hf import HFBase

    base = HFBase.load(str(tiny))
    noted = episode(1, moments=(*(m.model_copy(update={"guidance": "NOTE"}) for m in episode(1).moments),))
    first, second = (base.tokenizer.decode(e.tokens) for e in base.encode(noted, guided=True))
    assert first.count("NOTE") == second.count("NOTE") == 1
    assert "NOTE" not in base.tokenizer.decode(base.encode(noted)[0].tokens)


def test_an_observation_longer_than_the_context_loses_its_beginning_and_no_action(tiny: Path) -> None:
    """So that a step is read with and without its notes as the same targets: internalise needs both."""
    from atlas.train.guided import Internalise
    from atlas.train.hf import HFBase

    moments = tuple(
        Moment(observation=f"{i}" * (900 if i in (1, 3) else 40), action=f"press {i}", guidance="NOTE " * 200)
        for i in range(4)
    )
    long, base = episode(0, moments=moments), HFBase.load(str(tiny), context=512)
    for parts in (base.encode(long), base.encode(long, guided=True)):
        assert all(len(part) <= 512 for part in parts)
        learnt = "".join(
            base.tokenizer.decode([t for t, w in zip(p.tokens, p.weights, strict=True) if w]) for p in parts
        )
        assert learnt == "".join(f"Action: press {i}</s>" for i in range(4))
    recipe = Internalise()
    items = recipe.examples(base, [long], random.Random(0))
    assert float(recipe.loss(base, items, 0.5).detach()) > 0


def test_a_task_longer_than_the_context_costs_no_action(tiny: Path) -> None:
    from atlas.train.guided import Internalise
    from atlas.train.hf import HFBase

    moments = tuple(
        Moment(observation=f"{i}" * (900 if i == 0 else 40), action=f"press {i}", guidance="NOTE") for i in range(3)
    )
    long, base = episode(0, moments=moments), HFBase.load(str(tiny), context=512)
    parts = base.encode(long)
    assert all(len(part) <= 512 for part in parts)
    learnt = "".join(base.tokenizer.decode([t for t, w in zip(p.tokens, p.weights, strict=True) if w]) for p in parts)
    assert learnt == "".join(f"Action: press {i}</s>" for i in range(3))
    recipe = Internalise()
    assert float(recipe.loss(base, recipe.examples(base, [long], random.Random(0)), 0.5).detach()) > 0


@pytest.mark.parametrize("rank", [0, 8])
def test_a_trained_base_is_saved_whole_and_plays(tiny: Path, tmp_path: Path, rank: int) -> None:
    from atlas.models import load
    from atlas.train.hf import HFBase, Lora

    base = HFBase.load(str(tiny), lora=Lora(rank=rank) if rank else None)
    trainer = trained(base, tmp_path / "student", lr=1e-2 if rank else 3e-3)
    # It began near the log of 257 letters. Adapters can do little for embeddings that stay random.
    assert trainer._history[-1].held_out < (5.2 if rank else 3.3)
    student = load(f"hf:{tmp_path / 'student'}", device="cpu", dtype="float32")
    in_memory = base.model()
    for number in range(3):
        question = asked(episode(200 + number))
        a, b = (asyncio.run(m.sample(question)).replies[0] for m in (student, in_memory))
        assert a.text == b.text and a.logprob == pytest.approx(b.logprob, abs=1e-3)
    about = json.loads((tmp_path / "student" / "student.json").read_text())
    assert about["base"] == "hf" and about["training"]["data"] and about["training"]["recipe"] == "sft-success"
    assert (tmp_path / "student" / "model.safetensors").is_file()
    assert not list((tmp_path / "student").glob("adapter*")), "adapters are merged"


def test_a_base_without_a_chat_template_is_refused(tiny: Path) -> None:
    from atlas.train.hf import HFBase

    loaded = HFBase.load(str(tiny))
    loaded.tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="has no chat template"):
        HFBase(loaded.net, loaded.tokenizer, "raw")


def test_a_base_that_is_not_there_is_told(tmp_path: Path) -> None:
    from atlas.train.hf import HFBase

    with pytest.raises(DataError, match="cannot be loaded"):
        HFBase.load(str(tmp_path))


# --- GGUF -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base_file(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a GGUF file of full precision, as its publisher would have made it, with other weights."""
    import gguf

    path = tmp_path_factory.mktemp("base") / "tiny.gguf"
    net = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, net.config.num_hidden_layers)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(net.config.num_hidden_layers)
    writer.add_head_count(net.config.num_attention_heads)
    writer.add_head_count_kv(net.config.num_key_value_heads)
    writer.add_token_list(["</s>", "a"])
    writer.add_chat_template(TEMPLATE)
    for name, value in net.state_dict().items():
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), value.numpy() * 0 + 7)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_student_becomes_gguf_after_its_base(tiny: Path, base_file: Path, tmp_path: Path) -> None:
    import gguf

    from atlas.train.gguf import write_gguf

    size = write_gguf(tiny, tmp_path / "student.gguf", base_file)
    assert size == (tmp_path / "student.gguf").stat().st_size
    read = gguf.GGUFReader(tmp_path / "student.gguf")
    assert read.fields["tokenizer.chat_template"].contents() == TEMPLATE
    assert list(read.fields["tokenizer.ggml.tokens"].contents()) == ["</s>", "a"]
    net = transformers.AutoModelForCausalLM.from_pretrained(tiny)
    written = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in read.tensors}
    down = net.state_dict()["model.layers.1.mlp.down_proj.weight"].numpy()
    assert abs(written["blk.1.ffn_down.weight"].reshape(down.shape) - down).max() < 0.02
    norm = net.state_dict()["model.norm.weight"].numpy()
    assert (written["output_norm.weight"] == norm).all(), "what is no matrix is exact"
    query = net.state_dict()["model.layers.0.self_attn.q_proj.weight"].numpy()
    paired = query.reshape(4, 2, 6, 48).swapaxes(1, 2).reshape(48, 48)
    assert abs(written["blk.0.attn_q.weight"].reshape(48, 48) - paired).max() < 0.02


def test_a_base_of_another_shape_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    import gguf
    import numpy as np

    from atlas.train.gguf import write_gguf

    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "llama")
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_tensor("blk.0.ffn_down.weight", np.zeros((8, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(DataError, match="another shape"):
        write_gguf(tiny, tmp_path / "student.gguf", tmp_path / "other.gguf")
    assert not list(tmp_path.glob("student*"))


def test_a_student_from_scratch_has_no_gguf_form(tmp_path: Path, base_file: Path) -> None:
    from atlas.train.gguf import write_gguf

    with pytest.raises(ConfigError, match="only students that"):
        write_gguf(tmp_path, tmp_path / "student.gguf", base_file)
