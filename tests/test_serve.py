"""The server: which episode a call belongs to, scores, keys, bounds, and what bad input is answered."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from atlas.errors import ConfigError, StoreError
from atlas.records import Stop
from atlas.testing import FlakyModel, ScriptedModel, SlowModel
from atlas.traces import Run
from tests.serve_fixtures import CHAT, KEY, Held, Limits, Serving, Tenant, Tenants, ask, atlas, chat, hang_up, serving
from tests.waiting import until
from tests.wrap_fixtures import in_two_steps, says, two_step_loop


def echo(ask: Any) -> str:
    return f"answer {ask.view.index} to {ask.view.opening}"


# --- the real client --------------------------------------------------------------------------------------------------


def test_a_loop_points_its_client_at_the_server_and_is_an_episode(tmp_path: Path) -> None:
    agent = atlas.Agent(ScriptedModel(in_two_steps, name="small"), run=tmp_path / "run")
    with serving(agent, KEY) as (server, tenant):
        client = openai.OpenAI(base_url=f"{server.url}/e/first/v1", api_key=KEY)
        assert two_step_loop(client) == "Refunded."
        path = "/v1/atlas/episodes/first"
        status, _, told = ask(server.url, path, authorization=f"Bearer {KEY}")
        assert (status, told["open"], told["steps"]) == (200, True, 1)
        status, _, told = ask(server.url, f"{path}/score", {"score": 1.0}, authorization=f"Bearer {KEY}")
        assert (status, told["success"], told["steps"], told["open"]) == (200, True, 2, False)
        assert len(tenant.episodes) == 0
        assert [m.id for m in client.models.list()] == ["atlas"]
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None and stored.result.score == 1.0
    assert [s.outcome.text for s in stored.steps] == ["refund ok", ""]
    assert stored.task.goal == "refund A1", "the first user turn"


def test_streams_over_http() -> None:
    with serving(atlas.Agent(ScriptedModel(says("hi")))) as (server, _):
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any")
        messages: Any = [{"role": "user", "content": "hello"}]
        chunks = list(client.chat.completions.create(model="m", messages=messages, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "hi"


def test_a_stream_that_waits_is_kept_alive_and_an_error_in_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.wire.app.PATIENCE", 0.05)
    slow = SlowModel(ScriptedModel(["late"]), latency=0.2)
    with serving(atlas.Agent(slow)) as (server, _):
        _, _, text = ask(server.url, CHAT, chat("hello", stream=True))
        assert text.startswith(": keep-alive\n\n") and text.endswith("data: [DONE]\n\n") and '"late"' in text
        _, _, text = ask(server.url, CHAT, chat("another", stream=True))
    last = json.loads(text.strip().rpartition("data: ")[2])
    assert last["error"]["type"] == "server_error" and "IndexError" in last["error"]["message"]


# --- which episode ----------------------------------------------------------------------------------------------------


def test_a_path_a_header_and_a_session_name_the_episode() -> None:
    with serving(atlas.Agent(ScriptedModel(echo))) as (server, tenant):
        ids = [
            ask(server.url, f"/e/one{CHAT}", chat("a"))[1]["x-atlas-episode"],
            ask(server.url, f"/e/one{CHAT}", chat("b"))[1]["x-atlas-episode"],
            ask(server.url, CHAT, chat("a"), x_atlas_episode="one")[1]["x-atlas-episode"],
            ask(server.url, CHAT, chat("a"), session_id="two", x_atlas_goal="a%20goal")[1]["x-atlas-episode"],
            ask(server.url, CHAT, chat("c"), session_id="two")[1]["x-atlas-episode"],
        ]
        goals = {opened.name: opened.episode.goal for opened in tenant.episodes.opened}
    assert ids[0] == ids[1] == ids[2] != ids[3] == ids[4] and goals == {"one": "a", "two": "a goal"}


def test_a_conversation_that_grows_is_one_episode_and_the_same_opening_twice_is_two() -> None:
    with serving(atlas.Agent(ScriptedModel(echo))) as (server, _):

        def said(*texts: str, system: str = "S") -> tuple[str, dict[str, str]]:
            body = chat(*texts)
            body["messages"].insert(0, {"role": "system", "content": system})
            _, headers, answer = ask(server.url, CHAT, body)
            return answer["choices"][0]["message"]["content"], headers

        first, one = said("hello")
        _, other = said("hello")
        second, again = said("hello", first, "and now", system="it is 10:01")
        _, third = said("hello", first, "and now", second, "more", system="it is 10:02")
        _, drawn = said("hello", first, "and now", second, "more")
    assert one["x-atlas-episode"] != other["x-atlas-episode"]
    assert again["x-atlas-episode"] in (one["x-atlas-episode"], other["x-atlas-episode"])
    assert again["x-atlas-episode"] == third["x-atlas-episode"] == drawn["x-atlas-episode"]
    assert "x-atlas-history" not in third


def test_a_compacted_history_is_the_same_episode_and_is_said() -> None:
    long = "I looked at every file of the project and found that the parser drops the last line of its input. " * 2
    model = ScriptedModel([long, "ok", "done"])
    with serving(atlas.Agent(model)) as (server, tenant):
        body = chat("fix the parser", long, "sum up")
        first = ask(server.url, CHAT, chat("fix the parser"))[1]
        assert ask(server.url, CHAT, body)[1]["x-atlas-episode"] == first["x-atlas-episode"]
        compacted = ask(server.url, CHAT, chat(f"Go on. So far: {long}"))[1]
        assert compacted["x-atlas-episode"] == first["x-atlas-episode"]
        assert compacted["x-atlas-history"] == "rewritten" and len(tenant.episodes) == 1


def test_idle_episodes_end_unscored_and_may_be_scored_late_and_again(tmp_path: Path) -> None:
    memory = atlas.Memory(tmp_path / "memory.sqlite", "hash")
    agent = atlas.Agent(ScriptedModel(echo), memory=memory, run=tmp_path / "run")
    with memory, serving(agent, idle=0.2) as (server, tenant):
        id = ask(server.url, CHAT, chat("hello"))[1]["x-atlas-episode"]
        assert until(lambda: not len(tenant.episodes)) and not len(memory.demonstrations)
        assert until(lambda: Run(tmp_path / "run").results())
        (ended,) = Run(tmp_path / "run").results()
        assert (ended.id, ended.stop, ended.score) == (id, Stop.DONE, None)
        assert ask(server.url, f"/v1/atlas/episodes/{id}/score", {"score": 1.0})[2]["success"] is True
        assert len(memory.demonstrations) == 1
        assert [row.success for row in memory.outcomes.all()] == [True]
        assert ask(server.url, f"/v1/atlas/episodes/{id}/score", {"score": 0.5})[2]["score"] == 0.5
        assert [(row.success, row.unaided) for row in memory.outcomes.all()] == [(False, 0.0)]
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None and stored.result.score == 0.5
    assert [r.score for r in Run(tmp_path / "run").results()] == [0.5]


def test_an_episode_that_is_over_is_found_by_its_name() -> None:
    with serving(atlas.Agent(ScriptedModel(echo))) as (server, _):
        at = "/v1/atlas/episodes/ticket-17"
        ids = []
        for score in (0.0, 1.0):
            ids.append(ask(server.url, f"/e/ticket-17{CHAT}", chat("hello"))[1]["x-atlas-episode"])
            assert ask(server.url, f"{at}/score", {"score": score})[2]["score"] == score
        told = ask(server.url, at)[2]
        assert ids[0] != ids[1] and (told["id"], told["open"], told["score"]) == (ids[1], False, 1.0), "the newest"
        assert ask(server.url, f"{at}/score", {"score": 0.5})[2]["score"] == 0.5
        assert ask(server.url, f"{at}/score", {"score": 10**400})[0] == 400
        assert ask(server.url, f"/v1/atlas/episodes/{ids[0]}")[2]["score"] == 0.0


def test_an_episode_that_cannot_be_learned_from_keeps_no_other_open(caplog: pytest.LogCaptureFixture) -> None:
    class Full(atlas.Memory):
        """A memory whose disk is full."""

        def keep(self, *args: Any, **more: Any) -> Any:
            raise StoreError("the memory cannot be written (disk full): free disk space")

    agent = atlas.Agent(ScriptedModel(echo), memory=(memory := Full(":memory:", "hash")))
    with memory, serving(agent, idle=1.0) as (server, tenant):
        for turn in range(2):
            ask(server.url, f"/e/e{turn}{CHAT}", chat("hello"))
            ask(server.url, f"/v1/atlas/episodes/e{turn}/score", {"score": 1.0, "end": False})
            assert until(lambda: not len(tenant.episodes))
            assert f"episode {ask(server.url, f'/v1/atlas/episodes/e{turn}')[2]['id']} has ended" in caplog.text
        ask(server.url, f"/e/last{CHAT}", chat("hello"))
        status, _, told = ask(server.url, "/v1/atlas/episodes/last/score", {"score": 1.0})
        assert status == 500 and "disk full" in told["error"]["message"], "whoever scores it is told"


# --- retries ----------------------------------------------------------------------------------------------------------


def test_a_retry_is_the_same_step_whether_it_says_so_or_its_client_hung_up() -> None:
    model = Held(ScriptedModel(echo))
    model.let.set()
    with serving(atlas.Agent(model)) as (server, tenant), ThreadPoolExecutor(1) as pool:
        body = chat("hello")
        path = f"/e/one{CHAT}"
        first = ask(server.url, path, body)[2]
        again = ask(server.url, path, body, x_stainless_retry_count="1")[2]
        assert again == first
        model.let.clear()
        hang_up(server.port, path, chat("other"), lambda: model.asked == 2)
        assert until(lambda: not tenant.under_way)
        other = pool.submit(ask, server.url, path, chat("other"))
        assert until(lambda: tenant.under_way)
        model.let.set()
        assert other.result()[0] == 200
        (opened,) = tenant.episodes.opened
        spent = opened.episode.book.spent
    assert spent[0].usage.calls == 2


def test_a_retry_of_the_first_call_of_an_unnamed_conversation_begins_no_other() -> None:
    model = Held(ScriptedModel(echo))
    with serving(atlas.Agent(model)) as (server, tenant), ThreadPoolExecutor(1) as pool:
        hang_up(server.port, CHAT, chat("hello"), lambda: model.asked)
        assert until(lambda: not tenant.under_way)
        hello = pool.submit(ask, server.url, CHAT, chat("hello"))
        assert until(lambda: tenant.under_way)
        model.let.set()
        _, headers, _ = hello.result()
        assert [opened.id for opened in tenant.episodes.opened] == [headers["x-atlas-episode"]]
        _, again, _ = ask(server.url, CHAT, chat("hello"), x_stainless_retry_count="1")
        _, other, _ = ask(server.url, CHAT, chat("hello"))
    assert again["x-atlas-episode"] == headers["x-atlas-episode"] != other["x-atlas-episode"]


def test_a_call_that_nobody_waits_for_is_given_up_after_a_while_and_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.wire.calls.LINGER", 0.1)

    class Watched(Held):
        async def sample(self, ask: Any) -> Any:
            import asyncio

            try:
                return await super().sample(ask)
            except asyncio.CancelledError:
                ask.paid(atlas.Usage(calls=1, prompt_tokens=7, unmetered=1))
                raise

    model = Watched(ScriptedModel("x"))
    with serving(atlas.Agent(model)) as (server, tenant):
        hang_up(server.port, f"/e/one{CHAT}", chat("hello"), lambda: model.asked)
        (opened,) = tenant.episodes.opened
        assert until(lambda: opened.episode.book.spent)
        assert opened.episode.book.spent[0].usage.prompt_tokens == 7


def test_a_client_that_hangs_up_in_mid_stream_leaves_nothing_behind() -> None:
    from atlas.testing import ChatServer, Say

    with ChatServer(Say("word " * 200, pause=0.02)) as upstream:
        model = atlas.load(
            "openai/small", base_url=upstream.url, api_key="x", price=atlas.Price(prompt=1, completion=1)
        )
        with serving(atlas.Agent(model)) as (server, tenant):
            client = openai.OpenAI(base_url=f"{server.url}/e/one/v1", api_key="any")
            messages: Any = [{"role": "user", "content": "hello"}]
            stream = client.chat.completions.create(model="m", messages=messages, stream=True)
            for _, _ in zip(range(3), stream, strict=False):
                pass
            stream.close()
            assert until(lambda: not tenant.under_way)
            # It goes on for a while: who asks again shall have it.
            answer = client.chat.completions.create(model="m", messages=messages, stream=True)
            text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
            assert text.split() == ["word"] * 200 and len(upstream.requests) == 1
            (opened,) = tenant.episodes.opened
            assert opened.episode.book.spent[0].usage.calls == 1


def test_a_slow_reader_holds_up_nobody() -> None:
    with serving(atlas.Agent(ScriptedModel(says("x" * 4_000_000)))) as (server, _):
        data = json.dumps(chat("hello", stream=True)).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", server.port)) as slow:
            slow.sendall(head + data)
            time.sleep(0.3)  # it reads nothing
            assert ask(server.url, "/health")[0] == 200


# --- keys and tenants -------------------------------------------------------------------------------------------------


def test_no_tenant_reaches_anything_of_another(tmp_path: Path) -> None:
    keys = {"ann": "key-of-ann-0123456789", "bob": "key-of-bob-0123456789"}
    tenants = [
        Tenant(name, atlas.Agent(ScriptedModel(says(f"for {name}")), run=tmp_path / name), [key], Limits())
        for name, key in keys.items()
    ]
    with Serving(Tenants(tenants)) as server:
        told = {}
        for name, key in keys.items():
            _, headers, answer = ask(server.url, f"/e/same{CHAT}", chat("hello"), authorization=f"Bearer {key}")
            told[name] = headers["x-atlas-episode"], answer["choices"][0]["message"]["content"]
        assert told["ann"][1] == "for ann" and told["bob"][1] == "for bob" and told["ann"][0] != told["bob"][0]
        score = f"/v1/atlas/episodes/{told['ann'][0]}/score"
        status, _, answer = ask(server.url, score, {"score": 0}, x_api_key=keys["bob"])
        assert status == 404 and answer["error"]["type"] == "not_found_error"
        for key in ("", "wrong", keys["ann"] + "x"):
            status, _, answer = ask(server.url, CHAT, chat("x"), authorization=f"Bearer {key}")
            assert status == 401 and answer["error"]["code"] == "invalid_api_key"
        assert ask(server.url, "/v1/messages", {}, x_api_key="wrong")[2]["type"] == "error"
        assert ask(server.url, "/metrics", authorization=f"Bearer {keys['ann']}")[0] == 403
        assert ask(server.url, "/health")[0] == 200
    assert len(Run(tmp_path / "ann").episodes()) == len(Run(tmp_path / "bob").episodes()) == 1


def test_without_a_key_only_programs_of_this_machine_are_answered() -> None:
    with serving(atlas.Agent(ScriptedModel(says("hi")))) as (server, _):
        for headers in (
            {"host": "evil.example"},
            {"origin": "https://evil.example"},
            {"host": "[::1"},
            {"origin": "http://[x"},
        ):
            status, _, answer = ask(server.url, CHAT, chat("x"), **headers)
            assert status == 403 and answer["error"]["type"] == "permission_error"
        assert ask(server.url, CHAT, chat("x"), origin="http://localhost:3000")[0] == 200
    with pytest.raises(ConfigError, match="could be called from other machines"):
        Serving(Tenants([Tenant("default", atlas.Agent(ScriptedModel(says("hi"))))]), host="0.0.0.0")


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_bounds_are_answered_as_the_apis_do() -> None:
    with serving(atlas.Agent(ScriptedModel(says("hi"))), body=500) as (server, _):
        status, _, answer = ask(server.url, CHAT, chat("x" * 600))
        assert status == 413 and answer["error"]["type"] == "request_too_large"
    held = Held(ScriptedModel(says("hi")))
    with serving(atlas.Agent(held), episodes=1, calls=2) as (server, tenant):
        hang_up(server.port, f"/e/one{CHAT}", chat("x"), lambda: held.asked)
        status, headers, answer = ask(server.url, f"/e/two{CHAT}", chat("x"))
        assert status == 429 and "all are at work" in answer["error"]["message"] and "retry-after" in headers
        held.let.set()
    with serving(atlas.Agent(ScriptedModel(says("hi"))), episodes=2) as (server, tenant):
        assert [ask(server.url, f"/e/{i}{CHAT}", chat("x"))[0] for i in range(3)] == [200, 200, 200]
        assert [opened.name for opened in tenant.episodes.opened] == ["1", "2"], "the longest idle one has ended"
        assert [ask(server.url, f"/e/{i}{CHAT}", chat("y"))[0] for i in (1, 3)] == [200, 200]
        assert [opened.name for opened in tenant.episodes.opened] == ["1", "3"], "not the one that was used since"
        assert not any(opened.episode.steps for opened in tenant.episodes.opened), "no memory is to learn from them"
    with serving(atlas.Agent(ScriptedModel(says("hi"))), rate=0.1) as (server, _):
        status, headers, answer = [ask(server.url, CHAT, chat("x")) for _ in range(2)][1]
        assert (status, answer["error"]["type"], headers["retry-after"]) == (429, "rate_limit_error", "1")


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (CHAT, b"{", 400, "no JSON"),
        (CHAT, b"[1]", 400, "JSON list"),
        (CHAT, b"[" * 100_000, 400, "no JSON"),
        (CHAT, b"\xff\xfe", 400, "no JSON"),
        (CHAT, {"model": "m"}, 400, "'messages' is a list"),
        (CHAT, {"model": "m", "messages": "x"}, 400, "'messages' is a list"),
        (CHAT, chat("x", n=100_000), 400, "from 1 to 128"),
        (CHAT, {"model": "m", "messages": [{"role": "user", "content": {"a": 1}}]}, 400, "neither text"),
        ("/v1/embeddings", {"model": "m"}, 404, "there is no POST /v1/embeddings"),
        ("/nothing", {"model": "m"}, 404, "there is no POST /nothing"),
        (
            f"/e/{'x' * 300}{CHAT}",
            {"model": "m", "messages": [{"role": "user", "content": "x"}]},
            400,
            "200 characters",
        ),
    ],
)
def test_bad_input_is_told_its_status_and_a_sentence(path: str, body: Any, status: int, says: str) -> None:
    model = ScriptedModel("never")
    with serving(atlas.Agent(model)) as (server, tenant):
        found, _, answer = ask(server.url, path, body)
        assert found == status and says in answer["error"]["message"] and "x-atlas-episode" not in answer
        assert not model.asks and not len(tenant.episodes)


def test_what_fails_inside_tells_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    def broken(ask: Any) -> str:
        raise RuntimeError("the password is 1234")

    with serving(atlas.Agent(ScriptedModel(broken))) as (server, _):
        status, headers, answer = ask(server.url, CHAT, chat("secret words"), authorization="Bearer sk-secret-key")
    assert status == 500 and "1234" not in json.dumps(answer) and headers["x-should-retry"] == "false"
    assert "secret words" not in caplog.text and "sk-secret-key" not in caplog.text


def test_an_upstream_failure_is_not_sent_again_by_clients_that_obey_nothing() -> None:
    with serving(atlas.Agent(FlakyModel(ScriptedModel(says("x"))))) as (server, _):
        assert ask(server.url, CHAT, chat("x"))[0] == 400
        status, headers, _ = ask(server.url, CHAT, chat("x"), x_stainless_lang="js")
        assert (status, headers["x-should-retry"]) == (502, "false")


def test_half_open_connections_do_not_keep_others_out() -> None:
    with serving(atlas.Agent(ScriptedModel(says("hi")))) as (server, _):
        lines = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
        try:
            for line in lines:
                line.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 90\r\n")
            assert ask(server.url, CHAT, chat("x"))[0] == 200
        finally:
            for line in lines:
                line.close()


# --- its end, its figures ---------------------------------------------------------------------------------------------


def test_a_server_that_stops_finishes_what_is_under_way_and_ends_its_episodes(tmp_path: Path) -> None:
    agent = atlas.Agent(SlowModel(ScriptedModel(says("hi")), latency=0.5), run=tmp_path / "run")
    found: list[Any] = []
    with serving(agent) as (server, tenant):
        asking = threading.Thread(target=lambda: found.append(ask(server.url, CHAT, chat("x"))))
        asking.start()
        assert until(lambda: tenant.under_way)
    asking.join()
    assert found[0][0] == 200
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None and stored.result.steps == 1 and stored.result.score is None


def test_metrics_tell_calls_and_what_they_used() -> None:
    with serving(atlas.Agent(ScriptedModel(says("hi")))) as (server, _):
        ask(server.url, f"/e/one{CHAT}", chat("x"))
        ask(server.url, f"/e/one{CHAT}", b"{")
        ask(server.url, "/v1/atlas/episodes/one/score", {"score": 1})
        text = ask(server.url, "/metrics")[2]
    assert 'atlas_calls_total{tenant="default",api="chat/completions",status="200"} 1' in text
    assert 'atlas_calls_total{tenant="default",api="chat/completions",status="400"} 1' in text
    assert 'atlas_model_calls_total{tenant="default",actor="student"} 1' in text
    assert 'atlas_call_seconds_count{tenant="default"} 2' in text and 'atlas_episodes_open{tenant="default"} 0' in text
