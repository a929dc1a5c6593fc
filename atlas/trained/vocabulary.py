"""Words to numbers for closed action languages: a vocabulary read off the training data, and a way with new words.

A token is a word, a number or a mark, with the space before it. Actions are kept letter by letter; of observations the
articles and marks, which carry nothing in such languages, are left out, and of a very long one the middle.

A word that is not in the vocabulary gets one of a few placeholder tokens, the same one throughout its episode: the
model cannot know what it means, but it can copy it from an observation into an action. Training renames some known
words in this way, so that placeholders are learnt.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atlas.errors import DataError
from atlas.framing import NOTES
from atlas.jsontext import read_json
from atlas.prompts import NOTES_HEAD
from atlas.trained.trajectory import Trajectory

_TOKEN = re.compile(r" ?(?:[^\W\d_]+|\d+|[^\w\s]|_)")
_ID = re.compile(r"^\[[^\]]*\]")
_FENCES = (NOTES_HEAD, f"<{NOTES}>", f"</{NOTES}>")
_TIGHT = re.compile(r"[\"'(\[{]\w")
"""What shows that actions hold words without a space before them that stand with one elsewhere."""
GLUE = ""
"""No space before the next word: a word of vocabularies whose actions want it."""
_SKIPPED = frozenset(" a an the A An The".split())
PAD, GOAL, NOTE, SEE, ACT, WHY, GOOD, BAD = range(8)
"""What the next tokens are: the goal, guidance, something seen, an action, a reason. ``SEE`` also ends what is written.
``GOOD`` and ``BAD`` are a judge's two answers."""
_FIRST = 8
PLACEHOLDERS = 32
LONGEST = 192
"""Tokens of one observation: of a longer one the first two thirds and the last third are kept. Of the guidance of one
step so many are read, and what comes after them is not: the entries that fit best come first."""


def words(text: str, *, glued: bool = False) -> list[str]:
    """The tokens of ``text``; joined together they are the text, up to runs of blank space. ``glued``: a word without a
    space before it is :data:`GLUE` and the word with one."""
    found = _TOKEN.findall(" " + " ".join(text.split()))
    return [part for word in found for part in _parts(word)] if glued else found


def _parts(word: str) -> tuple[str, ...]:
    return (GLUE, f" {word}") if word.isalnum() else (word,)


def seen_words(text: str, *, glued: bool = False) -> list[str]:
    """The tokens of an observation that are kept."""
    kept = _plain(text, glued)
    if len(kept) <= LONGEST:
        return kept
    tail = LONGEST // 3
    return kept[: LONGEST - tail] + kept[-tail:]


def noted_words(text: str, *, glued: bool = False) -> list[list[str]]:
    """The tokens of each entry of the guidance that a prompt held: without the frame around them, which is always the
    same, and the entries' ids, which mean nothing."""
    lines = (line for line in text.split("\n") if line not in _FENCES)
    entries = (_plain(_ID.sub("", line), glued) for line in lines)
    return [entry for entry in entries if entry]


def _plain(text: str, glued: bool) -> list[str]:
    # Where words are glued an "A" may be half of a number, A17.
    skipped = frozenset() if glued else _SKIPPED
    return [w for w in words(text, glued=glued) if w.strip() not in skipped and w.strip().isalnum()]


