"""Local models through transformers and torch: any causal language model, best on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.assets import ASSETS
from atlas.calling import prompt_for, wrote
from atlas.errors import ModelError
from atlas.framing import untokened
from atlas.models.batcher import Batcher, Outcome
from atlas.models.chat import end_of_turn, plain_turns, seed_of
from atlas.models.fit import fit
from atlas.models.hf_engine import Engine
from atlas.models.hf_weights import load
from atlas.models.prices import LOCAL
from atlas.models.ranking import Ranked, Remembered, by_mean, draw, ranking_form, ranking_rule, trie
from atlas.prompts import reply_text, transcript
from atlas.protocols import RanksActions
from atlas.records import BARE, TRANSCRIPT, Ask, Completion, Form, Price, Prompt, Rank, Reply, Usage
from atlas.trained.student import ABOUT, FORM, about


class HF(RanksActions):
    """A model of transformers. Where the environment lists its actions, they are ranked; otherwise it writes free text.

    Usage is that of :class:`atlas.models.llama.Llama`; here every action is scored, in the same forward pass that reads
    the new part of the prompt, and asks that wait share it. ``Reply.logprob`` is that of the action among those it
    could take: renormalised over them, which tells better where it is right than the action's own (see
    docs/results.md). In bfloat16 a prompt's log-probabilities
    depend a little on its company in the batch: ``batch=1`` makes a run repeatable.
    """

    single = True

    def __init__(
        self,
        source: str | Path,
        *,
        name: str | None = None,
        price: Price = LOCAL,
        device: str | None = None,
        dtype: str | None = None,
        context: int = 8192,
        prefixes: int | None = None,
        batch: int | None = None,
        form: Form | None = None,
        rank: Rank = "sum",
        remind: bool = False,
    ) -> None:
        """``source`` is a folder, a ``.gguf`` file (read dequantised), an embedded model or a name on the model
        hub.

        ``device`` None takes the GPU where there is one; ``dtype`` None is bfloat16 there, and on a CPU the quicker of
        bfloat16 and float32; ``form`` is how it reads prompts for ranking: ``bare`` (its chat template) or
        ``transcript``; None is the one that it was trained in; ``rank`` is by what it ranks;
        ``remind`` tells the goal once more at the end of such a prompt;
        ``context`` is in tokens, at most the model's own; ``prefixes`` is how many prompts' caches are kept, at least
        one for each episode in flight (None: 64 on a GPU, 8 on a CPU); ``batch`` is how many waiting asks share a pass
        (None: 16 on a GPU, 1 on a CPU). Raises DataError for what cannot be loaded.
        """
        form = ranking_form(form or _trained_form(source))
        self.rank = ranking_rule(rank)
        self.remind = remind
        model, tokenizer = load(str(source), device=device, dtype=dtype)
        self._begin(Engine(model, tokenizer, prefixes=prefixes), name or _stem(source), price, context, batch, form)

    @classmethod
    def of(cls, model: Any, tokenizer: Any, name: str = "hf", form: Form = BARE) -> HF:
        """A model that is loaded already, in the middle of its training, say."""
        made = cls.__new__(cls)
        made.rank = "sum"
        made._begin(Engine(model, tokenizer), name, LOCAL, 8192, None, form)
        return made

    def _begin(self, engine: Engine, name: str, price: Price, context: int, batch: int | None, form: Form) -> None:
        self._engine = engine
        self.name = name
        self.form = form
        self.price: Price | None = price
        self.shares_prompt = True
        self._context = min(context, self._engine.context)
        self._chats = bool(self._engine.tokenizer.chat_template)
        self._end = self._end_of_turn()
        self._engine.ends.add(self._end)
        self._newline = self._engine.tokenize("\n")[-1]
        self._words: dict[str, tuple[int, ...]] = {}
        self._known = Remembered()
        size = batch or (16 if self._engine.on_gpu else 1)
        self._batcher = Batcher(self._answer, size=size, kind=_ranks, name="hf")

    async def sample(self, ask: Ask) -> Completion:
        return await self._batcher.ask(ask)

    def _answer(self, asks: Sequence[Ask]) -> list[Outcome]:
        """The outcomes of asks of one kind. A prompt that does not fit fails alone."""
        outcomes: list[Outcome | None] = [None] * len(asks)
        fitting: list[tuple[int, Ask, list[int]]] = []
        work = self._rank if _ranks(asks[0]) else self._write
        for i, ask in enumerate(asks):
            try:
                fitting.append((i, ask, self._prompt(ask)))
            except ModelError as error:
                outcomes[i] = error
        if fitting:
            done = work([ask for _, ask, _ in fitting], [prompt for _, _, prompt in fitting])
            for (i, _, _), completion in zip(fitting, done, strict=True):
                outcomes[i] = completion
        return [outcome for outcome in outcomes if outcome is not None]

    def _prompt(self, ask: Ask) -> list[int]:
        if not _ranks(ask):
            return self._tokens(prompt_for(ask), "", room=ask.max_tokens)
        longest = max(len(self._word(action)) for action in ask.view.admissible)
        return self._tokens(ask.prompt, reply_text("").rstrip(), room=longest + 2, form=self.form)

    def _rank(self, asks: Sequence[Ask], prompts: Sequence[list[int]]) -> list[Completion]:
        actions = [list(dict.fromkeys(ask.view.admissible)) for ask in asks]
        sequences = [[(*self._word(action), self._closes) for action in own] for own in actions]
        answers = self._ranked(prompts, sequences)
        completions = []
        for ask, prompt, own, lengths, (ranked, cached) in zip(asks, prompts, actions, sequences, answers, strict=True):
            logprobs, whole = dict(ranked), _mass(ranked)
            order = by_mean(ranked, lengths) if self.rank == "mean" else ranked
            drawn = [draw(order, ask.temperature, seed_of(ask, i)) for i in range(ask.n)]
            replies = tuple(
                Reply(text=reply_text(own[i]), logprob=logprobs[i] - whole, finish="ranked") for i, _ in drawn
            )
            written = sum(len(lengths[i]) for i, _ in drawn)
            completions.append(Completion(replies=replies, usage=self._usage(len(prompt), cached, written)))
        return completions

    def _ranked(
        self, prompts: Sequence[list[int]], sequences: Sequence[Sequence[tuple[int, ...]]]
    ) -> list[tuple[Ranked, int]]:
        """The actions of each prompt, and how much of it was cached: all of one that was ranked before."""
        pairs = list(zip(prompts, sequences, strict=True))
        known = [self._known.find(prompt, own, 0) for prompt, own in pairs]
        new = [pair for pair, ranked in zip(pairs, known, strict=True) if ranked is None]
        tries, counts = [trie(own) for _, own in new], [len(own) for _, own in new]
        passed = iter(self._engine.rank([prompt for prompt, _ in new], tries, counts) if new else ())
        answers = []
        for (prompt, own), ranked in zip(pairs, known, strict=True):
            answers.append((ranked, len(prompt)) if ranked is not None else next(passed))
            self._known.keep(prompt, own, answers[-1][0])
        return answers

    def _write(self, asks: Sequence[Ask], prompts: Sequence[list[int]]) -> list[Completion]:
        # At temperature 0 all samples are the same: one is written.
        seeds = [[seed_of(ask, i) for i in range(ask.n if ask.temperature > 0 else 1)] for ask in asks]
        temperatures, limits = [ask.temperature for ask in asks], [ask.max_tokens for ask in asks]
        answers = self._engine.write(prompts, seeds, temperatures=temperatures, limits=limits)
        completions = []
        for ask, prompt, (texts, cached) in zip(asks, prompts, answers, strict=True):
            texts = texts * (ask.n // len(texts))
            replies = tuple(
                wrote(
                    ask,
                    self._engine.tokenizer.decode(tokens, skip_special_tokens=True).strip(),
                    finish="length" if len(tokens) == ask.max_tokens else "stop",
                )
                for tokens in texts
            )
            written = sum(map(len, texts))
            completions.append(Completion(replies=replies, usage=self._usage(len(prompt), cached, written)))
        return completions

    def _tokens(self, prompt: Prompt, lead: str, *, room: int, form: Form = BARE) -> list[int]:
        """The prompt as the model reads it, cut to leave ``room`` tokens for its answer, which begins with ``lead``."""

        def tokens(shown: Prompt) -> list[int]:
            if form == TRANSCRIPT:
                return self._engine.tokenize(untokened(transcript(shown)))
            turns = plain_turns(shown.messages())
            text = self._template(turns) if self._chats else f"{shown.text()}\n\nassistant: "
            return self._engine.tokenize(text + lead)

        limit = self._context - room - 1
        return tokens(fit(prompt, lambda p: len(tokens(p)), limit, self.name, form=form, told=True))

    def _template(self, turns: list[dict[str, str]]) -> str:
        # Templates of models that think aloud read the last argument; all others ignore it.
        text: str = self._engine.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return text

    @property
    def _closes(self) -> int:
        """What ends an action that is ranked: its line, in a transcript."""
        return self._newline if self.form == TRANSCRIPT else self._end

    def _word(self, action: str) -> tuple[int, ...]:
        if action not in self._words:
            self._words[action] = tuple(self._engine.tokenize(f" {action}"))
        return self._words[action]

    def _end_of_turn(self) -> int:
        if self._chats:
            return self._engine.tokenize(end_of_turn(self._template))[0]
        return next(iter(self._engine.ends))

    def _usage(self, prompt: int, cached: int, completion: int) -> Usage:
        dollars = self.price.dollars(prompt, completion, cached) if self.price else None
        return Usage(calls=1, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion, dollars=dollars)


def _mass(ranked: Ranked) -> float:
    """The logarithm of what all actions have together."""
    best = ranked[0][1]
    return best + math.log(sum(math.exp(logprob - best) for _, logprob in ranked))


def _stem(source: str | Path) -> str:
    return str(source) if str(source) in ASSETS else Path(source).stem


def _trained_form(source: str | Path) -> Form:
    if not (Path(source).expanduser() / ABOUT).is_file():
        return BARE
    form: Form = about(source).get("training", {}).get(FORM, BARE)
    return form


def _ranks(ask: Ask) -> bool:
    return ask.purpose == "act" and bool(ask.view.admissible)
