"""Free-text actions of a demonstration, carried over to the present task.

Where an environment lists no actions (a query language, a shell), an action is copied as it stands but for the values
in it: what came from the demonstration's task or from an observation in it is replaced by what plays the same part now
(:mod:`atlas.copying.values`). All else, the words of the language, stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from atlas.copying.proposal import Proposal
from atlas.copying.values import Leaf, Told, kind_of, ranks, sentences, shown, stems, told
from atlas.records import DemoStep, Turn, View, Window

# What a match is worth, in nats of vote weight. Set by hand on generated train incidents; see docs/results.md.
PROGRESS = 6.0
LAST = 2.0
OUTCOME = 3.0
ASKED = 8.0
KIND = 3.0
PLACE = 1.0
MARKED = 0.5
AROUND = 0.5
NOT_SO = 2.0
"""What a value costs that plays its part only loosely."""
AGAIN = 6.0
SAME_WORDS = 0.5
"""From how much likeness on the sentences of two tasks point to the same row."""
_OCCURRENCES = 20
"""Places of a value in an observation that are looked at."""
MOMENTS = 4
"""How many moments of a demonstration are carried over at most: the best by state."""

_QUOTED = re.compile(r"""'([^']*)'|"([^"]*)\"""")
_WILD = "%*"
"""What stands around a value in a pattern."""
_CALL = re.compile(r"\w+\[(.*)\]\s*", re.DOTALL)
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Source:
    """Where a value of an action comes from: the task, or the observation before step ``step``."""

    value: str
    step: int
    """-1 for the task."""


@dataclass(frozen=True)
class Moment:
    """A step of an episode: its action taken apart, and the situation in which it was taken."""

    action: str
    spans: tuple[tuple[int, int, Source], ...]
    forms: tuple[str, ...]
    """The forms of all actions before it: an action without its values."""
    outcome: str

    @property
    def form(self) -> str:
        return form_of(self.action, self.spans)


def form_of(action: str, spans: Sequence[tuple[int, int, Source]]) -> str:
    """The action with a gap for each value."""
    at, parts = 0, []
    for start, end, _ in spans:
        parts += [action[at:start], "_"]
        at = end
    return _SPACE.sub(" ", "".join([*parts, action[at:]])).casefold()


Pointed = Sequence[tuple[frozenset[str], frozenset[str]]]
"""Of each demonstration the words by which its task points to a row, and what that row says."""


def pointed(view: View) -> Pointed:
    """What the demonstrations that are shown say of which rows are meant: for :func:`copied`."""
    found = (_pointed(window.goal, window.steps) for window in view.retrieved)
    return [pair for pair in found if pair is not None]


def copied(view: View, window: Window, pairs: Pointed = ()) -> Proposal | None:
    """What the demonstration in ``window`` would have us do now, if it has anything to say. ``pairs`` are what
    :func:`pointed` found."""
    theirs = moments(window.goal, window.steps)
    ours = _present(view)
    fit = window.score + ASKED * _likeness(_asked(window.goal), _asked(view.task.goal))
    ranked = sorted(range(len(theirs)), key=lambda i: (-_alike(ours, theirs[i]), i))[:MOMENTS]
    taken = {_SPACE.sub(" ", turn.action).casefold() for turn in view.turns}
    best: Proposal | None = None
    for index in ranked:
        carried = _carry(view, window, theirs, index, pairs)
        if carried is None:
            continue
        again = _SPACE.sub(" ", carried.action).casefold() in taken
        worth = fit + _alike(ours, theirs[index]) - carried.loss - AGAIN * again
        if best is None or worth > best.fit:
            best = Proposal(carried.action, _retold(window.steps[index].thought, carried.renamed), worth)
    return best


def _retold(thought: str, renamed: Mapping[str, str]) -> str:
    """The reason, told of our things: all at once, so that no new name is taken for an old one."""
    known = sorted((name for name in renamed if name in thought), key=len, reverse=True)
    if not known:
        return thought
    return re.sub("|".join(map(re.escape, known)), lambda found: renamed[found[0]], thought)


