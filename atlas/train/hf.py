"""The base that is a language model of transformers: any causal one with a chat template, whole or with LoRA.

An episode is one conversation, and one sequence: the turns that :class:`atlas.models.hf.HF` will be shown when it
plays, word for word, so that one pass trains all of its steps.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from atlas.assets import say
from atlas.errors import ConfigError, DataError, MissingExtra, ModelError
from atlas.framing import untokened
from atlas.models.chat import end_of_turn
from atlas.models.fit import fit
from atlas.models.hf import HF
from atlas.models.hf_weights import load, whole
from atlas.models.ranking import ranking_form
from atlas.prompts import REPLY_FORMAT, examples_part, render, reply_text, transcript
from atlas.record import whole_characters
from atlas.records import BARE, TRANSCRIPT, Form, Prompt
from atlas.train.base import Scores
from atlas.train.packing import keeps_apart, lay
from atlas.trained.precision import passes, precision_for
from atlas.trained.student import ABOUT, FORM, write_folder
from atlas.trained.trajectory import Moment, Trajectory, view_of
from atlas.trained.vocabulary import Encoded

DECAY = 0.01


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (arXiv 2106.09685) on all linear layers: what is trained in place of the weights."""

    rank: int = 16
    alpha: int = 32
    """Their output counts alpha / rank."""


