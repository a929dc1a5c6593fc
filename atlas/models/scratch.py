"""A student trained from scratch by ``atlas train``: a small transformer that reads the view and ranks its actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas.calling import acted
from atlas.errors import DataError
from atlas.models.chat import seed_of
from atlas.models.hf_prefixes import Prefixes
from atlas.models.prices import LOCAL
from atlas.models.ranking import Ranked, draw, trie
from atlas.models.tree import Tree, flatten
from atlas.prompts import reply_text
from atlas.protocols import RanksActions, ReadsView
from atlas.records import Ask, Completion, Price, Reply, Usage
from atlas.trained.trajectory import from_view
from atlas.trained.vocabulary import SEE, Reader, Vocabulary
from atlas.trained.vocabulary import prompt as prompt_of

if TYPE_CHECKING:
    from atlas.trained.net import Net

_NO_TREE = Tree(tokens=(), parents=(), depths=(), paths=())
_EPISODES = 64
"""Episodes in flight whose past is kept as keys and values, so that a step reads only what is new."""


class Scratch(ReadsView, RanksActions):
    """Where the environment lists its actions, they are ranked: all of them in the pass that reads the new observation.

    A reply's ``logprob`` is that of its action among those listed. Without a list the action is written word by word.
    Entries of pamphlets are read by a student whose training held some (``reads_guidance``), before the action that
    they stand beside; what was read up to them is kept for the next step, and they are not. Demonstrations are read by
    one whose training held some (``reads_windows``), before the episode.
    """

    shares_prompt = True
    single = True

    def __init__(self, folder: str | Path, *, price: Price = LOCAL) -> None:
        """``folder`` is what ``atlas train`` wrote. Raises DataError for a broken one, MissingExtra without torch."""
        from atlas.trained.student import about, load

        training = about(folder).get("training", {})
        if training.get("recipe") == "judge":
            raise DataError(f"{folder} holds a judge, which does not act: give the folder of a student")
        self._use(*load(folder), name=Path(folder).expanduser().resolve().name, price=price)
        self.reads_guidance = bool(training.get("reads_guidance"))
        self.reads_windows = bool(training.get("reads_windows"))

    @classmethod
    def of(cls, net: Net, vocabulary: Vocabulary, *, name: str = "scratch", price: Price = LOCAL) -> Scratch:
        """The student that a network is, without a folder."""
        student = cls.__new__(cls)
        student._use(net, vocabulary, name=name, price=price)
        return student

    def _use(self, net: Net, vocabulary: Vocabulary, *, name: str, price: Price) -> None:
        self.name = name
        self.price: Price | None = price
        self._net: Any = net.eval()
        self._vocabulary = vocabulary
        self._prefixes = Prefixes(_EPISODES)

    async def sample(self, ask: Ask) -> Completion:
        if ask.purpose == "plan":
            return Completion(replies=(Reply(text=""),) * ask.n)
        reader = Reader(self._vocabulary)
        prompt = prompt_of(from_view(ask.view, windows=self.reads_windows), reader, guided=self.reads_guidance)
        if ask.view.admissible:
            return self._rank(ask, reader, prompt)
        return self._write(ask, reader, prompt)

    def _rank(self, ask: Ask, reader: Reader, prompt: Sequence[int]) -> Completion:
        actions = list(dict.fromkeys(ask.view.admissible))
        spelt: dict[tuple[int, ...], str] = {}
        for action in actions:
            # Two spellings of one action have the same tokens: the first stands for both.
            spelt.setdefault((*reader.written(action), SEE), action)
        own = list(spelt)
        ranked, cached = self.ranked(prompt, own)
        drawn = [draw(ranked, ask.temperature, seed_of(ask, i)) for i in range(ask.n)]
        replies = tuple(Reply(text=reply_text(spelt[own[i]]), logprob=lp, finish="ranked") for i, lp in drawn)
        return Completion(replies=replies, usage=self._usage(len(prompt), cached, sum(len(own[i]) for i, _ in drawn)))

    def ranked(self, prompt: Sequence[int], actions: Sequence[Sequence[int]]) -> tuple[Ranked, int]:
        """The actions with their log-probabilities, which sum to 1, best first; and how much of the prompt was kept."""
        import torch

        tree = flatten(trie(actions), len(actions))
        with torch.inference_mode():
            hidden, cached = self._read(prompt, tree)
            steps = self._net.logits(hidden).log_softmax(-1)
            pairs = torch.tensor([pair for path in tree.paths for pair in path])
            values = iter(steps[pairs[:, 0], pairs[:, 1]].tolist())
        scores = [sum(next(values) for _ in path) for path in tree.paths]
        top = max(scores)
        whole = top + math.log(sum(math.exp(score - top) for score in scores))
        return sorted(((i, score - whole) for i, score in enumerate(scores)), key=lambda pair: -pair[1]), cached

    def _read(self, prompt: Sequence[int], tree: Tree) -> tuple[Any, int]:
        """Hidden states of the prompt's last token and of the tree: ``(1 + tree tokens, width)``."""
        import torch

        kept, held = self._prefixes.find(prompt)
        fresh = len(prompt) - held
        tokens = torch.tensor([[*prompt[held:], *tree.tokens]])
        places = torch.tensor([*range(held, len(prompt)), *(len(prompt) - 1 + depth for depth in tree.depths)])
        past = [(layer[0][None], layer[1][None]) for layer in kept] if kept is not None else None
        sees = torch.from_numpy(tree.visible(held, fresh))
        hidden, pairs = self._net(tokens, places=places, past=past, sees=sees)
        self._prefixes.keep(prompt, torch.stack([torch.stack(pair)[:, 0, :, : len(prompt)] for pair in pairs]))
        return hidden[0, fresh - 1 :], held

    def _write(self, ask: Ask, reader: Reader, prompt: Sequence[int]) -> Completion:
        """Word by word, up to the end of the action or ``max_tokens``; all samples share the reading of the prompt."""
        replies, written, first = [], 0, 0
        for i in range(ask.n):
            tokens, logprob, held = self.written(prompt, ask.temperature, seed_of(ask, i), ask.max_tokens)
            first = held if i == 0 else first
            written += len(tokens)
            ended = bool(tokens) and tokens[-1] == SEE
            action = reader.text(tokens[:-1] if ended else tokens)
            replies.append(acted(ask.view, action, logprob=logprob, finish="stop" if ended else "length"))
        return Completion(replies=tuple(replies), usage=self._usage(len(prompt), first, written))

    def written(self, prompt: Sequence[int], temperature: float, seed: int, limit: int) -> tuple[list[int], float, int]:
        """Tokens up to ``SEE`` or ``limit``, their log-probability, and how much of the prompt was kept."""
        import torch

        made = torch.Generator().manual_seed(seed)
        with torch.inference_mode():
            hidden, held = self._read(prompt, _NO_TREE)
            kept, _ = self._prefixes.find([*prompt, SEE])
            past = [(layer[0][None], layer[1][None]) for layer in kept]
            tokens: list[int] = []
            total = 0.0
            while len(tokens) < limit:
                logprobs = self._net.logits(hidden[-1]).log_softmax(-1)
                if temperature > 0:
                    token = int(torch.multinomial((logprobs / temperature).softmax(-1), 1, generator=made))
                else:
                    token = int(logprobs.argmax())
                tokens.append(token)
                total += float(logprobs[token])
                if token == SEE:
                    break
                place = torch.tensor([len(prompt) + len(tokens) - 1])
                sees = torch.ones(1, len(prompt) + len(tokens), dtype=torch.bool)
                states, past = self._net(torch.tensor([[token]]), places=place, past=past, sees=sees)
                hidden = states[0]
        return tokens, total, held

    def _usage(self, prompt: int, cached: int, completion: int) -> Usage:
        dollars = self.price.dollars(prompt, completion, cached) if self.price else None
        return Usage(calls=1, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion, dollars=dollars)