def retold(text: str, theirs: str, ours: str) -> str:
    """``text``, which was written for the task ``theirs``, with the values of that task replaced by those of ``ours``
    that play the same part."""
    found = {value.text: _same_told(value.text, theirs, ours) for value in told(theirs)}
    return _retold(text, {value: carried.action for value, carried in found.items() if carried is not None})


def _present(view: View) -> Moment:
    steps = _as_steps(view)
    before = moments(view.task.goal, steps)
    return Moment("", (), tuple(m.form for m in before[:-1]), shown(view.observation).outcome)


def _as_steps(view: View) -> tuple[DemoStep, ...]:
    """The present episode as a demonstration whose last action is still open."""
    seen = [view.opening, *(turn.observation for turn in view.turns)]
    done = [*(turn.action for turn in view.turns), ""]
    return tuple(DemoStep(observation=o, action=a) for o, a in zip(seen, done, strict=True))


@lru_cache(maxsize=4096)
def moments(goal: str, steps: tuple[DemoStep, ...]) -> tuple[Moment, ...]:
    """The steps of an episode, each with the values in its action and where they come from."""
    found: list[Moment] = []
    forms: list[str] = []
    for number, step in enumerate(steps):
        spans = tuple(_spans(goal, steps, number))
        found.append(Moment(step.action, spans, tuple(forms), shown(step.observation).outcome))
        forms.append(form_of(step.action, spans))
    return tuple(found)


def _spans(goal: str, steps: Sequence[DemoStep], number: int) -> list[tuple[int, int, Source]]:
    action = steps[number].action
    quoted = [_bare(action, *m.span(m.lastindex or 0)) for m in _QUOTED.finditer(action)]
    if (call := _CALL.fullmatch(action)) and (source := _source(call[1], goal, steps, number)):
        return [(call.start(1), call.end(1), source)]
    return [(a, b, source) for a, b in quoted if a < b and (source := _source(action[a:b], goal, steps, number))]


def _bare(action: str, start: int, end: int) -> tuple[int, int]:
    """The span of a quoted value without the wildcards around it."""
    text = action[start:end]
    return start + len(text) - len(text.lstrip(_WILD)), end - (len(text) - len(text.rstrip(_WILD)))


def _source(value: str, goal: str, steps: Sequence[DemoStep], number: int) -> Source | None:
    """The newest observation that has the value, or else the task."""
    for step in range(number, 0, -1):
        if value in shown(steps[step].observation).by_text:
            return Source(value, step)
    return Source(value, -1) if _told_of(value, goal) is not None else None


def _told_of(value: str, goal: str) -> Told | None:
    """The value in the task that is ``value``, or of which it is a part."""
    values, low = told(goal), value.casefold()
    exact = [one for one in values if one.text.casefold() == low]
    return next(iter([*exact, *(one for one in values if low in one.text.casefold())]), None)


def _alike(now: Moment, then: Moment) -> float:
    last = (now.forms[-1:] or ("",)) == (then.forms[-1:] or ("",))
    return PROGRESS * (now.forms == then.forms) + LAST * last + OUTCOME * (now.outcome == then.outcome)


def _asked(goal: str) -> frozenset[str]:
    """The words of a task's last sentence."""
    return stems((sentences(goal) or ("",))[-1])


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


@dataclass(frozen=True)
class Carried:
    """An action, or a value in one, about our things."""

    action: str
    loss: float
    """How loosely our things play their parts, in nats."""
    renamed: Mapping[str, str]
    """Their things, and what they are here."""


def _carry(view: View, window: Window, theirs: Sequence[Moment], index: int, pairs: Pointed) -> Carried | None:
    """The action of a moment about our things; None where a part has nobody to play it."""
    moment, at, parts, loss = theirs[index], 0, list[str](), 0.0
    renamed: dict[str, str] = {}
    for start, end, source in moment.spans:
        if source.step < 0:
            found = _same_told(source.value, window.goal, view.task.goal)
        else:
            found = _same_shown(view, window, theirs, source, pairs)
        if found is None:
            return None
        loss += found.loss
        renamed.update(found.renamed)
        parts += [moment.action[at:start], found.action]
        at = end
    return Carried("".join([*parts, moment.action[at:]]), loss, renamed)