class HFBase:
    """Implements :class:`atlas.train.base.Base`."""

    def __init__(
        self,
        net: Any,
        tokenizer: Any,
        name: str,
        *,
        context: int = 2048,
        lora: Lora | None = None,
        recompute: bool = False,
        form: Form = BARE,
    ) -> None:
        """``context``: the longest sequence in tokens; longer episodes are cut into several, each with the task.

        ``form``: how the prompts are written that it is to read: ``bare`` (its chat template) or ``transcript``.

        ``recompute``: keep what goes into each layer and compute the rest again for its gradients (arXiv 1604.06174),
        which takes less memory and about a third more time. ConfigError for a base that cannot.
        """
        self.form = ranking_form(form)
        if recompute:
            _recomputing(net, name)
        self.net = net if lora is None else _adapted(net, lora)
        self.tokenizer = tokenizer
        self.name = name
        self.context = context
        self.lora = lora
        self.device = next(net.parameters()).device
        self.precision = precision_for(self.device)
        self._apart: bool | None = None
        self._turn_end = self._tokens(end_of_turn(self._template))[:1] if tokenizer.chat_template else []
        if form == BARE:
            self._must_chat()

    @classmethod
    def load(
        cls,
        source: str,
        *,
        name: str = "",
        context: int = 2048,
        lora: Lora | None = None,
        recompute: bool = False,
        form: Form = BARE,
    ) -> HFBase:
        """A folder, a ``.gguf`` file (dequantised) or a name on the model hub; ``name`` is what it is told as later.

        Raises DataError for what cannot be loaded.
        """
        # In float32: AdamW's small steps are lost in half precision. What the passes are in, `passes` says.
        net, tokenizer = load(source, dtype="float32")
        net = whole(net)
        net.config.use_cache = False
        return cls(
            net, tokenizer, name or Path(source).stem, context=context, lora=lora, recompute=recompute, form=form
        )

    # --- sequences ----------------------------------------------------------------------------------------------------

    def encode(
        self, trajectory: Trajectory, rng: random.Random | None = None, *, guided: bool = False
    ) -> list[Encoded]:
        if trajectory.talk:
            self._must_chat()
        elif self.form == TRANSCRIPT:
            return self._transcripts(trajectory, guided)
        head, turns = self._parts(trajectory)
        if guided:
            return [item for i in range(len(turns)) if any((item := self._noted(trajectory, i)).weights)]
        found: list[Encoded] = []
        tokens, weights = list(head), [0.0] * len(head)
        said_before = False
        for seen, said, weight in turns:
            if len(tokens) + len(seen) + len(said) > self.context and said_before:
                found.append(Encoded(tokens, weights))
                tokens, weights = list(head), [0.0] * len(head)
            said_before = True
            room = self.context - len(said)
            if len(tokens) + len(seen) > room:
                # Too long for a sequence of its own: the beginning goes, first that of what was seen, never the action.
                seen = _last(seen, max(room - len(tokens), room // 2))
                tokens = _last(tokens, room - len(seen))
                weights = [0.0] * len(tokens)
            tokens += seen + said
            weights += [0.0] * len(seen) + [weight] * len(said)
        found.append(Encoded(tokens, weights))
        return [item for item in found if any(item.weights)]

    def _transcripts(self, trajectory: Trajectory, guided: bool) -> list[Encoded]:
        """The episode as transcripts, cut where its player's would be: one, where it fits and no entries change."""
        found: list[Encoded] = []
        tokens: list[int] = []
        weights: list[float] = []
        for index, moment in enumerate(trajectory.moments):
            prompt = render(view_of(trajectory, index), list_actions=False, form=TRANSCRIPT)
            if guided:
                prompt = prompt.replace(guidance=moment.guidance)
            said = self._tokens(f" {moment.action}") + self._tokens("\n")[-1:]
            seen = self._read(prompt, self.context - len(said))
            if seen[: len(tokens)] != tokens:
                found.append(Encoded(tokens, weights))
                tokens, weights = [], []
            weights = [*weights, *[0.0] * (len(seen) - len(tokens)), *[moment.weight] * len(said)]
            tokens = seen + said
        return [item for item in (*found, Encoded(tokens, weights)) if any(item.weights)]

    def _read(self, prompt: Prompt, room: int) -> list[int]:
        """A transcript's tokens, at most ``room``: of one that is too long even without what can be left out, the
        last."""

        def tokens(shown: Prompt) -> list[int]:
            return self._tokens(untokened(transcript(shown)))

        try:
            return tokens(fit(prompt, lambda p: len(tokens(p)), room, self.name, form=TRANSCRIPT))
        except ModelError:
            return _last(tokens(prompt), room)

    def encode_reason(self, trajectory: Trajectory, index: int) -> Encoded:
        if self.form == TRANSCRIPT and not trajectory.talk:
            raise ConfigError("a transcript has no thoughts to learn: train it with another recipe, or without --form")
        head, turns = self._parts(trajectory)
        past = [part for seen, said, _ in turns[:index] for part in (*seen, *said)]
        seen = turns[index][0]
        room = self.context // 2
        tokens = head + (past + seen)[-room:]
        said = self._tokens(f"Thought: {trajectory.moments[index].thought}")[:room] + self._turn_end
        return Encoded(tokens + said, [0.0] * len(tokens) + [1.0] * len(said), "reason")

    def _noted(self, trajectory: Trajectory, index: int) -> Encoded:
        """One step with the notes that its prompt held. They stand in its last turn alone: no two steps share it."""
        past, moment = trajectory.moments[:index], trajectory.moments[index]
        chat = self._opening(trajectory)
        for before, after in zip(past, trajectory.moments[1 : index + 1], strict=True):
            chat.append({"role": "assistant", "content": _said(before)})
            chat.append({"role": "user", "content": after.observation})
        if moment.guidance:
            chat[-1]["content"] += f"\n\n{moment.guidance}"
        said = self._tokens(_said(moment)) + self._turn_end
        seen = _last(self._tokens(self._template(chat)), self.context - len(said))
        return Encoded(seen + said, [0.0] * len(seen) + [moment.weight] * len(said))

    def _opening(self, trajectory: Trajectory) -> list[dict[str, str]]:
        shown = examples_part(trajectory.shown, tools=bool(trajectory.tools), form=BARE)
        if trajectory.talk:
            head, first = (trajectory.stable, trajectory.tools, shown), trajectory.moments[0].observation
        else:
            head = (trajectory.stable or REPLY_FORMAT, "", shown)
            first = f"Task: {trajectory.goal}\n\n{trajectory.moments[0].observation}"
        system = "\n\n".join(filter(None, head))
        return [
            *([{"role": "system", "content": system}] if system else []),
            {"role": "user", "content": first},
        ]

    def _must_chat(self) -> None:
        if not self._turn_end:
            raise ConfigError(
                f"the base {self.name} has no chat template, so nobody knows how it is talked to: choose one that was "
                "trained for chat (its name mostly ends in -Instruct)"
            )

    def _parts(self, trajectory: Trajectory) -> tuple[list[int], list[tuple[list[int], list[int], float]]]:
        """The tokens up to the first question, and for each step (what is seen before it, what is said, its weight)."""
        chat = self._opening(trajectory)
        before = self._template(chat)
        head = self._tokens(before)
        turns: list[tuple[list[int], list[int], float]] = []
        for moment, after in zip(trajectory.moments, (*trajectory.moments[1:], None), strict=True):
            said = _said(moment)
            turns.append((self._between(turns, chat, before), self._tokens(said) + self._turn_end, moment.weight))
            if after is not None:
                before = self._template(chat) + untokened(said)
                chat = [*chat, {"role": "assistant", "content": said}, {"role": "user", "content": after.observation}]
        return head, turns

    def _between(self, turns: Sequence[object], chat: list[dict[str, str]], before: str) -> list[int]:
        """What the template writes between the last reply and the next one, less the token that ends the reply."""
        if not turns:
            return []
        text = self._template(chat)
        if not text.startswith(before):
            raise ConfigError(
                f"the chat template of {self.name} rewrites earlier turns, so an episode is no single sequence: choose "
                "another base"
            )
        return self._tokens(text[len(before) :])[1:]

    def _template(self, turns: list[dict[str, str]]) -> str:
        # As its player reads them: see atlas.models.chat.plain_turns.
        turns = [t if t["role"] == "system" else {**t, "content": untokened(t["content"])} for t in turns]
        text: str = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return text

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(whole_characters(text), add_special_tokens=False)["input_ids"])

    # --- what the trainer asks for ------------------------------------------------------------------------------------

    def scores(self, batch: Sequence[Encoded]) -> Scores:
        """One pass. Sequences share rows where that saves a tenth of them (:mod:`atlas.train.packing`).

        Batches of sequences of about one length keep a row for each: padding stands on the right, where no token sees
        it, so that attention needs no mask and torch takes its fastest kernel. Batches of mixed lengths, as all steps
        of an episode with their notes, are packed. So it is on a CPU and on a GPU.
        """
        whole = _plain(self.net)
        # Nothing follows the last token: it is a target only.
        layout = lay([item.tokens[:-1] for item in batch], pack=len(batch) > 1 and self._packs())
        found = [
            (layout.starts[owner][0], layout.starts[owner][1] + i, item.tokens[i + 1], owner)
            for owner, item in enumerate(batch)
            for i, weight in enumerate(item.weights[1:])
            if weight
        ]
        rows, columns, targets, owners = torch.tensor(found, dtype=torch.long).view(-1, 4).to(self.device).unbind(1)
        weights = torch.tensor([weight for item in batch for weight in item.weights[1:] if weight], device=self.device)
        given = {} if layout.places is None else {"position_ids": layout.places.to(self.device)}
        with passes(self.device, self.precision):
            hidden = whole.get_decoder()(input_ids=layout.tokens.to(self.device), **given).last_hidden_state
            # Only where something is learnt: all logits of a batch would not fit.
            logits = whole.get_output_embeddings()(hidden[rows, columns])
        return Scores(logits.float(), targets, weights, owners)

    def _packs(self) -> bool:
        if self._apart is None:
            self._apart = keeps_apart(_plain(self.net).get_decoder(), self.device)
            if not self._apart:
                say(f"atlas: {self.name} does not keep sequences of one row apart: its batches are padded, not packed")
        return self._apart

    def optimizers(self, lr: float) -> list[Any]:
        """AdamW (arXiv 1711.05101), with weight decay of matrices only; on a GPU in one kernel for all parameters."""
        trained = [p for p in self.net.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": DECAY},
            {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
        ]
        fused = self.device.type == "cuda"
        return [torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=(0.9, 0.95), fused=fused)]

    def frozen(self) -> HFBase:
        other = copy.copy(self)
        other.net = copy.deepcopy(self.net).eval()
        other.net.requires_grad_(False)
        return other

    def save(self, folder: Path, about: dict[str, Any]) -> None:
        """A folder that transformers, vLLM and :class:`~atlas.models.hf.HF` load: safetensors, tokenizer, template."""
        net = self._merged()

        def write(place: Path) -> None:
            try:
                net.save_pretrained(place)
                self.tokenizer.save_pretrained(place)
            except Exception as error:  # safetensors says "no space left" in an exception of its own
                raise DataError(
                    f"the student cannot be written to {place.parent} ({error}): make room there or choose another "
                    "--out; what was there before is unchanged"
                ) from error
            (place / ABOUT).write_text(json.dumps({"base": "hf", "from": self.name, **about}, indent=2), "utf-8")

        write_folder(folder, write)

    def model(self) -> HF:
        return HF.of(self._merged(), self.tokenizer, self.name, form=self.form)

    def config(self) -> dict[str, Any]:
        return {
            "base": self.name,
            "context": self.context,
            **({} if self.form == BARE else {FORM: self.form}),
            "lora": None if self.lora is None else {"rank": self.lora.rank, "alpha": self.lora.alpha},
            "parameters": sum(p.numel() for p in self.net.parameters() if p.requires_grad),
        }

    def _merged(self) -> Any:
        """A plain model with what was learnt: adapters merged."""
        net = copy.deepcopy(self.net)
        if self.lora is not None:
            net = net.merge_and_unload()
        net.config.use_cache = True
        return net.to(self.device).eval()


def _said(moment: Moment) -> str:
    return moment.reply or reply_text(moment.action)


def _last(tokens: list[int], count: int) -> list[int]:
    return tokens[max(0, len(tokens) - count) :]


def _adapted(net: Any, lora: Lora) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtra("LoRA", "train") from None
    if lora.rank < 1:
        raise ConfigError(f"LoRA needs a rank of at least 1, not {lora.rank}")
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(net, config)


def _recomputing(net: Any, name: str) -> None:
    # Called activation_checkpointing from transformers 5.2x on; the old name warns there.
    begin = getattr(net, "activation_checkpointing_enable", None) or net.gradient_checkpointing_enable
    try:
        # Reentrant checkpoints would give adapters no gradients: what goes into the first layer has none.
        begin({"use_reentrant": False})
    except ValueError:
        raise ConfigError(f"{name} cannot compute its layers again: train it without --recompute") from None


def _plain(net: Any) -> Any:
    """The model of transformers itself; adapters are inside of its layers."""
    inner: Callable[[], Any] | None = getattr(net, "get_base_model", None)
    return inner() if inner is not None else net
