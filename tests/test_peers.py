"""This package beside its peers: what can be tested where they are not installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from atlas.benchmarks.peers import Peer, compared
from atlas.benchmarks.peers.__main__ import main, those_in
from atlas.benchmarks.peers.compared import Cut, Plan, compare
from atlas.benchmarks.peers.measured import Told
from atlas.benchmarks.peers.provider import Provider
from atlas.benchmarks.perf.__main__ import show
from atlas.errors import ConfigError
from atlas.tokens import estimate_tokens

GOAL = "Give the code of ticket 7."
PLAN = Plan(sessions=4, killed=3, imports=1, limit=120, seconds=0.01)


def ask(provider: Provider, model: str, **fields: object) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": GOAL}], **fields}
    return httpx.post(
        f"{provider.url}/chat/completions", json=body, headers={"Authorization": "Bearer none"}, timeout=60
    )


def text(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["message"]["content"])


def test_the_provider_counts_calls_and_tokens_by_role() -> None:
    with Provider() as provider:
        assert text(ask(provider, "student")) == "The code is 7."
        ask(provider, "openai/student", n=3)
        assert json.loads(text(ask(provider, "judge")))["score"] == 1.0
        assert text(ask(provider, "teacher")) == "The code is 7."
        assert json.loads(text(ask(provider, "teacher", response_format={"type": "json_object"})))["valid"]
    assert provider.calls == {"student": 2, "judge": 1, "teacher": 2} and provider.asked == 5
    assert provider.tokens["student"] == 2 * estimate_tokens(GOAL) + 4 * estimate_tokens("The code is 7.")


def test_the_provider_kills_at_the_call_that_was_named() -> None:
    killed: list[int] = []
    with Provider() as provider:
        provider.kills = (2, lambda: killed.append(provider.asked))
        assert ask(provider, "student").status_code == 200 and not killed
        with pytest.raises(httpx.RemoteProtocolError):
            ask(provider, "student")
        assert killed == [2]
        assert ask(provider, "student").status_code == 200 and killed == [2]


@pytest.mark.slow
def test_a_kill_of_ours_costs_the_call_in_flight(ours: Peer) -> None:
    found = compared.cut(ours, PLAN)
    assert (found.right, found.said.kept, found.said.doubled, found.again) == (3, 3, 0, 1)


def test_many_of_ours_at_once_are_right_and_kept(ours: Peer) -> None:
    said = compared.at_once(ours, PLAN)
    assert said.right() == said.kept == 4 and said.doubled == 0


def test_a_first_session_of_ours_is_counted(ours: Peer) -> None:
    cost = compared.first(ours, PLAN)
    assert cost.calls["act"] >= 1 and cost.calls["judge and learn"] == 0
    assert cost.tokens > 0 and cost.said.cpu > 0 and cost.said.megabytes > 1


def test_what_cannot_be_measured_stands_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_session(peer: Peer, plan: Plan) -> Told:
        raise ConfigError("not done after 300 s")

    monkeypatch.setattr(compared, "imported", lambda peer, times, limit: (1.234, 56.7))
    monkeypatch.setattr(compared, "first", no_session)
    monkeypatch.setattr(compared, "at_once", lambda peer, plan: Told({"10": "The code is 10."}))
    monkeypatch.setattr(compared, "cut", lambda peer, plan: Cut(3, Told({}, 3, 0), 1))
    table = compare([Peer("one", Path("python"), "import one", "drive_one.py")], PLAN, ["two: there is none"])
    cells = {what: cell for what, cell in table.rows}
    assert cells["import, CPU s"] == 1.23 and cells["import, MB"] == 57
    assert cells["a first session: calls that act"] == cells["its process, CPU s"] == "not measured"
    assert cells["4 sessions at once: right"] == 1 and cells["4 sessions at once: kept"] == "has no storage"
    assert cells["the same: kept in the end"] == 3 and cells["the same: calls made again"] == 1
    assert table.note.endswith("Left out: two: there is none. a first session, one: not done after 300 s.")
    show(table)
    assert "has no storage" in capsys.readouterr().out


def test_an_environment_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--place", str(tmp_path)])
    assert done.exit_code == 2 and done.stderr.startswith("atlas: arc-atlas: there is no environment in ")
    assert "install icrl-py==0.1.0" in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "icrl" / "bin").mkdir(parents=True)
    (tmp_path / "icrl" / "bin" / "python").touch()
    peers, left_out = those_in(tmp_path)
    assert [peer.name for peer in peers] == ["this package", "icrl-py 0.1.0"]
    assert len(left_out) == 1 and "install arc-atlas==0.1.16" in left_out[0]
    with pytest.raises(ConfigError, match="does not start"):
        compared.first(peers[1], PLAN)


def test_a_program_that_fails_or_takes_too_long_says_so(tmp_path: Path) -> None:
    failing = Peer("one", Path(sys.executable), "import nothing_of_this_name", str(tmp_path / "missing.py"))
    with pytest.raises(ConfigError, match=r"fails: .*nothing_of_this_name"):
        compared.imported(failing, 1, 60)
    with pytest.raises(ConfigError, match="its program failed: "):
        compared.first(failing, PLAN)
    waits = tmp_path / "waits.py"
    waits.write_text("import time; time.sleep(60)")
    with pytest.raises(ConfigError, match=r"not done after 0\.2 s"):
        compared.first(Peer("one", Path(sys.executable), "import json", str(waits)), Plan(limit=0.2))


@pytest.fixture
def ours() -> Peer:
    return those_in(None)[0][0]
