"""Wrapped agents under many threads, tasks, conversations and processes."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

import atlas
from atlas.budget import Budget
from atlas.errors import ConfigError
from atlas.memory import DemonstrationStore
from atlas.records import Ask, Completion, Stop
from atlas.testing import ScriptedModel, SlowModel
from atlas.traces.reader import Run
from tests.waiting import PATIENCE
from tests.wrap_fixtures import TOOLS, call, in_two_steps, says, split, two_step_loop, user


@pytest.fixture
def memory() -> Iterator[DemonstrationStore]:
    with DemonstrationStore(":memory:", embedder="hash") as store:
        yield store


# --- many at once -----------------------------------------------------------------------------------------------------


def test_many_threads_share_an_agent(tmp_path: Path, memory: DemonstrationStore) -> None:
    agent = atlas.Agent(
        ScriptedModel(split),
        ScriptedModel(in_two_steps),
        memory=memory,
        run=tmp_path / "run",
        run_budget=Budget(tokens=10**9),
    )

    def serve(number: int) -> None:
        with agent.episode(goal=f"refund {number}", task=str(number)) as episode:
            two_step_loop(episode.client)
            episode.succeed()

    with agent, ThreadPoolExecutor(8) as pool:
        list(pool.map(serve, range(40)))
    episodes = Run(tmp_path / "run").episodes()
    assert len(episodes) == len(memory) == 40
    assert all([s.index for s in e.steps] == [0, 1] and e.result and e.result.success for e in episodes)
    spent = sum(s.usage.tokens for e in episodes for s in e.spend)
    assert agent.meter.used.tokens == spent


async def test_many_tasks_share_an_agent() -> None:
    asked, together = 0, asyncio.Event()

    class Together(ScriptedModel):
        """Answers nobody before eleven have asked: if they came one after the other, nobody would ever be answered."""

        async def sample(self, ask: Ask) -> Completion:
            nonlocal asked
            asked += 1
            if asked > 10:
                together.set()
            await together.wait()
            return await super().sample(ask)

    agent = atlas.Agent(Together(says("hi")))

    async def serve(number: int) -> atlas.Episode | None:
        async with agent.episode(goal=str(number)) as episode:
            await episode.async_client.chat.completions.create(model="m", messages=user())
            episode.succeed()
        return episode.result

    async with asyncio.timeout(120):
        results = await asyncio.gather(*(serve(i) for i in range(50)))
    assert all(r is not None and r.success and r.steps == 1 for r in results) and asked == 50


async def test_conversations_held_at_once_in_one_episode_find_their_own_outcomes() -> None:
    model = SlowModel(ScriptedModel(lambda a: call("look_up", json.dumps({"q": a.view.opening}))), latency=0.01)
    agent = atlas.Agent(model)
    async with agent.episode(goal="g") as episode:
        create = episode.async_client.chat.completions.create

        async def subagent(name: str) -> None:
            messages = user(name)
            for _ in range(2):
                message = (await create(model="m", messages=messages, tools=TOOLS)).choices[0].message
                assert message.tool_calls
                messages += [
                    message,
                    {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": f"saw {name}"},
                ]

        await asyncio.gather(subagent("left"), subagent("right"))
    known = [s for s in episode.steps if s.outcome.text]
    assert len(episode.steps) == 4 and len(known) == 2
    assert all(f'"{s.outcome.text.removeprefix("saw ")}"' in s.decision.action for s in known)


def test_text_agents_that_edit_their_words_find_their_outcomes() -> None:
    model = ScriptedModel(says("Thought: look\nAction: look\nObservation: made up"))
    with atlas.Agent(model) as agent, agent.episode(goal="g") as episode:
        messages = user()
        for answer in ("a room", "a door"):
            text = episode.client.chat.completions.create(model="m", messages=messages).choices[0].message.content or ""
            cut = text.partition("\nObservation:")[0]
            messages += [{"role": "assistant", "content": cut}, {"role": "user", "content": answer}]
    assert [s.outcome.text for s in episode.steps] == ["a room", ""]


def test_what_was_said_before_is_kept_once() -> None:
    with atlas.Agent(ScriptedModel(says("ok"))) as agent, agent.episode(goal="g") as episode:
        messages = user("a long story")
        for number in range(4):
            episode.client.chat.completions.create(model="m", messages=messages)
            episode.client.chat.completions.create(model="m", messages=user(f"a subagent's {number}"))
            messages += [{"role": "assistant", "content": "ok"}, *user(f"more {number}")]
    first, last = episode.steps[0].decision.prompt.history, episode.steps[6].decision.prompt.history
    assert len(last) == 7 and last[0] is first[0] and last[3] is episode.steps[4].decision.prompt.history[3]


def test_a_closed_agent_leaves_no_thread_and_serves_again() -> None:
    before = set(threading.enumerate())
    agent = atlas.Agent(ScriptedModel(says("hi")))
    for _ in range(2):
        with agent.episode(goal="g") as episode:
            episode.client.chat.completions.create(model="m", messages=user())
        agent.close()
        assert not [t for t in threading.enumerate() if t.name == "atlas-wrap" and t not in before]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_agent_is_closed_by_the_last_of_its_blocks_wherever_that_ends(tmp_path: Path) -> None:
    agent = atlas.Agent(ScriptedModel(says("hi")), run=tmp_path / "run")
    inside, go = threading.Barrier(3, timeout=PATIENCE), threading.Event()

    def serve() -> None:
        with agent:
            inside.wait()
            go.wait()
            with atlas.episode("thread") as episode:
                two = episode.client.chat.completions.create(model="m", messages=user())
                assert two.choices[0].message.content == "hi"

    with ThreadPoolExecutor(2) as pool:
        threads = [pool.submit(serve) for _ in range(2)]
        try:
            with agent:
                inside.wait()
                with agent, atlas.episode("within"):
                    pass
                with atlas.episode("after"):
                    pass
        finally:
            go.set()
        for thread in threads:
            thread.result()
    assert len(Run(tmp_path / "run").results()) == 4
    with pytest.raises(ConfigError, match="this agent is closed"):
        agent.episode("late")


def test_a_block_that_another_thread_leaves_is_left(tmp_path: Path) -> None:
    agent = atlas.Agent(ScriptedModel(says("hi")), run=tmp_path / "run")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(agent.__enter__).result()
    agent.__exit__()
    with pytest.raises(ConfigError, match="this agent is closed"):
        agent.episode("late")


async def test_an_episode_that_is_cancelled_while_it_ends_is_recorded(tmp_path: Path) -> None:
    go = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    ending = asyncio.Event()

    async def serve(agent: atlas.Agent) -> None:
        async with agent.episode("g") as episode:
            await episode.async_client.chat.completions.create(model="m", messages=user())
            episode.succeed()
            busy.append(loop.run_in_executor(None, go.wait))
            ending.set()

    busy: list[asyncio.Future[bool]] = []
    with atlas.Agent(ScriptedModel(says("hi")), run=tmp_path / "run") as agent:
        task = asyncio.create_task(serve(agent))
        await ending.wait()
        await asyncio.sleep(0)  # it waits for a thread, and the only one is busy
        task.cancel()
        loop.call_soon(go.set)
        with pytest.raises(asyncio.CancelledError):
            await task
        await busy[0]
    (result,) = Run(tmp_path / "run").results()
    assert (result.stop, result.score) == (Stop.DONE, 1.0)


async def test_an_episode_that_is_cancelled_twice_is_recorded(tmp_path: Path) -> None:
    begun, given_up, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow(ScriptedModel):
        async def sample(self, ask: Ask) -> Completion:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
                await go.wait()  # what it used is told by its provider
            raise AssertionError

    async def serve(agent: atlas.Agent) -> None:
        async with agent.episode("g") as episode:
            calls.append(
                asyncio.ensure_future(episode.async_client.chat.completions.create(model="m", messages=user()))
            )
            await begun.wait()

    calls: list[asyncio.Future[object]] = []
    with atlas.Agent(Slow(says("hi")), run=tmp_path / "run") as agent:
        task = asyncio.create_task(serve(agent))
        await given_up.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
        await asyncio.wait(calls)
        calls[0].exception()
    (result,) = Run(tmp_path / "run").results()
    assert result.stop is Stop.DONE


def test_an_agent_made_before_a_fork_serves_in_the_child() -> None:
    agent = atlas.Agent(ScriptedModel(says("hi")))
    with agent, agent.episode(goal="g") as episode:
        episode.client.chat.completions.create(model="m", messages=user())
        child = os.fork()
        if child == 0:
            try:
                episode.client.chat.completions.create(model="m", messages=user())
            except openai.BadRequestError as error:
                # Its steps would be in no trace, and its cost in no account.
                assert "of the process that began it" in str(error)
                with agent.episode(goal="of the child") as own:
                    reply = own.client.chat.completions.create(model="m", messages=user())
                os._exit(0 if reply.choices[0].message.content == "hi" and own.steps else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
