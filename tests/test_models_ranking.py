"""The search for the most probable actions finds what scoring every action would find, and draws by seed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.errors import ModelError
from atlas.models.chat import plain_turns, seed_of
from atlas.models.fit import fit
from atlas.models.ranking import RANKS, best_first, draw, trie
from atlas.records import Ask, Message, Prompt, Rank, Task, ToolCall, View

END = 99


def logprob(path: tuple[int, ...], token: int) -> float:
    """A made-up language model over the tokens 0 to 9 and the end of the turn."""
    weights = {t: 1 + hash((path, t)) % 50 for t in (*range(10), END)}
    return math.log(weights[token] / sum(weights.values()))


def total(sequence: tuple[int, ...]) -> float:
    return sum(logprob(sequence[:i], token) for i, token in enumerate(sequence))


actions = st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=20, unique_by=tuple)


@settings(max_examples=100, deadline=None)
@given(actions, st.sampled_from([0.0, 0.1, 1.0]), st.integers(1, 4), st.sampled_from(RANKS))
def test_search_agrees_with_scoring_every_action(
    words: list[list[int]], temperature: float, width: int, rank: Rank
) -> None:
    sequences = [(*word, END) for word in words]

    def expand(path: tuple[int, ...], wanted: frozenset[int], effort: int) -> tuple[dict[int, float], float]:
        top = sorted(((logprob(path, t), t) for t in (*range(10), END)), reverse=True)
        shown = top[: width * (effort + 1)]
        rest = shown[-1][0] if len(shown) < len(top) else -math.inf
        return {t: lp for lp, t in shown if t in wanted}, rest

    def score(sequence: tuple[int, ...]) -> float:
        return total(sequence) / (len(sequence) if rank == "mean" else 1)

    ranked = best_first(trie(sequences), expand, temperature=temperature, rank=rank)
    exact = sorted(map(score, sequences), reverse=True)
    assert [lp for _, lp in ranked] == pytest.approx(exact[: len(ranked)])
    assert all(lp == pytest.approx(score(sequences[i])) for i, lp in ranked)
    # What was left out could not have changed a draw.
    if temperature:
        masses = [math.exp((lp - exact[0]) / temperature) for lp in exact]
        assert sum(masses[len(ranked) :]) <= 1e-3 * sum(masses) + 1e-12


def test_a_draw_is_fixed_by_its_seed_and_follows_the_temperature() -> None:
    ranked = [(0, -1.0), (1, -2.0)]
    assert draw(ranked, 0.0, seed=1) == (0, -1.0)
    drawn = [draw(ranked, 1.0, seed)[0] for seed in range(4000)]
    assert drawn == [draw(ranked, 1.0, seed)[0] for seed in range(4000)]
    assert sum(drawn) / 4000 == pytest.approx(1 / (1 + math.e), abs=0.03)


def test_sequential_samples_are_those_of_one_call() -> None:
    view = View(task=Task(id="t", goal="g"), opening="", seed=3)
    together = Ask(view=view, prompt=Prompt(), n=3)
    alone = [Ask(view=view, prompt=Prompt(), first=i) for i in range(3)]
    assert [seed_of(together, i) for i in range(3)] == [seed_of(ask, 0) for ask in alone]
    assert len({seed_of(together, i) for i in range(100)}) == 100


def words(prompt: Prompt) -> int:
    return len(prompt.text().split())


def long_prompt(turns: int = 40) -> Prompt:
    history = [Message(role="user", content="task " * 20)]
    for i in range(turns):
        history += [Message(role="assistant", content=f"act {i}"), Message(role="user", content=f"seen {i}")]
    return Prompt(stable="rules", history=tuple(history), retrieved="head\n\nfirst one\n\nsecond one", ask="ask")


@given(st.integers(45, 220))
def test_a_long_prompt_loses_examples_first_then_old_turns(limit: int) -> None:
    whole = long_prompt()
    cut = fit(whole, words, limit, "m")
    assert words(cut) <= limit
    assert cut.history[0] == whole.history[0] and cut.history[-1] == whole.history[-1]
    assert cut.stable == whole.stable and cut.ask == whole.ask
    if len(cut.history) < len(whole.history):
        assert cut.retrieved == ""


def test_a_prompt_that_cannot_fit_ends_in_a_sentence() -> None:
    with pytest.raises(ModelError, match=r"'m' has room for 5 prompt tokens"):
        fit(long_prompt(), words, 5, "m")


def test_turns_for_templates_alternate_and_keep_tool_calls_as_text() -> None:
    messages = [
        Message(role="system", content="s"),
        Message(role="user", content="a"),
        Message(role="user", content="b"),
        Message(role="assistant", tool_calls=(ToolCall(name="look", arguments="{}"),)),
        Message(role="tool", content="seen"),
        Message(role="system", content="late"),
    ]
    assert plain_turns(messages) == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a\nb"},
        {"role": "assistant", "content": "look({})"},
        {"role": "user", "content": "seen\nlate"},
    ]
    assert plain_turns([]) == [{"role": "user", "content": ""}]
