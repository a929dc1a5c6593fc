"""Embedded language models: GGUF weights on this machine's CPU, with no key and no network."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from atlas.assets import ASSETS, fetch
from atlas.calling import prompt_for, wrote
from atlas.framing import untokened
from atlas.models.chat import end_of_turn, plain_turns, seed_of
from atlas.models.fit import fit
from atlas.models.llama_engine import Engine
from atlas.models.prices import LOCAL
from atlas.models.ranking import RANKS, Ranked, Remembered, best_first, draw, ranking_form, ranking_rule, trie
from atlas.models.ranking import Path as TokenPath
from atlas.prompts import reply_text, transcript
from atlas.protocols import RanksActions
from atlas.records import BARE, TRANSCRIPT, Ask, Completion, Form, Price, Prompt, Rank, Reply, Usage

_FIRST_LOOK, _SECOND_LOOK = 256, 4096
"""How many of the most probable next tokens are asked for. What these miss is asked for token by token."""

_ALL = 1_000_000
_FORCED = 1e4
"""A bias, in nats, that no other token can make up for."""


class Llama(RanksActions):
    """An embedded model. Where the environment lists its actions, they are ranked; otherwise it writes text, in the
    form that the ask's grammar states.

    Ranking: all actions share one prefill of the prompt, and what was ranked is remembered for the same prompt; samples
    are drawn from the softmax of the actions' log-probability / temperature, each with its own seed, and
    ``Reply.logprob`` is the log-probability of the action as the model's whole answer (natural log, not renormalised
    over the actions). Usage counts the prompt once, and the tokens of each returned sample.

    One ask at a time: others wait in a queue, and the event loop is never blocked.
    """

    single = True

    def __init__(
        self,
        source: str | Path,
        *,
        name: str | None = None,
        price: Price = LOCAL,
        context: int = 8192,
        threads: int | None = None,
        cache_mib: int = 1024,
        form: Form = BARE,
        rank: Rank = "sum",
        remind: bool = False,
    ) -> None:
        """``source`` is the name of an asset or the path of a GGUF file; ``context`` is in tokens.

        ``threads`` None takes all cores; ``cache_mib`` bounds the RAM for the prefixes of other episodes; ``form`` is
        how it reads prompts for ranking: ``bare`` (its chat template) or ``transcript``; ``rank`` is by what it ranks;
        ``remind`` tells the goal once more at the end of such a prompt. Raises DataError for a file that is no model.
        """
        self.rank = ranking_rule(rank)
        self.remind = remind
        self.form = ranking_form(form)
        known = str(source) in ASSETS
        path = fetch(str(source)) if known else Path(source).expanduser()
        self.name = name or (str(source) if known else path.stem)
        self.price: Price | None = price
        self.shares_prompt = True
        self._context = context
        self._engine = Engine(path, context=context, threads=threads, cache_mib=cache_mib)
        self._end = self._engine.tokenize(end_of_turn(self._engine.template))[0]
        self._newline = self._engine.tokenize("\n")[-1]
        self._words: dict[str, tuple[int, ...]] = {}
        self._known = {rank: Remembered() for rank in RANKS}
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="llama")

    async def sample(self, ask: Ask) -> Completion:
        ranks = ask.purpose == "act" and bool(ask.view.admissible)
        work = self._rank if ranks else self._write
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, ask)

    def _rank(self, ask: Ask) -> Completion:
        actions = list(dict.fromkeys(ask.view.admissible))
        sequences = [(*self._word(action), self._closes) for action in actions]
        lead = reply_text("").rstrip()
        prompt = self._tokens(ask.prompt, lead, room=max(map(len, sequences)) + 1, form=self.form)
        known = self._known[self.rank]
        ranked = known.find(prompt, sequences, ask.temperature)
        held = len(prompt)
        if ranked is None:
            ranked, held = self._ranked(prompt, sequences, ask.temperature)
            known.keep(prompt, sequences, ranked, ask.temperature)
        replies, completion = [], 0
        for i in range(ask.n):
            index, score = draw(ranked, ask.temperature, seed_of(ask, i))
            size = len(sequences[index])
            logprob = score * size if self.rank == "mean" else score
            replies.append(Reply(text=reply_text(actions[index]), logprob=logprob, finish="ranked"))
            completion += size
        return Completion(replies=tuple(replies), usage=self._usage(len(prompt), held, completion))

    def _ranked(
        self, prompt: Sequence[int], sequences: Sequence[tuple[int, ...]], temperature: float
    ) -> tuple[Ranked, int]:
        """The actions that matter for a draw at ``temperature``, and how much of the prompt was cached.

        One call for each inner node of the trie that matters. Slots that would read several nodes at once share no
        prefix in this runtime: each would read the prompt for itself, which costs more than all the calls.
        """
        cached: list[int] = []

        def expand(path: TokenPath, wanted: frozenset[int], effort: int) -> tuple[dict[int, float], float]:
            # The end of a turn cannot be forced: a completion that ends at once comes without log-probabilities.
            forced = effort > 1 and self._closes not in wanted
            look = 1 if forced else (_FIRST_LOOK, _SECOND_LOOK, _ALL)[min(effort, 2)]
            bias = [[token, _FORCED] for token in wanted] if forced else []
            answer = self._engine.complete(
                [*prompt, *path], n_predict=1, n_probs=look, temperature=0, ignore_eos=True, logit_bias=bias
            )
            cached.append(_cached(answer))
            # Whatever the sampler did, these are the log-probabilities before it.
            said = answer["choices"][0]["logprobs"]["content"][0]
            if forced:
                return {said["id"]: said["logprob"]}, said["logprob"]
            top = said["top_logprobs"]
            known = {row["id"]: row["logprob"] for row in top if row["id"] in wanted}
            return known, top[-1]["logprob"] if look < _ALL else -math.inf

        return best_first(trie(sequences), expand, temperature=temperature, rank=self.rank), cached[0]

    def _write(self, ask: Ask) -> Completion:
        prompt = self._tokens(prompt_for(ask), "", room=ask.max_tokens)
        replies: list[Reply] = []
        completion, cached = 0, 0
        # Turned into a grammar by llama.cpp: what does not keep to it has no probability.
        held = (
            {"json_schema": ask.schema} if ask.schema is not None else {"grammar": ask.grammar} if ask.grammar else {}
        )
        for i in range(ask.n):
            answer = self._engine.complete(
                prompt,
                n_predict=ask.max_tokens,
                temperature=ask.temperature,
                seed=seed_of(ask, i),
                # Plain sampling, as hosted models do: nothing is cut off but what the temperature makes improbable.
                top_k=0,
                top_p=1.0,
                min_p=0.0,
                **held,
            )
            choice = answer["choices"][0]
            replies.append(wrote(ask, choice["text"].strip(), finish=choice["finish_reason"] or ""))
            completion += answer["usage"]["completion_tokens"]
            if i == 0:
                cached = _cached(answer)
        return Completion(replies=tuple(replies), usage=self._usage(len(prompt), cached, completion))

    def _tokens(self, prompt: Prompt, lead: str, *, room: int, form: Form = BARE) -> list[int]:
        """The prompt as the model reads it, cut to leave ``room`` tokens for its answer, which begins with ``lead``."""

        def tokens(shown: Prompt) -> list[int]:
            if form == TRANSCRIPT:
                return self._engine.tokenize(untokened(transcript(shown)))
            return self._engine.tokenize(self._engine.template(plain_turns(shown.messages())) + lead)

        limit = self._context - room - 1
        return tokens(fit(prompt, lambda p: len(tokens(p)), limit, self.name, form=form, told=True))

    @property
    def _closes(self) -> int:
        """What ends an action that is ranked: its line, in a transcript."""
        return self._newline if self.form == TRANSCRIPT else self._end

    def _word(self, action: str) -> tuple[int, ...]:
        if action not in self._words:
            self._words[action] = tuple(self._engine.tokenize(f" {action}"))
        return self._words[action]

    def _usage(self, prompt: int, cached: int, completion: int) -> Usage:
        dollars = self.price.dollars(prompt, completion, cached) if self.price else None
        return Usage(calls=1, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion, dollars=dollars)


def _cached(answer: dict[str, Any]) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