def _same_told(value: str, theirs: str, ours: str) -> Carried | None:
    """The value of our task that is to it what ``value`` is to theirs."""
    then = _told_of(value, theirs)
    candidates = told(ours)
    if then is None or not candidates:
        return None

    def fit(one: Told) -> float:
        return (
            KIND * (one.kind == then.kind)
            + PLACE * (one.number == then.number)
            + MARKED * (one.marked == then.marked)
            + AROUND * len(one.around & then.around)
        )

    best = max(candidates, key=fit)
    text = best.text
    if "@" in then.text and "@" not in value:
        # Their action used the part before the sign only.
        text = text.partition("@")[0]
    return Carried(text, 0.0 if best.kind == then.kind else NOT_SO, {value: text})


def _same_shown(view: View, window: Window, theirs: Sequence[Moment], source: Source, pairs: Pointed) -> Carried | None:
    """The value of the corresponding observation that plays the part there which ``source`` played in theirs."""
    seen = _corresponding(view, theirs, source.step)
    if seen is None:
        return None
    there = shown(window.steps[source.step].observation)
    here = shown(seen)
    best: tuple[int, int, Leaf] | None = None
    for leaf in there.by_text.get(source.value, ())[:_OCCURRENCES]:
        for number, (words, _) in enumerate(_readings(window.goal, view.task.goal)):
            place = _places(window.steps[source.step].observation, leaf.path, leaf.marks, words)[leaf.row]
            if best is None or (place, number) < best[:2]:
                best = (place, number, leaf)
    if best is None:
        return None
    place, number, then = best
    words = _readings(window.goal, view.task.goal)[number][1]
    new = source.value.casefold() not in window.goal.casefold()
    places = _places(seen, then.path, then.marks, words)
    # Where demonstrations have shown which row is meant by such words, that row; else the one of the same rank.
    meant = _meant_rows(view.task.goal, seen, pairs)
    far = {row: 0 if row in meant else abs(at - place) + bool(meant) for row, at in places.items()}
    candidates = [
        (far[leaf.row], -like, order, leaf)
        for order, leaf in enumerate(here.by_path.get(then.path, ()))
        if (like := leaf.alike(then)) and not (new and leaf.text.casefold() in view.task.goal.casefold())
    ]
    if not candidates:
        return None
    off, _, _, leaf = min(candidates, key=lambda one: one[:3])
    loose = off > 0 or kind_of(leaf.text) != kind_of(source.value)
    ours = {(one.path, one.marks): one.text for one in here.leaves if one.row == leaf.row}
    named = ((one.text, ours.get((one.path, one.marks))) for one in there.leaves if one.row == then.row)
    renamed = {text: name for text, name in named if name is not None}
    return Carried(leaf.text, NOT_SO if loose else 0.0, {**renamed, source.value: leaf.text})


def _meant_rows(goal: str, observation: str, pairs: Pointed) -> frozenset[int]:
    """The rows of an observation that say what the rows said which demonstrations took for words like the task's; of
    several, those nearest to what the task tells."""
    here = shown(observation)
    pointing = _pointing(goal)
    if not pointing or not pairs:
        return frozenset()
    common = Counter(word for said, _ in pairs for word in said)
    votes: dict[frozenset[str], float] = {}
    for said, row in pairs:
        like = _weighed(said, pointing, common)
        if like >= SAME_WORDS:
            votes[row] = votes.get(row, 0.0) + like
    best = max((votes[row] for row in here.rows if row in votes), default=0.0)
    rows = [n for n, row in enumerate(here.rows) if best and votes.get(row) == best]
    if len(rows) < 2:
        return frozenset(rows)
    near = _nearness(goal, observation)
    nearest = max(near[n] for n in rows)
    return frozenset(n for n in rows if near[n] == nearest)


