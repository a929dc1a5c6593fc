"""Spans as things happen: what a collector gets, what it never gets, and that nobody waits for one."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atlas
from atlas.cli import main
from atlas.cli.agent_options import AgentOptions
from atlas.errors import ConfigError
from atlas.export import ExportPlan, export
from atlas.records import Ask, Reply
from atlas.testing import ScriptedModel
from atlas.testing.runs import write_run
from atlas.traces import Run
from atlas.traces.late import rescored
from tests.otlp_fixtures import attributes, collecting
from tests.waiting import until
from tests.wrap_fixtures import in_two_steps, says, two_step_loop

from atlas.export.otel_live import OtelLive  # isort: skip  (after the fixtures, which skip without the SDK)
from atlas.export.otel_send import WAITING, endpoint  # isort: skip

SECRET = "sk-proj-abcDEF123456ghiJKL"
CONTENT = (
    "gen_ai.system_instructions",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "atlas.task.goal",
)


def play(url: str, model: Any = None, **settings: Any) -> atlas.Episode:
    student = model or ScriptedModel(in_two_steps, name="openai/small")
    with atlas.Agent(student, otlp=url, **settings) as agent, agent.episode("refund A1") as episode:
        two_step_loop(episode.client)
        episode.score(1.0)
    assert episode.result is not None
    return episode.result


def test_an_episode_is_spans_with_its_models_tokens_and_tools_and_no_word_of_it() -> None:
    with collecting() as collector:
        result = play(collector.url)
        spans = collector.spans
        assert collector.paths == {"/v1/traces"}
        (resource,) = {r.resource_spans[0].resource.SerializeToString() for r in collector.requests}
        assert b"service.name" in resource and b"atlas" in resource
        scope = collector.requests[0].resource_spans[0].scope_spans[0]
        assert (scope.scope.name, scope.schema_url) == ("atlas", "https://opentelemetry.io/schemas/1.41.0")
        assert all(word.encode() not in collector.bodies for word in ("Refunded.", "refund A1", "refund ok", "Serve."))
    (root,) = [s for s in spans if s.name == "invoke_agent agent"]
    assert not root.parent_span_id and len({s.trace_id for s in spans}) == 1
    assert all(s.parent_span_id == root.span_id for s in spans if s is not root)
    assert sorted(s.name for s in spans) == [
        "chat openai/small",
        "chat openai/small",
        "execute_tool refund",
        "invoke_agent agent",
    ]
    for span in spans:
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert not set(CONTENT) & attributes(span).keys()
    chats = [attributes(s) for s in spans if s.name.startswith("chat")]
    usage = result.spend[0].usage
    assert sum(c["gen_ai.usage.input_tokens"] for c in chats) == usage.prompt_tokens
    assert sum(c["gen_ai.usage.output_tokens"] for c in chats) == usage.completion_tokens
    assert {(c["gen_ai.request.model"], c["gen_ai.provider.name"], c["atlas.actor"]) for c in chats} == {
        ("openai/small", "openai", "student")
    }
    assert attributes(root)["gen_ai.conversation.id"] == result.id
    (event,) = root.events
    assert event.name == "gen_ai.evaluation.result"
    assert attributes(event)["gen_ai.evaluation.score.value"] == 1.0


def test_with_content_prompts_replies_and_results_are_sent_without_secrets() -> None:
    def answer(ask: Ask) -> Reply | str:
        reply = in_two_steps(ask)
        return reply if reply.tool_calls else f"Refunded with {SECRET}."

    with collecting() as collector:
        play(collector.url, ScriptedModel(answer, name="openai/small"), otlp_content=True)
        assert SECRET.encode() not in collector.bodies
    first, second = collector.named("chat")
    assert json.loads(first["gen_ai.input.messages"])[0]["parts"] == [{"type": "text", "content": "refund A1"}]
    assert "[hidden]" in second["gen_ai.output.messages"]
    (tool,) = collector.named("execute_tool")
    assert (tool["gen_ai.tool.call.arguments"], tool["gen_ai.tool.call.result"]) == ('{"order": "A1"}', "refund ok")
    assert collector.named("invoke_agent")[0]["atlas.task.goal"] == "refund A1"


def test_spans_come_while_the_episode_goes_on() -> None:
    with collecting() as collector:
        with atlas.Agent(ScriptedModel(in_two_steps), otlp=collector.url) as agent, agent.episode("x") as episode:
            two_step_loop(episode.client)
            names = {s.name.split()[0] for s in collector.wait(2)}
            assert names == {"chat", "execute_tool"}, "the first step, whose outcome is known"
            episode.score(1.0)
        assert "invoke_agent" in {s.name.split()[0] for s in collector.spans}


def test_what_is_sent_and_what_is_exported_of_the_same_run_are_the_same_spans(tmp_path: Path) -> None:
    with collecting() as collector:
        play(collector.url, run=tmp_path / "run", otlp_content=True)
        sent = {s.span_id.hex(): s for s in collector.spans}
    export([Run(tmp_path / "run")], tmp_path / "out", ExportPlan(format="otel-json"))
    (line,) = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
    exported = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert {s["spanId"] for s in exported} == sent.keys()
    for span in exported:
        there = sent[span["spanId"]]
        assert (span["traceId"], span["name"], span["kind"]) == (there.trace_id.hex(), there.name, there.kind)
        assert {a["key"] for a in span["attributes"]} == attributes(there).keys()


def test_a_run_is_recorded_as_without_spans_and_told_the_same_events(tmp_path: Path) -> None:
    with collecting() as collector:
        play(collector.url, run=tmp_path / "run", memory=":memory:", embedder="hash")
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result is not None and stored.result.run == "run" and len(stored.steps) == 2
    assert '"type":"learned"' in (tmp_path / "run" / "trace.jsonl").read_text().replace(" ", "")
    assert collector.named("invoke_agent")[0]["atlas.run"] == "run"


def test_a_score_that_comes_late_is_a_span_of_its_own(tmp_path: Path) -> None:
    (first, *_) = Run(write_run(tmp_path / "run")).results()
    with collecting() as collector, OtelLive(collector.url, run="run") as live:
        live.start(first.id, first.arm, first.task, 0, "c")
        live.end(first)
        live.end(rescored(first, 0.25, at_least=1.0))
        live.close()
        root, late = collector.spans
    assert late.name == "score" and late.parent_span_id == root.span_id and late.span_id != root.span_id
    assert attributes(late.events[0])["gen_ai.evaluation.score.value"] == 0.25


# --- a collector that is not there ------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["absent", "silent", "refuses", "broken"])
def test_a_collector_that_takes_nothing_costs_its_spans_and_one_warning(
    trouble: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hush-hush-123")
    monkeypatch.setattr("atlas.export.otel_live.FLUSH", 1.5)
    caplog.set_level(logging.DEBUG)
    with collecting() as collector:
        collector.status = {"refuses": 401, "broken": 503}.get(trouble, 200)
        collector.silent = trouble == "silent"
        url = "http://127.0.0.1:9" if trouble == "absent" else collector.url
        live = OtelLive(url)
        with atlas.Agent(ScriptedModel(says("hi")), run=live, learn=False) as agent:
            began = time.perf_counter()
            for _ in range(20):
                with agent.episode("greet") as episode:
                    episode.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
                    episode.score(1.0)
            assert all(e is not None for e in [episode.result])
            assert time.perf_counter() - began < 60
        began = time.perf_counter()
        live.close()
        assert time.perf_counter() - began < 60
    warned = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert [r.name for r in warned] == ["atlas.export.otel_live"]
    assert "do not reach the collector" in warned[0].getMessage()
    assert trouble != "refuses" or "status 401" in warned[0].getMessage()
    assert live.lost == 40
    assert "hush-hush" not in caplog.text


def test_more_than_can_be_sent_is_lost_and_counted_and_nobody_waits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("atlas.export.otel_live.FLUSH", 0.5)
    (first, *_) = Run(write_run(tmp_path / "run")).results()
    with collecting() as collector:
        collector.silent = True
        live = OtelLive(collector.url)
        began = time.perf_counter()
        for number in range(3 * WAITING):
            live.start(f"e{number}", "a", first.task, 0, "c")
            live.end(first.replace(id=f"e{number}"))
        spent = time.perf_counter() - began
        live.close()
    assert spent < 60 and live.lost > 0
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


# --- keys and addresses -----------------------------------------------------------------------------------------------


def test_the_keys_of_a_collector_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc,x-project=7")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "desk")
    with collecting() as collector:
        play(collector.url)
        assert (collector.headers[0]["authorization"], collector.headers[0]["x-project"]) == ("Basic abc", "7")
        assert b"desk" in collector.requests[0].resource_spans[0].resource.SerializeToString()


def test_headers_that_are_none_are_refused_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Bearer hush-hush-123")
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_HEADERS holds no headers") as refused:
        OtelLive("http://127.0.0.1:9")
    assert "hush" not in str(refused.value) and "hush" not in caplog.text


@pytest.mark.parametrize(
    ("url", "posted"),
    [
        ("http://localhost:4318", "http://localhost:4318/v1/traces"),
        ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
        ("https://x.example/api/public/otel", "https://x.example/api/public/otel/v1/traces"),
        ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
    ],
)
def test_a_url_is_a_base_or_the_whole(url: str, posted: str) -> None:
    assert endpoint(url) == posted


@pytest.mark.parametrize(
    "url",
    ["", "localhost:4318", "grpc://x:4317", "http://", "http://x:port", "http://me:hush-hush@x", "http://x/?k=hush"],
)
def test_another_url_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        play(url)
    assert "hush" not in str(refused.value)


@given(st.text())
def test_any_text_is_an_endpoint_or_refused(url: str) -> None:
    try:
        assert endpoint(url).startswith(("http", "HTTP"))
    except ConfigError as error:
        assert "\n" not in str(error)


def test_content_without_a_collector_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="give the URL of a collector"):
        atlas.Agent(ScriptedModel(["x"]), otlp_content=True)
    out = tmp_path / "run"
    with pytest.raises(SystemExit):
        main([*BENCH, "-o", str(out), "--otlp-content"])
    assert "--otlp" in capsys.readouterr().err and not out.exists()


# --- commands ---------------------------------------------------------------------------------------------------------

ATLAS = [sys.executable, "-m", "atlas"]
BENCH = ["bench", "alfworld", "--split", "homes", "--teacher", "scripted:alfworld", "--arms", "student,teacher"]
BENCH += ["--n", "2", "--demos", "2", "--embedder", "hash"]


def test_bench_sends_spans_of_every_arm(tmp_path: Path) -> None:
    with collecting() as collector:
        main([*BENCH, "-o", str(tmp_path / "run"), "--otlp", collector.url])
        ended = {r.id: r for r in Run(tmp_path / "run").results()}
        roots = collector.named("invoke_agent")
        assert {r["gen_ai.conversation.id"] for r in roots} == ended.keys() and len(roots) == len(ended)
        assert {r["atlas.run"] for r in roots} == {"run"}
        asked = sum(len(s.spend) or 1 for e in Run(tmp_path / "run").episodes() for s in e.steps)
        assert len(collector.named("chat")) == asked
        # The same again plays nothing and sends nothing.
        before = len(collector.spans)
        main([*BENCH, "-o", str(tmp_path / "run"), "--otlp", collector.url])
        assert len(collector.spans) == before


def test_a_bench_that_is_told_to_end_sends_what_it_has(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [*ATLAS, *BENCH, "--n", "500", "--demos", "50", "-o", str(out)]
    with collecting() as collector:
        process = subprocess.Popen([*command, "--otlp", collector.url], stdout=DEVNULL, stderr=DEVNULL)
        try:
            assert until(lambda: (out / "run.json").exists() and len(Run(out).results()) > 5)
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == -signal.SIGTERM
        finally:
            process.kill()
            process.wait()
        sent = {r["gen_ai.conversation.id"] for r in collector.named("invoke_agent")}
        assert {r.id for r in Run(out).results()} <= sent


MINE = """
from atlas.testing import ScriptedModel

