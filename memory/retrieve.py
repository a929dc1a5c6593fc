"""Which entries fit a moment: by likeness of their cues and by the words of them, and as many as a budget of tokens
takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from atlas.memory.cues import content_words, rarity, says, template
from atlas.memory.pamphlet import Entry, only_from
from atlas.memory.vectors import Floats, Ints, inner
from atlas.prompts import guidance_part, guidance_text
from atlas.records import TEACHER, Guidance, View
from atlas.tokens import estimate_tokens

FLOOR = 0.45
"""Score below which an entry is not shown. The score is the mean of likeness and overlap, each at most 1, and 1 where
the cue's quotation is there word for word."""
SETTING = 0.5
"""The score of an entry with a scope whose cue is about the setting: its words all stand in the task's instructions."""
SUPPORT = 0.02
"""Added to the score for each e-fold of support: it decides between entries that fit equally."""
WEIGHTS = {"goal": 1.0, "thought": 1.0, "observation": 0.8}
"""A cue may be about the task, about what was thought last, or about what was just seen, which says many things."""
_MISSES = 3
"""So many that did not fit end the search for smaller ones."""
TEACHERS_PART = 1 / 3
"""Of the budget, where entries for both readers are wanted."""


class Ranking:
    """A moment to find entries for."""

    def __init__(self, view: View, texts: Mapping[str, str], vectors: Floats | None) -> None:
        """``texts`` by name, ``vectors`` ``(len(texts), dim)`` of them; None where there are none."""
        self.view, self.texts, self.vectors = view, texts, vectors


class Shelf:
    """The entries of a memory at one moment."""

    def __init__(
        self, entries: Sequence[tuple[str, Entry]], vectors: Floats, nearest: Callable[[Floats], Ints] | None = None
    ) -> None:
        """``(id, entry)`` pairs and the ``(n, dim)`` embeddings of their cues. ``nearest`` names the places of the cues
        that are most like a vector, where an index of them is kept; all are compared where None."""
        self._entries = list(entries)
        self._vectors = vectors
        self._nearest = nearest
        self._rarity = rarity(entry.cue for _, entry in entries)
        self._quoting = [place for place, (_, entry) in enumerate(entries) if template(entry.cue)]
        self._scoped = [place for place, (_, entry) in enumerate(entries) if entry.scope]
        places: dict[str, list[int]] = {}
        for place, (_, entry) in enumerate(entries):
            for word in content_words(entry.cue):
                places.setdefault(word, []).append(place)
        self._places = {word: np.array(found, np.intp) for word, found in places.items()}
        self._weights = np.zeros(len(self._entries))
        for word, found in self._places.items():
            self._weights[found] += self._rarity[word]

    def texts(self, view: View) -> dict[str, str]:
        """What cues are compared with."""
        if not self._entries:
            return {}
        last = view.turns[-1] if view.turns else None
        texts = {"goal": view.task.goal, "thought": last.thought if last else "", "observation": view.observation}
        return {name: text for name, text in texts.items() if text}

    def ranked(self, moment: Ranking) -> list[tuple[Entry, Guidance]]:
        """The entries that fit, best first; equal scores by id."""
        if moment.vectors is None or not moment.texts:
            return []
        scores = np.maximum(self._likeness(moment), 0.0) / 2 + self._overlap(moment.texts) / 2
        for place in self._quoting:
            if any(says(self._entries[place][1].cue, text) for text in moment.texts.values()):
                scores[place] = 1.0
        task = moment.view.task
        known = _task_text(moment.view) if self._scoped else ""
        for place in self._scoped:
            words = content_words(self._entries[place][1].cue)
            if words and words <= content_words(task.instructions):
                scores[place] = max(scores[place], SETTING)
        found = []
        for place in np.flatnonzero(scores >= FLOOR).tolist():
            key, entry = self._entries[place]
            if only_from(entry, task.id) or not all(part.casefold() in known for part in entry.scope):
                continue
            score = round(float(scores[place]) + SUPPORT * math.log(entry.support), 4)
            found.append((entry, entry.as_guidance(score).model_copy(update={"id": key})))
        return sorted(found, key=lambda row: (-row[1].score, row[1].id))

    def _likeness(self, moment: Ranking) -> Floats:
        best = np.zeros(len(self._entries), np.float32)
        assert moment.vectors is not None
        for name, vector in zip(moment.texts, moment.vectors, strict=True):
            if self._nearest is None:
                np.maximum(best, np.float32(WEIGHTS[name]) * inner(self._vectors, vector), out=best)
            else:
                near = self._nearest(vector)
                best[near] = np.maximum(best[near], np.float32(WEIGHTS[name]) * inner(self._vectors[near], vector))
        return best

    def _overlap(self, texts: Mapping[str, str]) -> NDArray[np.float64]:
        """How much of each cue stands in the texts, and of these in it, by the words that the cues know; 0 to 1.

        The first counts twice: a cue of which all stands there applies, also where there is more to be said. The second
        tells "put a hot cup in the cabinet" apart from "put a cup in the cabinet".
        """
        best = np.zeros(len(self._entries))
        for name, text in texts.items():
            known = [word for word in content_words(text) if word in self._places]
            if not known:
                continue
            shared = np.zeros(len(self._entries))
            for word in known:
                shared[self._places[word]] += self._rarity[word]
            precision = shared / np.maximum(self._weights, 1e-9)
            recall = shared / sum(self._rarity[word] for word in known)
            np.maximum(best, WEIGHTS[name] * (2 * precision + precision * recall) / 3, out=best)
        return best


