"""What lets many episodes share one local model: the queue, and the tree of actions. Needs no model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import MissingExtra, ModelError
from atlas.models.batcher import Batcher, Outcome
from atlas.models.ranking import trie
from atlas.models.tree import flatten
from atlas.records import Ask, Completion, Prompt, Reply, Task, View
from tests.waiting import meanwhile, until

END = 99


def ask(text: str, purpose: str = "act") -> Ask:
    view = View(task=Task(id="t", goal="g"), opening=text)
    return Ask(view=view, prompt=Prompt(), purpose=purpose)


class Echo:
    """Answers with the opening; fails on "bad"; breaks on "broken"; waits for ``gate`` before the first batch."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.begun, self.gate = threading.Event(), threading.Event()

    def __call__(self, asks: Sequence[Ask]) -> list[Outcome]:
        self.begun.set()
        self.gate.wait(60)
        texts = [a.view.opening for a in asks]
        self.batches.append(texts)
        if "broken" in texts:
            raise RuntimeError("broken")
        return [ModelError("bad") if t == "bad" else Completion(replies=(Reply(text=t),)) for t in texts]


async def together(batcher: Batcher, echo: Echo, asks: Sequence[Ask]) -> list[object]:
    tasks = [asyncio.create_task(batcher.ask(one)) for one in asks]
    assert await meanwhile(echo.begun.is_set)
    echo.gate.set()
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_what_waits_is_answered_together_by_kind_and_each_gets_its_own() -> None:
    echo = Echo()
    batcher = Batcher(echo, size=3, kind=lambda a: a.purpose, name="echo")
    asks = [ask(str(i), "plan" if i == 2 else "act") for i in range(7)]
    done = await together(batcher, echo, asks)
    assert [c.replies[0].text for c in done if isinstance(c, Completion)] == list("0123456")
    assert echo.batches == [["0", "1", "3"], ["2"], ["4", "5", "6"]]


async def test_one_failure_does_not_fail_the_batch_and_a_broken_batch_does_not_stop_the_queue() -> None:
    echo = Echo()
    batcher = Batcher(echo, size=2, kind=lambda a: a.purpose, name="echo")
    done = await together(batcher, echo, [ask("a"), ask("bad"), ask("broken"), ask("b"), ask("c")])
    assert [type(one) for one in done] == [Completion, ModelError, RuntimeError, RuntimeError, Completion]


def test_it_serves_one_event_loop_after_another() -> None:
    echo = Echo()
    echo.gate.set()
    batcher = Batcher(echo, size=2, kind=lambda a: a.purpose, name="echo")
    for text in ("first", "second"):
        assert asyncio.run(batcher.ask(ask(text))).replies[0].text == text


async def test_an_ask_whose_caller_is_gone_is_dropped() -> None:
    echo = Echo()
    batcher = Batcher(echo, size=1, kind=lambda a: a.purpose, name="echo")
    tasks = [asyncio.create_task(batcher.ask(ask(text))) for text in "abc"]
    assert await meanwhile(echo.begun.is_set)
    tasks[1].cancel()
    echo.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert echo.batches == [["a"], ["c"]]


def run_beside(work: Coroutine[Any, Any, object], into: list[object]) -> threading.Thread:
    """``work`` on an event loop of its own, in a thread of its own."""
    thread = threading.Thread(target=lambda: into.append(asyncio.run(work)), daemon=True)
    thread.start()
    return thread


def test_several_event_loops_at_once_are_all_served() -> None:
    echo = Echo()
    batcher = Batcher(echo, size=4, kind=lambda a: a.purpose, name="echo")

    async def several(name: str) -> list[str]:
        done = await asyncio.gather(*(batcher.ask(ask(f"{name}{i}")) for i in range(5)))
        return [one.replies[0].text for one in done]

    found: list[object] = []
    threads = [run_beside(several(name), found) for name in "abc"]
    assert until(lambda: len(batcher._waiting) > 10), "the first batch is under way, and the others wait"
    echo.gate.set()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, found)) == [str([f"{name}{i}" for i in range(5)]) for name in "abc"]