def clerk():
    return ScriptedModel(lambda ask: "certainly")
"""


def test_a_server_that_is_told_to_end_sends_its_open_episodes(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra serve")
    from tests.serve_fixtures import CHAT, ask, chat

    (tmp_path / "mine.py").write_text(MINE)
    command = [*ATLAS, "serve", "--student", f"python:{tmp_path / 'mine.py'}:clerk", "--port", "0"]
    with collecting() as collector:
        process = subprocess.Popen([*command, "--otlp", collector.url], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[3].removesuffix("/v1")
            assert ask(url, CHAT, chat("hello"))[0] == 200
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=600)
        finally:
            process.kill()
            process.wait()
        assert {s.name.split()[0] for s in collector.spans} == {"chat", "invoke_agent"}
        assert b"certainly" not in collector.bodies


def test_a_tenant_has_a_collector_of_its_own_and_an_agent_of_yours_says_where_its_spans_go(tmp_path: Path) -> None:
    read = AgentOptions.read({"student": "nearest", "otlp": "http://x:4318", "otlp_content": True}, "tenant desk")
    assert (read.otlp, read.otlp_content) == ("http://x:4318", True)
    for wrong in ({"otlp_content": "yes"}, {"otlp": True}, {"samples": True}):
        with pytest.raises(ConfigError, match="which is no"):
            AgentOptions.read(wrong, "tenant desk")
    with pytest.raises(ConfigError, match="leave out the other settings"):
        AgentOptions(agent="mine.py:make", otlp="http://x:4318").make()
