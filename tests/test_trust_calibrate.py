"""Calibration of trust to a target: the threshold chosen, what a certificate says, and that it holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas.cli import main
from atlas.errors import ConfigError, DataError
from atlas.records import Episode, Spend, Stop, Task, Usage
from atlas.traces.roles import Role, by_name
from atlas.traces.writer import RunWriter
from atlas.trust import Trust
from atlas.trust import calibrate as calibration
from atlas.trust.calibrate import FEWEST, Target, dollars_p, fixed_sequence, success_p

DELTA = 0.1


def calibrate(episodes: Sequence[Episode], target: Target, **told: Any) -> Trust:
    """As ``atlas trust calibrate`` does, with the roles of arms that stand in no run."""
    roles = by_name(e.arm for e in episodes) | told.pop("roles", {})
    return calibration.calibrate(episodes, target, roles=roles, **told)


def episode(arm: str, task: int, won: bool | None, dollars: float | None, *, teacher_steps: int = 1) -> Episode:
    return Episode(
        id=f"{arm}-{task}",
        run="r",
        arm=arm,
        task=Task(id=f"t{task}", goal=""),
        seed=0,
        config="",
        stop=Stop.ERROR if won is None else Stop.DONE,
        score=None if won is None else float(won),
        success=won,
        steps=10,
        teacher_steps=teacher_steps,
        spend=(Spend(actor="teacher", model="m", usage=Usage(calls=1, dollars=dollars)),),
        seconds=0.0,
        started=0.0,
    )


GRID = (1.0, 0.8, 0.6, 0.4)


def logged(n: int, drops: dict[float, float], seed: int = 0, teacher: float = 0.9) -> list[Episode]:
    """Each threshold fails where the teacher does, and now and then besides: at the rate that makes up its drop."""
    rng = np.random.default_rng(seed)
    wins = rng.random(n) < teacher
    found = [episode("teacher", i, bool(w), 1.0, teacher_steps=10) for i, w in enumerate(wins)]
    for threshold, drop in drops.items():
        lost = rng.random(n) < drop / teacher
        found += [
            episode(f"cascade:{threshold:g}", i, bool(w and not gone), 0.2 + 0.5 * threshold)
            for i, (w, gone) in enumerate(zip(wins, lost, strict=True))
        ]
    return found


def test_the_cheapest_threshold_before_the_first_that_fails_is_chosen() -> None:
    trust = calibrate(logged(300, {0.6: 0.0, 1.0: 0.0, 0.4: 0.3, 0.8: 0.0}), Target(within=0.05), run="r")
    found = trust.certificate
    assert found is not None and found.certified and (found.n, found.delta) == (300, DELTA)
    assert (trust.threshold, trust.signals) == (0.6, ("votes",))
    assert [(row.threshold, row.passed) for row in found.tested] == [
        (1.0, True),
        (0.8, True),
        (0.6, True),
        (0.4, False),
    ]
    assert (found.tested[0].teacher_share, found.teacher_dollars) == (0.1, 1.0)


def test_a_threshold_behind_one_that_failed_is_not_certified_however_well_it_did() -> None:
    found = calibrate(logged(300, {1.0: 0.0, 0.8: 0.3, 0.6: 0.0}), Target(within=0.05)).certificate
    assert found is not None
    assert [row.passed for row in found.tested] == [True, False, False]


def test_where_nothing_passes_the_teacher_always_acts_and_the_record_says_so() -> None:
    for episodes in (logged(300, {1.0: 0.2, 0.8: 0.2}), logged(20, {1.0: 0.0})):
        trust = calibrate(episodes, Target(within=0.02))
        assert trust.threshold is None and trust.certificate is not None and not trust.certificate.certified


def test_dollars_are_tested_from_the_cheapest_on_and_the_most_successful_is_chosen() -> None:
    rng = np.random.default_rng(0)
    episodes = [
        e.model_copy(update={"spend": (Spend(actor="t", model="m", usage=Usage(dollars=float(d))),)})
        for e in logged(200, {1.0: 0.0, 0.8: 0.02, 0.6: 0.2})
        for d in [rng.lognormal(-1.0 if e.arm != "cascade:1" else 0.0, 0.3)]
    ]
    trust = calibrate(episodes, Target(dollars=0.5))
    assert trust.certificate is not None and trust.certificate.certified
    assert trust.threshold == 0.8
    nothing = calibrate(episodes, Target(dollars=0.01))
    assert nothing.certificate is not None and not nothing.certificate.certified
    assert nothing.threshold in (0.6, 0.8)


def test_episodes_without_a_score_are_in_no_figure_and_are_counted() -> None:
    episodes = [*logged(100, {1.0: 0.0}), episode("teacher", 500, True, 1.0), episode("cascade:1", 500, None, 0.1)]
    found = calibrate(episodes, Target(within=0.1)).certificate
    assert found is not None and (found.tested[0].tasks, found.tested[0].unscored) == (100, 1)


def test_sets_of_signals_share_the_chance_of_being_wrong() -> None:
    episodes = logged(125, {1.0: 0.0})
    episodes += [e.model_copy(update={"arm": "cascade:similarity:1"}) for e in episodes if e.arm == "cascade:1"]
    p = success_p([0.0] * 125, 0.03)
    assert DELTA / 2 < p < DELTA
    found = calibrate(episodes, Target(within=0.03), delta=DELTA).certificate
    assert found is not None and not found.certified and "2 sets of signals" in found.method


@pytest.mark.parametrize(
    ("target", "delta", "said"),
    [
        (Target(), 0.1, "one target"),
        (Target(within=0.1, dollars=1.0), 0.1, "one target"),
        (Target(within=2.0), 0.1, "2 points"),
        (Target(dollars=-1.0), 0.1, "more than 0"),
        (Target(within=0.1), 1.5, "delta"),
    ],
)
def test_targets_that_are_none(target: Target, delta: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        calibrate(logged(3, {1.0: 0.0}), target, delta=delta)


def test_runs_that_cannot_be_calibrated_say_what_they_lack() -> None:
    with pytest.raises(ConfigError, match="--arms teacher"):
        calibrate([episode("teacher", 0, True, 1.0)], Target(within=0.1), run="r")
    unpriced = [episode("teacher", 0, True, 1.0), episode("cascade:1", 0, True, None)]
    with pytest.raises(ConfigError, match="without a price"):
        calibrate(unpriced, Target(dollars=1.0), run="r")
    with pytest.raises(DataError, match="no cascade with a threshold"):
        roles = {"cascade:x": Role(name="cascade:x", kind="cascade", trust="x", family="cascade")}
        calibrate([*unpriced, episode("cascade:x", 0, True, 1.0)], Target(within=0.1), run="r", roles=roles)


# --- validity: what is certified holds, however often the experiment is repeated --------------------------------------

REPETITIONS, TASKS, WITHIN = 500, 150, 0.05
DROPS = {1.0: 0.0, 0.8: 0.02, 0.6: 0.05, 0.4: 0.08}
"""True distances to the teacher; 0.05 and more miss the target."""
SLACK = 3 * np.sqrt(DELTA * (1 - DELTA) / REPETITIONS)


def differences(rng: np.random.Generator, drop: float, noise: float = 0.03) -> np.ndarray:
    """Paired differences with mean -drop: the cascade also wins at times where the teacher loses."""
    u = rng.random(TASKS)
    return np.where(u < noise, 1.0, np.where(u < 2 * noise + drop, -1.0, 0.0))


def test_what_is_certified_misses_the_target_with_probability_delta_at_most() -> None:
    rng = np.random.default_rng(11)
    violated, naive = 0, 0
    for _ in range(REPETITIONS):
        drawn = {threshold: differences(rng, drop) for threshold, drop in DROPS.items()}
        passed = fixed_sequence([success_p(drawn[t], WITHIN) for t in GRID], DELTA)
        violated += passed > 0 and DROPS[GRID[passed - 1]] >= WITHIN
        best = [t for t in GRID if drawn[t].mean() > -WITHIN]
        naive += bool(best) and DROPS[min(best)] >= WITHIN
    assert violated / REPETITIONS <= DELTA + SLACK
    # Taking the cheapest threshold that looks good on the calibration tasks breaks the promise.
    assert naive / REPETITIONS > 3 * (DELTA + SLACK)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.15])
def test_the_p_value_of_a_threshold_on_the_edge_is_valid(noise: float) -> None:
    rng = np.random.default_rng(12)
    p = np.array([success_p(differences(rng, WITHIN, noise), WITHIN) for _ in range(REPETITIONS)])
    for level in (0.05, 0.1, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / REPETITIONS)


def test_as_good_as_the_teacher_is_certified_mostly() -> None:
    rng = np.random.default_rng(13)
    found = [success_p(differences(rng, 0.0, 0.01), 0.1) <= DELTA for _ in range(100)]
    assert np.mean(found) > 0.9


def test_the_p_value_of_dollars_is_about_valid_and_none_is_given_for_few() -> None:
    rng = np.random.default_rng(14)
    bills = rng.lognormal(0.0, 0.5, (REPETITIONS, TASKS))
    p = np.array([dollars_p(list(row), float(np.exp(0.125))) for row in bills])
    assert (p <= 0.1).mean() <= 0.1 + 0.05
    assert dollars_p([0.0] * (FEWEST - 1), 1.0) == 1.0
    assert dollars_p([0.5] * 50, 1.0) == 0.0 and dollars_p([1.0] * 50, 1.0) == 1.0


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line_calibrates_a_run_and_shows_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunWriter(tmp_path / "run", {"benchmark": "made up"}) as writer:
        for e in logged(200, {1.0: 0.0, 0.6: 0.3}):
            writer.start(e.id, e.arm, e.task, e.seed, e.config)
            writer.end(e)
    file = tmp_path / "trust.json"
    main(["trust", "calibrate", str(tmp_path / "run"), "--within", "0.05", "-o", str(file)])
    said = capsys.readouterr().out
    assert "Certified" in said and "learn then test" in said and "0.6" in said
    trust = Trust.load(file)
    assert trust.threshold == 1.0 and trust.certificate is not None
    assert trust.certificate.settings == {"benchmark": "made up"}
    main(["trust", "show", str(file)])
    assert "all its samples agree" in capsys.readouterr().out
    for more in (["--json"], []):
        with pytest.raises(SystemExit, match="1"):
            main(["trust", "calibrate", str(tmp_path / "run"), "--within", "0.001", *more])
        said = capsys.readouterr().out
        assert json.loads(said)["threshold"] is None if more else "NOT certified" in said
    with pytest.raises(SystemExit):
        main(["trust", "calibrate", str(tmp_path / "run")])
    assert "one target" in capsys.readouterr().err