def _task_text(view: View) -> str:
    tools = (str(tool.get("function", tool).get("name", "")) for tool in view.tools)
    return "\n".join([view.task.goal, view.task.instructions, *tools]).casefold()


def chosen(ranked: Iterable[tuple[Entry, Guidance]], tokens: int) -> list[Guidance]:
    """As many as ``tokens`` hold, heading included, best first.

    Kinds take turns, so that ten ways to do the task leave room for where things are; those for the teacher get at
    most a third.
    """
    rows = list(ranked)
    teachers = [row for row in rows if row[0].audience == TEACHER]
    students = [row for row in rows if row[0].audience != TEACHER]
    kept = _fill([], teachers, int(tokens * TEACHERS_PART) if students else tokens)
    kept = _fill(kept, students, tokens)
    return sorted(kept, key=lambda entry: (-entry.score, entry.id))


def _fill(kept: list[Guidance], rows: Sequence[tuple[Entry, Guidance]], tokens: int) -> list[Guidance]:
    kinds: dict[str, list[Guidance]] = {}
    for entry, guidance in rows:
        kinds.setdefault(entry.kind, []).append(guidance)
    kept = list(kept)
    left = tokens - _frame() - sum(_cost(guidance_text(guidance)) for guidance in kept)
    misses = 0
    for turn in zip_longest(*kinds.values()):
        for guidance in turn:
            if guidance is None:
                continue
            cost = _cost(guidance_text(guidance))
            if cost <= left:
                kept.append(guidance)
                left -= cost
            else:
                misses += 1
        if misses > _MISSES:
            break
    # The parts were counted one by one; what counts is the whole.
    while kept and estimate_tokens(guidance_part(kept)) > tokens:
        kept.pop()
    return kept


@lru_cache(maxsize=16_384)
def _cost(line: str) -> int:
    """Tokens of an entry's line, with the end of the line."""
    return estimate_tokens(line) + 1


@lru_cache(maxsize=1)
def _frame() -> int:
    """Tokens of what stands around the entries."""
    one = Guidance(id="x", cue="x", action="x")
    return estimate_tokens(guidance_part([one])) - estimate_tokens(guidance_text(one))