@pytest.mark.parametrize("cancelled", [True, False])
def test_what_a_finished_loop_leaves_behind_holds_up_nobody_and_is_let_go(cancelled: bool) -> None:
    echo = Echo()
    batcher = Batcher(echo, size=1, kind=lambda a: a.purpose, name="echo")
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(batcher.ask(ask(text))) for text in ("left 1", "left 2")]
    assert loop.run_until_complete(meanwhile(echo.begun.is_set))
    if cancelled:
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()
    found: list[object] = []
    thread = run_beside(batcher.ask(ask("here")), found)
    assert until(lambda: any(one.ask.view.opening == "here" for one in list(batcher._waiting)))
    echo.gate.set()
    thread.join(60)
    assert isinstance(found[0], Completion) and found[0].replies[0].text == "here"
    assert echo.batches == [["left 1"], ["here"]]
    assert not batcher._waiting
    del tasks


class Refusing:
    """Fails whole batches."""

    def __init__(self, error: Exception, *, raises: bool) -> None:
        self.error, self.raises = error, raises

    def __call__(self, asks: Sequence[Ask]) -> list[Outcome]:
        if self.raises:
            raise self.error
        assert isinstance(self.error, ModelError)
        return [self.error] * len(asks)


@pytest.mark.parametrize("raises", [True, False])
async def test_each_ask_has_an_error_of_its_own(raises: bool) -> None:
    batcher = Batcher(Refusing(ModelError("no room"), raises=raises), size=3, kind=lambda a: a.purpose, name="no")
    done = await asyncio.gather(*(batcher.ask(ask(text)) for text in "abc"), return_exceptions=True)
    assert [(type(one), str(one)) for one in done] == [(ModelError, "no room")] * 3
    assert len({id(one) for one in done}) == 3


async def test_an_error_whose_constructor_takes_something_else_keeps_what_it_says() -> None:
    batcher = Batcher(Refusing(MissingExtra("torch", "hf"), raises=True), size=2, kind=lambda a: a.purpose, name="no")
    done = await asyncio.gather(*(batcher.ask(ask(text)) for text in "ab"), return_exceptions=True)
    assert [(type(one), "pip install" in str(one), vars(one)["extra"]) for one in done] == [
        (MissingExtra, True, "hf")
    ] * 2


actions = st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=12, unique_by=tuple)


@given(actions, st.integers(0, 3), st.integers(1, 3))
def test_each_token_of_the_tree_sees_the_prompt_and_its_own_ancestors(
    words: list[list[int]], before: int, fresh: int
) -> None:
    sequences = [(*word, END) for word in words]
    tree = flatten(trie(sequences), len(sequences))
    seen = tree.visible(before, fresh)
    prompt = before + fresh
    assert seen.shape == (fresh + len(tree.tokens), prompt + len(tree.tokens))
    for sequence, path in zip(sequences, tree.paths, strict=True):
        rows = [row for row, _ in path]
        assert tuple(token for _, token in path) == sequence and rows[0] == 0
        for depth, row in enumerate(rows[1:], 1):
            assert tree.tokens[row - 1] == sequence[depth - 1] and tree.depths[row - 1] == depth
            line = seen[fresh + row - 1]
            assert line[:prompt].all()
            assert [i + 1 for i in line[prompt:].nonzero()[0]] == sorted(rows[1 : depth + 1])
    for i in range(fresh):
        assert list(seen[i].nonzero()[0]) == list(range(before + i + 1))


def test_a_tree_shares_what_actions_share() -> None:
    sequences = [(1, 2, END), (1, 3, END), (4, END)]
    assert len(flatten(trie(sequences), 3).tokens) == 4
    with pytest.raises(IndexError):
        flatten(trie(sequences), 2)