@lru_cache(maxsize=4096)
def _nearness(goal: str, observation: str) -> tuple[float, ...]:
    """How much each row of an observation has to do with what the task tells: values in common with the task, and with
    the rows that have most in common with it; values that few rows have count more."""
    here = shown(observation)
    values: list[set[str]] = [set() for _ in here.rows]
    for leaf in here.leaves:
        values[leaf.row].add(leaf.text.casefold())
    common = Counter(value for row in values for value in row)
    named = {one.text.casefold() for one in told(goal)}
    direct = [sum(1.0 / common[value] for value in sorted(row & named)) for row in values]
    most = max(direct, default=0.0)
    about = set[str]().union(*(row for row, score in zip(values, direct, strict=True) if most and score == most))
    return tuple(
        score + sum(1.0 / common[value] for value in sorted(row & about)) / (1 + len(row))
        for row, score in zip(values, direct, strict=True)
    )


def _weighed(one: frozenset[str], other: frozenset[str], common: Mapping[str, int]) -> float:
    """How alike two sentences are, from 0 to 1; words that few tasks have count more."""
    weight = {word: 1.0 / (1 + common.get(word, 0)) for word in sorted(one | other)}
    return sum(weight[word] for word in sorted(one & other)) / sum(weight.values()) if weight else 0.0


@lru_cache(maxsize=16_384)
def _pointing(goal: str) -> frozenset[str]:
    """The words by which a task says which of several rows it means: its last sentence but one, where there is one."""
    said = sentences(goal)
    return stems(said[-2]) if len(said) > 1 else frozenset()


@lru_cache(maxsize=4096)
def _pointed(goal: str, steps: tuple[DemoStep, ...]) -> tuple[frozenset[str], frozenset[str]] | None:
    """The words by which a demonstration's task points to a row, and what the row says that its last value came from;
    None where it came from no row, or its task does not say which."""
    pointing = _pointing(goal)
    for moment in reversed(moments(goal, steps)) if pointing else ():
        for *_, source in moment.spans:
            if source.step < 0:
                continue
            there = shown(steps[source.step].observation)
            if len(there.rows) < 2:
                continue
            rows = sorted({leaf.row for leaf in there.by_text.get(source.value, ())[:_OCCURRENCES]})
            places = ranks(stems(sentences(goal)[-2]), there.rows)
            row = there.rows[min(rows, key=lambda n: places[n])]
            return (pointing, row) if row else None
    return None


@lru_cache(maxsize=65_536)
def _places(
    observation: str, path: tuple[str | int, ...], marks: frozenset[str], words: frozenset[str]
) -> Mapping[int, int]:
    """The rows of an observation that have something to play a part, and the place of each by what it says of
    ``words``."""
    seen, part = shown(observation), Leaf("", path, marks, 0)
    rows = sorted({one.row for one in seen.by_path.get(path, ()) if one.alike(part)})
    return dict(zip(rows, ranks(words, [seen.rows[row] for row in rows]), strict=True))


def _corresponding(view: View, theirs: Sequence[Moment], step: int) -> str | None:
    """Our answer to the action whose answer was seen before their ``step``: the newest to an action of its form."""
    wanted = theirs[step].forms[-1] if theirs[step].forms else ""
    ours = moments(view.task.goal, _as_steps(view))
    turns: Sequence[Turn] = view.turns
    for moment, turn in zip(reversed(ours[:-1]), reversed(turns), strict=True):
        if moment.form == wanted:
            return turn.observation
    return None


@lru_cache(maxsize=16_384)
def _readings(theirs: str, ours: str) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """Ways to say which of several rows is meant: by the end of a task, by its beginning, by all of it."""
    return tuple(zip(_parts(theirs), _parts(ours), strict=True))


def _parts(goal: str) -> tuple[frozenset[str], ...]:
    said = sentences(goal)
    return (stems(" ".join(said[-2:])), stems(" ".join(said[:-1])), stems(goal))
