"""Evidence per entry: coins, effects with intervals valid at all times, and what the gate makes of them."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.betting import e_value, log_wealth, lower_end, p_value
from atlas.cli import main
from atlas.errors import ConfigError, DataError, StoreError
from atlas.memory.assignment import Assignment, assignment
from atlas.memory.database import Database, Write
from atlas.memory.evidence import EvidenceTable, trials_of
from atlas.memory.gate import Rule, e_bh, gate
from atlas.memory.uplift import COST_TRIALS, Evidence, Trial, asymptotic_half_width, evidence, reward_outcomes
from atlas.records import Citation, Decision, Episode, Observation, Spend, Step, Stop, Task, Usage
from atlas.stats import Interval

ALPHA = 0.05
REPETITIONS = 400
EPISODES = 300


class World(NamedTuple):
    """Simulated trials of one entry, many times over: ``(REPETITIONS, EPISODES)`` pseudo-outcomes and their room."""

    x: np.ndarray
    room: np.ndarray
    rewards: np.ndarray
    shown: np.ndarray


def world(effect: float, *, base: float = 0.5, p: float = 0.5, seed: int = 0) -> World:
    """Two families of tasks, one easier than the other; the entry moves the chance of success by ``effect`` in both."""
    rng = np.random.default_rng(seed)
    size = (REPETITIONS, EPISODES)
    easy = rng.random(size) < 0.5
    shown = rng.random(size) < p
    chance = base + np.where(easy, 0.1, -0.1) + effect * shown
    rewards = (rng.random(size) < chance).astype(float)
    names = np.where(easy, "easy", "hard")
    both = [reward_outcomes(r, s, np.full(EPISODES, p), n) for r, s, n in zip(rewards, shown, names, strict=True)]
    return World(np.stack([x for x, _ in both]), np.stack([b for _, b in both]) + 1.0, rewards, shown)


def ever(w: World, null: float, alpha: float) -> tuple[float, float]:
    """The shares of repetitions in which the lower end ever passes ``null``, and the upper end ever falls below it."""
    enough = np.log(1 / alpha)
    low = (log_wealth(w.x, null, w.room) >= enough).any(axis=1)
    high = (log_wealth(-w.x, -null, w.room) >= enough).any(axis=1)
    return float(low.mean()), float(high.mean())


SLACK = 3 * np.sqrt(ALPHA / 2 * (1 - ALPHA / 2) / REPETITIONS)
"""Three standard errors of a rate of alpha / 2 over the repetitions."""


@pytest.mark.parametrize(("base", "p"), [(0.5, 0.5), (0.85, 0.5), (0.15, 0.5), (0.5, 0.2)])
def test_useless_entries_are_told_from_others_at_the_stated_rate_however_often_one_looks(base: float, p: float) -> None:
    admitted, quarantined = ever(world(0.0, base=base, p=p, seed=1), 0.0, ALPHA / 2)
    assert admitted <= ALPHA / 2 + SLACK
    assert quarantined <= ALPHA / 2 + SLACK


def test_a_fixed_interval_looked_at_after_every_episode_breaks_its_promise() -> None:
    w = world(0.0, seed=1)
    n = np.cumsum(w.shown, axis=1), np.cumsum(~w.shown, axis=1)
    means = (
        np.cumsum(w.rewards * w.shown, axis=1) / np.maximum(n[0], 1),
        (np.cumsum(w.rewards * ~w.shown, axis=1) / np.maximum(n[1], 1)),
    )
    enough = (n[0] >= 10) & (n[1] >= 10)
    error = np.sqrt(sum(m * (1 - m) / np.maximum(k, 1) for m, k in zip(means, n, strict=True)))
    admitted = ((means[0] - means[1] > 1.96 * error) & enough).any(axis=1).mean()
    assert admitted > 3 * (ALPHA / 2 + SLACK)


def test_helpful_and_harmful_entries_are_found_and_never_mistaken_for_each_other() -> None:
    admitted, quarantined = ever(world(0.3, seed=2), 0.0, ALPHA / 2)
    assert admitted > 0.95
    assert quarantined <= ALPHA / 2 + SLACK
    admitted, quarantined = ever(world(-0.3, seed=3), 0.0, ALPHA / 2)
    assert quarantined > 0.95
    assert admitted <= ALPHA / 2 + SLACK
    assert ever(world(0.2, base=0.7, seed=4), 0.0, ALPHA / 2)[0] > 0.6


@pytest.mark.parametrize("effect", [-0.25, 0.0, 0.1, 0.3])
def test_the_interval_covers_the_effect_at_all_times_at_once(effect: float) -> None:
    low, high = ever(world(effect, seed=5), effect, ALPHA / 2)
    assert low <= ALPHA / 2 + SLACK
    assert high <= ALPHA / 2 + SLACK


def test_an_effect_that_differs_from_task_to_task_is_no_way_around_the_gate() -> None:
    # It harms on half of the tasks and does nothing on the others: it helps nowhere.
    rng = np.random.default_rng(6)
    size = (REPETITIONS, EPISODES)
    harmed, shown = rng.random(size) < 0.5, rng.random(size) < 0.5
    rewards = (rng.random(size) < np.where(harmed & shown, 0.2, 0.5)).astype(float)
    names = np.where(harmed, "a", "b")
    both = [reward_outcomes(r, s, np.full(EPISODES, 0.5), n) for r, s, n in zip(rewards, shown, names, strict=True)]
    w = World(np.stack([x for x, _ in both]), np.stack([b for _, b in both]) + 1.0, rewards, shown)
    assert ever(w, 0.0, ALPHA / 2)[0] <= ALPHA / 2 + SLACK


def test_the_interval_of_cost_holds_at_all_times_for_skewed_dollars() -> None:
    # Asymptotic, so the promise is about many trials: log-normal bills, a saving of a fifth, looked at from 30 on.
    rng = np.random.default_rng(7)
    shown = rng.random((REPETITIONS, EPISODES)) < 0.5
    bills = rng.lognormal(-4.0, 0.8, shown.shape) * np.where(shown, 0.8, 1.0)
    effect = -0.2 * np.exp(-4.0 + 0.32)
    missed = 0
    for row, switch in zip(bills, shown, strict=True):
        guess = np.concatenate([[row[0]], np.cumsum(row)[:-1] / np.arange(1, EPISODES)])
        x = ((row - guess) * np.where(switch, 2.0, -2.0))[1:]
        n = np.arange(1, EPISODES)
        mean = np.cumsum(x) / n
        spread = np.sqrt(np.maximum(np.cumsum(x * x) / n - mean**2, 0))
        half = np.array([asymptotic_half_width(int(k), float(s), ALPHA) for k, s in zip(n, spread, strict=True)])
        missed += bool((np.abs(mean - effect) > half)[COST_TRIALS - 1 :].any())
    assert missed / REPETITIONS <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / REPETITIONS)


# --- betting ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60), st.floats(0.05, 0.95))
@settings(max_examples=60, deadline=None)
def test_wealth_falls_as_the_claim_rises_and_the_end_is_where_it_is_enough(xs: list[float], null: float) -> None:
    x = np.array(xs)
    wealth = [float(log_wealth(x, claim, 1.0)[-1]) for claim in np.linspace(0.0, 1.0, 11)]
    assert all(a >= b - 1e-9 for a, b in pairwise(wealth))
    low = lower_end(x, 1.0, 0.05, 0.0, 1.0)
    assert 0.0 <= low <= x.mean() + 1e-9
    assert low == 0.0 or log_wealth(x, low - 1e-6, 1.0)[-1] >= np.log(20) - 1e-3
    assert 0.0 < p_value(x, null, 1.0) <= 1.0
    assert p_value(x, null, 1.0) <= 1 / max(1.0, e_value(x, null, 1.0)) + 1e-12


def test_without_outcomes_nothing_is_said() -> None:
    empty = np.zeros(0)
    assert (lower_end(empty, 1.0, 0.05, 0.0, 1.0), p_value(empty, 0.5, 1.0), e_value(empty, 0.5, 1.0)) == (
        0.0,
        1.0,
        1.0,
    )
    assert evidence([]) == Evidence()
    assert gate("trial", Evidence(), Rule()) is None


# --- coins ------------------------------------------------------------------------------------------------------------


def test_a_coin_is_the_same_for_the_whole_episode_and_fair_over_episodes() -> None:
    coins = [assignment("e1", f"task-{i}", 3, share=0.5, p=0.3) for i in range(4000)]
    assert coins == [assignment("e1", f"task-{i}", 3, share=0.5, p=0.3) for i in range(4000)]
    tossed = [c for c in coins if c.randomised]
    assert len(tossed) / 4000 == pytest.approx(0.5, abs=0.03)
    assert sum(c.shown for c in tossed) / len(tossed) == pytest.approx(0.3, abs=0.04)
    assert all(c.shown for c in coins if not c.randomised)


def test_entries_have_coins_of_their_own_within_the_same_experiments() -> None:
    one = [assignment("e1", f"task-{i}", 0, share=0.5) for i in range(2000)]
    two = [assignment("e2", f"task-{i}", 0, share=0.5) for i in range(2000)]
    assert [c.randomised for c in one] == [c.randomised for c in two]
    both = [(a.shown, b.shown) for a, b in zip(one, two, strict=True) if a.randomised]
    assert sum(a == b for a, b in both) / len(both) == pytest.approx(0.5, abs=0.06)
    other = [assignment("e1", f"task-{i}", 1, share=0.5) for i in range(2000)]
    assert [c.shown for c in one] != [c.shown for c in other]


def test_no_experiment_and_nothing_but_experiments() -> None:
    assert assignment("e", "t", 0, share=0.0) == Assignment(randomised=False, shown=True)
    assert assignment("e", "t", 0, share=1.0).randomised
    with pytest.raises(ConfigError, match="share of experiments"):
        assignment("e", "t", 0, share=1.5)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        assignment("e", "t", 0, share=0.5, p=1.0)


# --- trials and the gate ----------------------------------------------------------------------------------------------


def trial(i: int, shown: bool, reward: float | None, dollars: float | None = None, **changes: object) -> Trial:
    fields: dict[str, object] = {
        "entry": "e1",
        "episode": f"ep{i}",
        "task": f"t{i}",
        "seed": 0,
        "shown": shown,
        "p": 0.5,
        "reward": reward,
        "dollars": dollars,
        "started": float(i),
    }
    return Trial.model_validate({**fields, **changes})


def test_a_missing_reward_is_no_trial_and_a_shared_coin_is_one_trial() -> None:
    trials = [trial(0, True, 1.0), trial(1, False, None), trial(2, True, 0.0, task="t0")]
    found = evidence(trials)
    assert (found.shown, found.withheld, found.missing, found.reward.n) == (1, 0, 1, 1)
    # A retake of the same coin counts where the first one was not scored.
    assert evidence([trial(0, True, None), trial(1, True, 1.0, task="t0")]).shown == 1


def test_the_order_in_which_trials_are_read_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    trials = [trial(i, bool(rng.random() < 0.5), float(rng.random() < 0.5), 0.01) for i in range(60)]
    assert evidence(trials) == evidence(trials[::-1])


def test_evidence_finds_effect_and_saving_within_their_intervals() -> None:
    rng = np.random.default_rng(1)
    trials = []
    for i in range(200):
        shown = bool(rng.random() < 0.5)
        trials.append(trial(i, shown, float(rng.random() < (0.9 if shown else 0.4)), 0.02 if shown else 0.05))
    found = evidence(trials)
    assert found.trials == 200
    assert 0 < found.reward.low < 0.5 < found.reward.high < 1
    assert found.dollars is not None and found.dollars.low < -0.03 < found.dollars.high < 0
    assert found.e_value > 40
    assert evidence(trials[:20]).dollars is None
    with pytest.raises(DataError, match="between 0 and 1"):
        evidence([trial(0, True, 3.0)])


def effects(reward: tuple[float, float], n: int = 100, dollars: tuple[float, float] | None = None) -> Evidence:
    def interval(ends: tuple[float, float]) -> Interval:
        return Interval(mean=sum(ends) / 2, low=ends[0], high=ends[1], n=n)

    return Evidence(shown=n // 2, withheld=n - n // 2, reward=interval(reward), dollars=dollars and interval(dollars))


@pytest.mark.parametrize(
    ("status", "found", "expected"),
    [
        ("trial", effects((0.01, 0.4)), ("admitted", "raises the reward")),
        ("trial", effects((-0.4, -0.01)), ("quarantined", "lowers the reward")),
        ("admitted", effects((-0.4, -0.01)), ("quarantined", "lowers the reward")),
        ("trial", effects((-0.01, 0.3), dollars=(-0.2, -0.1)), ("admitted", "saves dollars")),
        ("trial", effects((-0.1, 0.3), dollars=(-0.2, -0.1)), None),
        ("trial", effects((-0.05, 0.05)), ("quarantined", "no effect shown")),
        ("trial", effects((-0.05, 0.05), dollars=(-0.2, 0.1)), None),
        ("trial", effects((-0.3, 0.3), n=299), None),
        ("trial", effects((-0.3, 0.3), n=300), ("quarantined", "no effect shown within 300 trials")),
        ("admitted", effects((-0.3, 0.3), n=500), None),
        ("quarantined", effects((0.1, 0.3)), None),
        ("removed", effects((0.1, 0.3)), None),
    ],
)
def test_the_gate(status: str, found: Evidence, expected: tuple[str, str] | None) -> None:
    said = gate(status, found, Rule())
    if expected is None:
        assert said is None
    else:
        assert said is not None and (said.status, said.reason[: len(expected[1])]) == expected


def test_e_bh_names_the_strong_ones_and_none_for_weak_evidence() -> None:
    assert e_bh({"a": 100.0, "b": 45.0, "c": 1.0, "d": 0.2}, 0.05) == {"a", "b"}
    assert e_bh({"a": 30.0, "b": 1.0}, 0.05) == set()
    assert e_bh({}, 0.05) == set()


def test_e_bh_keeps_the_share_of_useless_entries_among_those_named_whenever_one_stops() -> None:
    # Twelve useless entries and four helpful ones, stopped when most are named: the worst moment for a naive rule.
    useless, helpful = world(0.0, seed=20), world(0.35, seed=21)
    e = {
        "useless": np.exp(log_wealth(useless.x, 0.0, useless.room)),
        "helpful": np.exp(log_wealth(helpful.x, 0.0, helpful.room)),
    }
    shares, found = [], []
    for i in range(REPETITIONS // 12):
        values = {f"useless {j}": e["useless"][12 * i + j] for j in range(12)}
        values |= {f"helpful {j}": e["helpful"][4 * i + j] for j in range(4)}
        named = max((e_bh({k: v[t] for k, v in values.items()}, 0.1) for t in range(9, EPISODES, 10)), key=len)
        shares.append(sum(name.startswith("useless") for name in named) / max(1, len(named)))
        found.append(sum(name.startswith("helpful") for name in named))
    assert np.mean(shares) <= 0.1
    assert np.mean(found) > 3


def test_whole_lives_of_planted_entries_under_the_rule() -> None:
    """The gate as it is used: asked after every 25 episodes until it decides, costs unknown."""
    ends: dict[str, dict[str, int]] = {}
    for kind, effect in (("helpful", 0.35), ("useless", 0.0), ("harmful", -0.35)):
        rng = np.random.default_rng(8)
        for _ in range(12):
            trials: list[Trial] = []
            status = "trial"
            while status == "trial" and len(trials) < 250:
                for i in range(len(trials), len(trials) + 25):
                    shown = bool(rng.random() < 0.5)
                    trials.append(trial(i, shown, float(rng.random() < 0.5 + effect * shown)))
                said = gate(status, evidence(trials), Rule(patience=200))
                status = said.status if said else status
            ends.setdefault(kind, {}).setdefault(status, 0)
            ends[kind][status] += 1
    assert ends["helpful"].get("admitted", 0) >= 10
    assert ends["harmful"].get("quarantined", 0) == 12
    assert ends["useless"].get("quarantined", 0) >= 10


# --- trials in the memory file ----------------------------------------------------------------------------------------


def played(i: int, shown: dict[str, bool], score: float | None, stop: Stop = Stop.DONE) -> tuple[Episode, list[Step]]:
    """An episode in whose second step the entries fitted for the first time; ``x`` fitted without a coin."""
    coins = tuple(Citation(id=entry, shown=on, randomised=True) for entry, on in shown.items())
    steps = [
        Step(
            index=index,
            observation="",
            decision=Decision(action="go", actor="student", reason="solo", guidance=cited),
            outcome=Observation(text=""),
            seconds=0.0,
        )
        for index, cited in enumerate([(Citation(id="x"),), (*coins, Citation(id="x"))])
    ]
    episode = Episode(
        id=f"ep{i}",
        run="r",
        arm="a",
        task=Task(id=f"t{i}", goal="", family="heat"),
        seed=0,
        config="",
        stop=stop,
        score=score,
        success=None if score is None else score >= 1.0,
        steps=2,
        teacher_steps=0,
        spend=(Spend(actor="student", model="m", usage=Usage(calls=1, dollars=0.25)),),
        seconds=0.0,
        started=float(i),
    )
    return episode, steps


def test_trials_are_read_from_an_episode_and_its_citations() -> None:
    (first, second) = trials_of(*played(1, {"e1": True, "e2": False}, 0.5))
    assert first == trial(1, True, 0.5, 0.25, family="heat")
    assert (second.entry, second.shown, second.reward) == ("e2", False, 0.5)
    assert trials_of(*played(1, {"e1": True}, None))[0].reward is None
    assert trials_of(*played(1, {"e1": True}, 7.0))[0].reward == 1.0
    assert trials_of(*played(1, {"e1": True}, None, Stop.CANCELLED)) == []


def test_adding_an_episode_again_replaces_its_trials(tmp_path: Path) -> None:
    with closing(Database(str(tmp_path / "m.sqlite"))) as db:
        table = EvidenceTable(db)
        table.add(trials_of(*played(1, {"e1": True}, 0.0)))
        table.add(trials_of(*played(1, {"e1": True}, 1.0)))
        table.add([trial(0, False, 0.0)])
        assert [t.reward for t in table.trials("e1")] == [0.0, 1.0]
        assert table.all()["e1"].trials == 2
        assert table.of("unheard of") == Evidence()
    with closing(Database(str(tmp_path / "m.sqlite"))) as db:
        assert EvidenceTable(db).of("e1").trials == 2


def test_a_frozen_memory_takes_no_trials_and_still_shows_them(tmp_path: Path) -> None:
    with closing(Database(str(tmp_path / "m.sqlite"))) as db:
        table = EvidenceTable(db)
        table.add([trial(0, True, 1.0)])
        db.set_frozen(True, author="person:me", reason="done")
        with pytest.raises(StoreError, match="frozen"):
            table.add([trial(1, True, 1.0)])
        assert table.of("e1").trials == 1


def test_judging_moves_entries_by_their_evidence_and_the_log_says_why(tmp_path: Path) -> None:
    with closing(Database(str(tmp_path / "m.sqlite"))) as db:
        ids = ("good", "bad", "young", "held")
        db.write([Write("entry", e, "trial", "{}") for e in ids], author="person:me", reason="planted")
        db.write([Write("entry", "held", "quarantined")], author="person:me", reason="suspicious")
        table = EvidenceTable(db)
        rng = np.random.default_rng(0)
        for i in range(150):
            shown = {e: bool(rng.random() < 0.5) for e in ids}
            chance = 0.5 + 0.45 * (shown["good"] - shown["bad"])
            coins = {e: on for e, on in shown.items() if e != "young"}
            table.add(trials_of(*played(i, coins, float(rng.random() < chance))))
        table.add([trial(0, True, 1.0, entry="young"), trial(1, True, 1.0, entry="no longer there")])
        assert set(table.due(Rule())) == {"good", "bad"}
        assert {e: said.status for e, said in table.settle(Rule()).items()} == {
            "good": "admitted",
            "bad": "quarantined",
        }
        assert table.settle(Rule()) == {}
        log = {v.reason.partition(":")[0]: v.author for v in db.versions()}
        assert log["raises the reward"] == log["lowers the reward"] == "rule:evidence"
        statuses = {item.id: item.status for item in db.rows("entry")}
        assert statuses == {"good": "admitted", "bad": "quarantined", "young": "trial", "held": "quarantined"}


def test_the_command_line_judges_a_memory_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Database(str(tmp_path / "memory.sqlite"))) as db:
        db.write([Write("entry", "e1", "trial", "{}")], author="person:me", reason="planted")
        EvidenceTable(db).add(trial(i, i % 2 == 0, float(i % 2 == 0)) for i in range(40))
    main(["memory", "judge", str(tmp_path), "--dry-run"])
    assert "1 would change" in capsys.readouterr().out
    main(["memory", "judge", str(tmp_path), "--json"])
    assert json.loads(capsys.readouterr().out)["status"] == "admitted"
    main(["memory", "judge", str(tmp_path)])
    assert "tried so far: 1 entry; 0 changed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["memory", "judge", str(tmp_path), "--alpha", "0"])
    assert "alpha" in capsys.readouterr().err