class Vocabulary:
    """Known words, and their token numbers."""

    def __init__(self, known: Sequence[str]) -> None:
        self.known = tuple(known)
        start = _FIRST + PLACEHOLDERS
        self.numbers = {word: start + i for i, word in enumerate(self.known)}

    @property
    def glued(self) -> bool:
        """Whether it has :data:`GLUE`."""
        return GLUE in self.numbers

    def __len__(self) -> int:
        return _FIRST + PLACEHOLDERS + len(self.known)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.known == other.known

    def __hash__(self) -> int:
        return hash(self.known)

    @classmethod
    def of(cls, trajectories: Iterable[Trajectory], *, thoughts: bool = False, rare: int | None = None) -> Vocabulary:
        """The words that stand in at least ``rare`` trajectories, in alphabetical order.

        Else in two; and where actions have arguments, in one of twenty, or in twenty: what names a customer or an order
        is to be copied, and a student that knows the few it was trained on takes one of those.
        """
        counts: Counter[str] = Counter()
        trajectories = list(trajectories)
        glued = any(_TIGHT.search(moment.action) for t in trajectories for moment in t.moments)
        for trajectory in trajectories:
            counts.update(_found(trajectory, thoughts, glued))
        if rare is None:
            rare = min(20, max(2, len(trajectories) // 20)) if glued else 2
        return cls(sorted(word for word, count in counts.items() if count >= rare or word == GLUE))

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(list(self.known), ensure_ascii=False, indent=0), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        try:
            known = read_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is no vocabulary ({error}): train the student again") from error
        return cls(known)


def _found(trajectory: Trajectory, thoughts: bool, glued: bool) -> set[str]:
    """The words of one trajectory."""
    found = set(words(trajectory.goal, glued=glued))
    for moment in trajectory.moments:
        found.update(seen_words(moment.observation, glued=glued), words(moment.action, glued=glued))
        found.update(*noted_words(moment.guidance, glued=glued))
        if thoughts:
            found.update(words(moment.thought, glued=glued))
    for window in trajectory.shown:
        found.update(words(window.goal, glued=glued))
        for step in window.steps:
            found.update(seen_words(step.observation, glued=glued), words(step.action, glued=glued))
    return found


@dataclass
class Reader:
    """Turns the texts of one episode into tokens, with a placeholder for each word that is not known."""

    vocabulary: Vocabulary
    renamed: dict[str, int] = field(default_factory=dict)
    """Word -> token number of its placeholder."""
    met: set[str] = field(default_factory=set)
    """The words that were read so far."""

    def number(self, word: str) -> int:
        self.met.add(word)
        if word in self.renamed:
            return self.renamed[word]
        known = self.vocabulary.numbers.get(word)
        if known is not None:
            return known
        taken = set(self.renamed.values())
        free = (t for t in range(_FIRST, _FIRST + PLACEHOLDERS) if t not in taken)
        # Where all placeholders are taken the last one stands for every further word.
        self.renamed[word] = next(free, _FIRST + PLACEHOLDERS - 1)
        return self.renamed[word]

    def goal(self, text: str) -> list[int]:
        return [GOAL, *self.written(text)]

    def seen(self, text: str) -> list[int]:
        return [SEE, *map(self.number, seen_words(text, glued=self.vocabulary.glued))]

    def notes(self, text: str) -> list[int]:
        """The guidance of one step, a mark before each entry, at most :data:`LONGEST` tokens; empty for none.

        A word that is neither in the vocabulary nor was met in this episode is left out. It would tell nothing, and a
        placeholder for it would be missing later, or stand for another word than without guidance.
        """
        tokens: list[int] = []
        for entry in noted_words(text, glued=self.vocabulary.glued):
            found = (word for word in entry if word in (self.met if word in self.renamed else self.vocabulary.numbers))
            tokens += [NOTE, *map(self.number, found)]
        return tokens[:LONGEST]

    def written(self, text: str) -> list[int]:
        """An action or a thought, without the mark before it."""
        return [self.number(word) for word in words(text, glued=self.vocabulary.glued)]

    def text(self, tokens: Iterable[int]) -> str:
        """The inverse of :meth:`written`."""
        start = _FIRST + PLACEHOLDERS
        names: Mapping[int, str] = {number: word for word, number in self.renamed.items()}
        text, tight = "", False
        for token in tokens:
            word = self.vocabulary.known[token - start] if token >= start else names.get(token, "")
            text += word.lstrip() if tight else word
            tight = word == GLUE and token >= start
        return text.strip()


@dataclass(frozen=True)
class Branch:
    """Tokens that are read after the first ``after`` tokens of a sequence, and by nothing else in it."""

    after: int
    tokens: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Encoded:
    """A sequence of tokens, and what is learnt of it."""

    tokens: list[int]
    weights: list[float]
    """Of each token as a target in the loss: 0 where it is only read."""
    kind: str = "action"
    """``action``, ``reason`` for a sequence that ends in a thought, ``bad`` for one of an episode that failed."""
    twins: tuple[Encoded, ...] = ()
    """Sequences with the same targets in the same order, and guidance before them."""
    advantage: float = 0.0
    """Of its episode: see :class:`~atlas.trained.trajectory.Trajectory`."""
    branches: tuple[Branch, ...] = ()
    """Where it has any, they hold all targets."""

    def __len__(self) -> int:
        return len(self.tokens) + sum(len(branch.tokens) for branch in self.branches)


def encode(trajectory: Trajectory, reader: Reader, *, context: float = 0.0) -> Encoded:
    """One episode as one sequence: goal, observation, action, observation... A single pass trains all its steps.

    Targets are the tokens of the actions and the ``SEE`` that ends each; ``context`` is the weight of all others. A
    last moment with an empty action, as a view has it, ends in ``ACT``: the model is to go on from there.
    """
    shown, goal = _shown(trajectory, reader), reader.goal(trajectory.goal)
    tokens = [*shown, *goal]
    weights = [0.0] * len(shown) + [context] * len(goal)
    before = context
    for moment in trajectory.moments:
        seen = reader.seen(moment.observation)
        written = reader.written(moment.action)
        tokens += [*seen, ACT, *written]
        weights += [before, *[context] * (len(seen) - 1), 0.0, *[moment.weight] * len(written)]
        before = moment.weight
    if trajectory.moments[-1].action:
        tokens.append(SEE)
        weights.append(before)
    return Encoded(tokens, weights)


def encode_guided(trajectory: Trajectory, reader: Reader) -> Encoded:
    """One episode as it is read with guidance: the sequence of :func:`encode`, and a branch for each step that counts.

    The guidance of a step stands in one place, before its ``ACT``, and no other step reads it: prompts show it so, and
    a view knows the guidance of its own step alone. Each branch goes on from what was seen as :func:`prompt` does, and
    what stands before it is the same with and without guidance, so its keys and values are too.
    """
    tokens = [*_shown(trajectory, reader), *reader.goal(trajectory.goal)]
    branches = []
    for moment in trajectory.moments:
        tokens += reader.seen(moment.observation)
        notes = reader.notes(moment.guidance)
        written = reader.written(moment.action)
        if moment.weight:
            weights = [0.0] * (len(notes) + 1) + [moment.weight] * (len(written) + 1)
            branches.append(Branch(len(tokens), [*notes, ACT, *written, SEE], weights))
        tokens += [ACT, *written]
    return Encoded(tokens, [0.0] * len(tokens), branches=tuple(branches))


def _shown(trajectory: Trajectory, reader: Reader) -> list[int]:
    """The demonstrations beside an episode, the best one last: each is written as an episode is."""
    tokens: list[int] = []
    for window in reversed(trajectory.shown):
        tokens += reader.goal(window.goal)
        for step in window.steps:
            tokens += [*reader.seen(step.observation), ACT, *reader.written(step.action)]
    return tokens


def prompt(trajectory: Trajectory, reader: Reader, *, guided: bool = False) -> list[int]:
    """The tokens up to the ``ACT`` of the last moment, whose action is still empty; its guidance where ``guided``."""
    tokens = encode(trajectory, reader).tokens
    if guided:
        tokens[-1:] = [*reader.notes(trajectory.moments[-1].guidance), ACT]
    return tokens


def encode_reason(trajectory: Trajectory, index: int, reader: Reader) -> Encoded:
    """The episode up to the observation of step ``index``, and the thought that went with it, which is learnt."""
    past = trajectory.moments[:index]
    before = encode(trajectory.model_copy(update={"moments": past}), reader).tokens[:-1] if past else None
    tokens = before if before is not None else [*_shown(trajectory, reader), *reader.goal(trajectory.goal)]
    moment = trajectory.moments[index]
    tokens = [*tokens, *reader.seen(moment.observation), WHY]
    thought = [*reader.written(moment.thought), SEE]
    return Encoded([*tokens, *thought], [*[0.0] * len(tokens), *[moment.weight] * len(thought)], "reason")


def renaming(trajectory: Trajectory, vocabulary: Vocabulary, rng: random.Random, share: float) -> Reader:
    """A reader that takes some words of the trajectory's actions for new ones, each with probability ``share``.

    Which placeholder a word gets is drawn, so that all of them are learnt.
    """
    glued = vocabulary.glued
    acted = {word for moment in trajectory.moments for word in words(moment.action, glued=glued)}
    if glued:
        # A tool's name and those of its arguments are read nowhere: a new word for them could only be guessed.
        read = set(words(trajectory.goal, glued=True))
        acted &= read.union(*(seen_words(moment.observation, glued=True) for moment in trajectory.moments)) - {GLUE}
    chosen = [word for word in sorted(acted) if rng.random() < share]
    slots = rng.sample(range(PLACEHOLDERS), min(len(chosen), PLACEHOLDERS))
    return Reader(vocabulary, {word: _FIRST + slot for word, slot in zip(chosen, slots, strict=False)})
