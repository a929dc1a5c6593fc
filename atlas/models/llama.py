"""Embedded language models: GGUF weights on this machine's CPU, with no key and no network."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from atlas.assets import ASSETS, fetch
from atlas.framing import untokened
from atlas.models.chat import end_of_turn, plain_turns, seed_of
from atlas.models.fit import fit
from atlas.models.llama_engine import Engine
from atlas.models.prices import LOCAL
from atlas.models.ranking import Path as TokenPath
from atlas.models.ranking import best_first, draw, ranking_form, trie
from atlas.prompts import reply_text, transcript
from atlas.protocols import RanksActions
from atlas.records import BARE, TRANSCRIPT, Ask, Completion, Form, Price, Prompt, Reply, Usage

_FIRST_LOOK, _SECOND_LOOK = 256, 4096
"""How many of the most probable next tokens are asked for. What these miss is asked for token by token."""

_ALL = 1_000_000
_FORCED = 1e4
"""A bias, in nats, that no other token can make up for."""


class Llama(RanksActions):
    """An embedded model. Where the environment lists its actions, they are ranked; otherwise it writes free text.

    Ranking: all actions share one prefill of the prompt; samples are drawn from the softmax of the actions'
    log-probability / temperature, each with its own seed, and ``Reply.logprob`` is the log-probability of the action as
    the model's whole answer (natural log, not renormalised over the actions). Usage counts the prompt once, and the
    tokens of each returned sample.

    One ask at a time: others wait in a queue, and the event loop is never blocked.
    """

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
    ) -> None:
        """``source`` is the name of an asset or the path of a GGUF file; ``context`` is in tokens.

        ``threads`` None takes all cores; ``cache_mib`` bounds the RAM for the prefixes of other episodes; ``form`` is
        how it reads prompts for ranking: ``bare`` (its chat template) or ``transcript``. Raises DataError for a file
        that is no model.
        """
        self.form = ranking_form(form)
        known = str(source) in ASSETS
        path = fetch(str(source)) if known else Path(source).expanduser()
        self.name = name or (str(source) if known else path.stem)
        self.price: Price | None = price
        self.shares_prompt = True
        self._context = context
        self._engine = Engine(path, context=context, threads=threads, cache_mib=cache_mib)
        self._end = self._engine.tokenize(end_of_turn(self._engine.template))[0]
        # What ends an action that is ranked: its line, in a transcript.
        self._closes = self._engine.tokenize("\n")[-1] if form == TRANSCRIPT else self._end
        self._words: dict[str, tuple[int, ...]] = {}
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

        ranked = best_first(trie(sequences), expand, temperature=ask.temperature)
        replies, completion = [], 0
        for i in range(ask.n):
            index, logprob = draw(ranked, ask.temperature, seed_of(ask, i))
            replies.append(Reply(text=reply_text(actions[index]), logprob=logprob, finish="ranked"))
            completion += len(sequences[index])
        return Completion(replies=tuple(replies), usage=self._usage(len(prompt), cached[0], completion))

    def _write(self, ask: Ask) -> Completion:
        prompt = self._tokens(ask.prompt, "", room=ask.max_tokens)
        replies: list[Reply] = []
        completion, cached = 0, 0
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
            )
            choice = answer["choices"][0]
            replies.append(Reply(text=choice["text"].strip(), finish=choice["finish_reason"] or ""))
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

        return tokens(fit(prompt, lambda p: len(tokens(p)), self._context - room - 1, self.name))

    def _word(self, action: str) -> tuple[int, ...]:
        if action not in self._words:
            self._words[action] = tuple(self._engine.tokenize(f" {action}"))
        return self._words[action]

    def _usage(self, prompt: int, cached: int, completion: int) -> Usage:
        dollars = self.price.dollars(prompt, completion, cached) if self.price else None
        return Usage(calls=1, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion, dollars=dollars)


def _cached(answer: dict[str, Any]) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
