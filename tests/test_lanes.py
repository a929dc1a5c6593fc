"""Lanes: which supervision is chosen and why, what a coach and a reviewer change, and what a retry is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from atlas.actions import ChatActions
from atlas.asking import Desk
from atlas.benchmarks.alfworld.env import HouseholdEnv
from atlas.benchmarks.alfworld.homes import homes
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.copying.advice import advised
from atlas.errors import ConfigError, StoreError
from atlas.loop import Rollout
from atlas.memory.database import Database
from atlas.memory.embed import load_embedder
from atlas.memory.history import History, Outcome
from atlas.policies import Paired, Solo
from atlas.policies.coach import Coach, read_word
from atlas.policies.lanes import InLane, LaneRules, Lanes
from atlas.policies.probe import Probe, outcome, unaided
from atlas.policies.review import TeacherReview
from atlas.records import Message, Observation, Reply, Review, Stop, Task, ToolCall, Turn, View
from atlas.testing import ScriptedModel
from atlas.traces import Run, RunWriter
from atlas.wrap.agent import Agent


class Box:
    """Opens when it is told to; three tries."""

    def __init__(self, goal: str = "open the box", task: str = "t") -> None:
        self.task = Task(id=task, goal=goal)
        self.left = 3

    async def open(self) -> Observation:
        return Observation(text="a box", admissible=("open", "wait"), score=0.0)

    async def step(self, action: str) -> Observation:
        self.left -= 1
        won = action == "open"
        done = won or not self.left
        return Observation(text="ok", admissible=("open", "wait"), score=float(won), done=done)

    async def close(self) -> None: ...


def history(*outcomes: Outcome) -> History:
    kept = History(Database(":memory:"), load_embedder("hash"))
    for past in outcomes:
        kept.add(past)
    return kept


def past(
    number: int, unaided: float | None, *, goal: str = "open the box", lane: str = "auto", dollars: float = 0.0
) -> Outcome:
    return Outcome(
        episode=f"e{number}", task_id=f"past-{number}", goal=goal, lane=lane, success=bool(unaided), unaided=unaided,
        dollars=dollars,
    )  # fmt: skip


def view(goal: str = "open the box") -> View:
    return View(task=Task(id="now", goal=goal), opening="a box", admissible=("open", "wait"))


async def lane(probe: Probe, goal: str = "open the box") -> str:
    return (await probe.choose(view(goal), Desk())).lane


# --- the probe --------------------------------------------------------------------------------------------------------


async def test_a_task_like_nothing_known_is_coached() -> None:
    assert await lane(Probe(history())) == "coach"
    known = history(*(past(i, 1.0, goal="find two pillows and put them in the sofa") for i in range(20)))
    assert await lane(Probe(known, floor=0.6)) == "coach"


async def test_supervision_falls_with_success_and_rises_when_success_drops() -> None:
    kept, lanes = history(), []
    for number in range(30):
        lanes.append(await lane(Probe(kept)))
        kept.add(past(number, 1.0 if number < 12 else 0.0))
    assert lanes[0] == "coach" and "paired" in lanes[:6]
    assert lanes[8:13] == ["auto"] * 5
    assert lanes[-1] == "coach"
    assert lanes.index("coach", 13) - 13 <= 6


async def test_where_supervised_tasks_fail_too_the_student_is_let_alone_sooner() -> None:
    def known(won: int) -> History:
        """Coached tasks of which so many in four succeed, and the student by itself in half of them."""
        coached = [past(i, 0.5 if i % 4 < won else 0.0, lane="coach") for i in range(24)]
        return history(*coached, *(past(30 + i, float(i % 2), lane="auto") for i in range(6)))

    assert (await Probe(known(4), auto_at=0.8).choose(view(), Desk())).lane != "auto"
    choice = await Probe(known(1), auto_at=0.8).choose(view(), Desk())
    assert choice.lane == "auto" and "24 tasks; let alone" not in choice.reason


async def test_as_often_as_supervised_tasks_fail_the_student_is_let_alone_to_learn_how_it_does() -> None:
    async def tries(*outcomes: Outcome) -> int:
        probe = Probe(history(*outcomes))
        tasks = [view().replace(task=Task(id=f"t{n}", goal="open the box")) for n in range(200)]
        chosen = [await probe.choose(task, Desk()) for task in tasks]
        assert all((choice.lane == "auto") == ("let alone" in choice.reason) for choice in chosen)
        return sum(choice.lane == "auto" for choice in chosen)

    won = [past(i, 0.2, lane="coach") for i in range(20)]
    mixed = [past(i, 0.2 * (i % 2), lane="coach") for i in range(20)]
    assert await tries() == await tries(*won) == 0
    assert 60 < await tries(*mixed) < 110
    # Alone it failed as well: that is known, and looked at less often.
    assert 5 < await tries(*mixed, *(past(30 + i, 0.0, lane="auto") for i in range(12))) < 40


async def test_an_unscored_episode_is_no_evidence() -> None:
    scored = history(*(past(i, 1.0) for i in range(6)))
    mixed = history(*(past(i, 1.0) for i in range(6)), *(past(10 + i, None) for i in range(5)))
    first = await Probe(scored).choose(view(), Desk())
    second = await Probe(mixed, k=20).choose(view(), Desk())
    assert (first.lane, first.tasks) == (second.lane, second.tasks) == ("auto", 6)


async def test_the_reason_names_the_count_and_a_models_estimate_stands_beside_it() -> None:
    model = ScriptedModel(["I would say 0.9.", "no idea"])
    probe = Probe(history(past(0, 1.0)), estimator=model)
    desk = Desk()
    choice = await probe.choose(view(), desk)
    assert choice.estimate == 0.9 and "1 tasks like this one" in choice.reason and "0.90" in choice.reason
    assert [s.actor for s in desk.spent] == ["probe"] and desk.spent[0].usage.tokens > 0
    silent = await probe.choose(view(), desk)
    assert silent.estimate is None and desk.spent[0].usage.calls == 2
    assert model.asks[0].purpose == "estimate"


async def test_the_task_itself_is_no_task_like_it() -> None:
    own = history(*(past(i, 1.0).model_copy(update={"task_id": "now"}) for i in range(6)))
    assert await lane(Probe(own)) == "coach"


# --- what a user allows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "chosen"),
    [
        (LaneRules(force="auto"), "auto"),
        (LaneRules(forbid=("coach",)), "paired"),
        (LaneRules(forbid=("coach", "paired")), "auto"),
        (LaneRules(dollars={"coach": 1.0}), "paired"),
        (LaneRules(dollars={"coach": 3.0}), "coach"),
    ],
)
async def test_lanes_can_be_forced_forbidden_and_budgeted(rules: LaneRules, chosen: str) -> None:
    kept = history(past(0, 0.0, lane="coach", dollars=2.0))
    student = Solo(ScriptedModel(lambda ask: "Action: open"))
    lanes = Lanes(student, Coach(student, ScriptedModel(lambda ask: "Verdict: good")), Probe(kept), rules=rules)
    decided = await lanes.decide(view(), Desk())
    assert decided.lane is not None and decided.lane.lane == chosen
    assert "chance of the student" in decided.lane.reason


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (LaneRules(force="best"), "there is no lane 'best': choose among auto, paired, coach"),
        (LaneRules(forbid=("auto", "paired", "coach")), "every lane is forbidden"),
        (LaneRules(force="auto", forbid=("auto",)), "forced and forbidden"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: LaneRules, says: str) -> None:
    student = Solo(ScriptedModel([]))
    with pytest.raises(ConfigError, match=says):
        Lanes(student, student, Probe(history()), rules=rules)


async def test_a_dollar_budget_needs_prices() -> None:
    kept = history(past(0, 0.0, lane="coach").model_copy(update={"dollars": None}))
    student = Solo(ScriptedModel(lambda ask: "Action: open"))
    with pytest.raises(ConfigError, match="without a price"):
        await Lanes(student, student, Probe(kept), rules=LaneRules(dollars={"coach": 1.0})).decide(view(), Desk())


# --- the coach --------------------------------------------------------------------------------------------------------


def obedient() -> ScriptedModel:
    """Waits, unless it is advised: it reads its prompt."""
    return ScriptedModel(
        lambda ask: "Action: open" if "Action: open" in ask.prompt.text() else "Action: wait", name="small"
    )


async def test_a_coach_corrects_a_step_and_the_student_takes_it() -> None:
    teacher = ScriptedModel(["Advice: Waiting opens nothing.\nAction: open"], name="big")
    desk = Desk()
    decided = await Coach(Solo(obedient()), teacher).decide(view(), desk)
    assert (decided.action, decided.actor, decided.reason) == ("open", "student", "corrected")
    assert "Waiting opens nothing" in decided.advice
    assert [(s.actor, s.model, s.usage.calls) for s in desk.spent] == [("student", "small", 2), ("teacher", "big", 1)]
    assert teacher.asks[0].purpose == "guide" and teacher.asks[0].proposal == "wait"
    assert "wants to do next: wait" in teacher.asks[0].prompt.text()


@pytest.mark.parametrize(
    ("said", "reason", "asked"),
    [
        (["Verdict: good"], "approved", 1),
        (["Verdict: ok, go on."], "approved", 1),
        (["Hmm.", "Verdict: good"], "approved", 2),
        (["Hmm.", "Hmm."], "unguided", 2),
        (["", ""], "unguided", 2),
        (["Verdict: not good", "Verdict: good? No."], "unguided", 2),
    ],
)
async def test_what_is_not_corrected_stays(said: list[str], reason: str, asked: int) -> None:
    desk, teacher = Desk(), ScriptedModel(said)
    decided = await Coach(Solo(obedient()), teacher).decide(view(), desk)
    assert (decided.action, decided.reason, decided.advice) == ("wait", reason, "")
    assert [(s.actor, s.usage.calls) for s in desk.spent] == [("student", 1), ("teacher", asked)]
    assert ["Your reply before" in ask.prompt.text() for ask in teacher.asks] == [False, True][:asked]


async def test_a_coach_asked_again_may_advise() -> None:
    teacher = ScriptedModel(["I see.", "Advice: Waiting opens nothing.\nAction: open"])
    decided = await Coach(Solo(obedient()), teacher).decide(view(), Desk())
    assert (decided.action, decided.reason) == ("open", "corrected")


@pytest.mark.parametrize(
    ("said", "expected"),
    [("Verdict: good", 1.0), ("Hmm.", None), ("Advice: so\nAction: open", 0.0)],
)
async def test_an_unreadable_coach_is_no_evidence_of_what_the_student_can(said: str, expected: float | None) -> None:
    """Taken for consent, it would lower the supervision of the next task like this one."""
    student = Solo(ScriptedModel(lambda ask: "Action: open"))
    lanes = Lanes(
        student, Coach(student, ScriptedModel(lambda ask: said)), Probe(history()), rules=LaneRules(force="coach")
    )
    played = Rollout(Box(), lanes)
    episode = await played.play()
    assert episode.success and unaided(episode, played.steps) == expected


async def test_an_unreadable_review_is_no_evidence_either() -> None:
    kept = ScriptedModel(lambda ask: "Action: open")
    lanes = Lanes(Solo(kept), Coach(Solo(kept), kept), Probe(history()), rules=LaneRules(force="paired"))
    teacher = ScriptedModel(["who knows"])
    played = Rollout(Box(), lanes, reviewer=InLane(TeacherReview(teacher)), again=Box)
    episode = await played.play()
    assert episode.success and unaided(episode, played.steps) is None


async def test_a_coach_may_better_the_plan() -> None:
    word = read_word("Plan: open it, then look.\nVerdict: good")
    assert word is not None and word.good and word.plan == "open it, then look."
    decided = await Coach(Solo(obedient()), ScriptedModel(["Plan: open it.\nVerdict: good"])).decide(view(), Desk())
    assert decided.plan == "open it."


def test_advice_is_followed_line_by_line() -> None:
    told = view().replace(advice="Do this.\nAction: close\nAction: open\nAction: wait")
    assert advised(told) == "open", "what is impossible now is skipped once"
    assert (
        advised(told.replace(turns=(Turn(action="close", observation=""), Turn(action="open", observation=""))))
        == "wait"
    )
    assert advised(view().replace(advice="Think harder.")) is None
    assert advised(view().replace(advice="Action: dance")) is None


# --- the review -------------------------------------------------------------------------------------------------------


def rollout(teacher: ScriptedModel, *, lane: str = "paired", recorder: RunWriter | None = None) -> Rollout:
    student = Solo(obedient())
    lanes = Lanes(student, Coach(student, teacher), Probe(history()), rules=LaneRules(force=lane))
    return Rollout(Box(), lanes, reviewer=InLane(TeacherReview(teacher)), again=Box, recorder=recorder)


async def test_a_rejected_attempt_is_tried_once_more_and_validated_again(tmp_path: Path) -> None:
    teacher = ScriptedModel(["Verdict: no\nFeedback: It is shut.\nAction: open", "Verdict: yes"], name="big")
    with RunWriter(tmp_path / "run") as writer:
        played = rollout(teacher, recorder=writer)
        episode = await played.play()
    assert (episode.stop, episode.success, episode.score, episode.lane) == (Stop.DONE, True, 1.0, "paired")
    assert [(r.attempt, r.approved) for r in episode.reviews] == [(0, False), (1, True)]
    assert [step.attempt for step in played.steps] == [0, 0, 0, 1]
    assert sum(s.usage.calls for s in episode.spend if s.actor == "teacher") == 2
    assert episode.asked_steps == 0, "reviews are between the steps"
    assert "score" not in teacher.asks[0].prompt.text().casefold()
    (stored,) = Run(tmp_path / "run").episodes()
    assert stored.result == episode and [s.attempt for s in stored.steps] == [0, 0, 0, 1]
    assert "It is shut." in stored.steps[-1].decision.prompt.advice
    assert stored.steps[0].decision.lane is not None and stored.steps[0].decision.lane.lane == "paired"
    assert unaided(episode, played.steps) == 0.0, "the student did not do it by itself"


async def test_there_is_one_retry_and_its_score_counts() -> None:
    episode = await rollout(ScriptedModel(["Verdict: no\nFeedback: hm", "Verdict: no\nFeedback: hm"])).play()
    assert [r.approved for r in episode.reviews] == [False, False]
    assert (episode.steps, episode.success) == (6, False)


@pytest.mark.parametrize("said", ["Verdict: yes", "who knows"])
async def test_without_a_rejection_there_is_no_retry(said: str) -> None:
    episode = await rollout(ScriptedModel([said])).play()
    assert len(episode.reviews) == 1 and episode.steps == 3
    assert episode.reviews[0].approved is (True if "yes" in said else None)


async def test_other_lanes_are_not_reviewed() -> None:
    episode = await rollout(ScriptedModel([]), lane="auto").play()
    assert episode.reviews == () and episode.lane == "auto"
    coached = await rollout(ScriptedModel(lambda ask: "Advice: go on\nAction: open"), lane="coach").play()
    assert coached.reviews == () and coached.success and coached.asked_steps == coached.steps == 1
    assert coached.teacher_steps == 0, "the student acts, the teacher only advises"


async def test_a_reviewer_that_fails_is_recorded_as_such() -> None:
    def broken(ask: object) -> str:
        raise ValueError("out of order")

    episode = await rollout(ScriptedModel(broken)).play()
    assert episode.stop is Stop.ERROR and episode.failure is not None
    assert (episode.failure.where, episode.failure.message) == ("reviewer", "out of order")
    assert episode.score is None


# --- the scripted expert as coach and reviewer, on real games ---------------------------------------------------------


@pytest.fixture
def play() -> Callable[..., Rollout]:
    def make(number: int, student: ScriptedModel, lane: str) -> Rollout:
        game = homes("train", 12)[number]
        expert, policy = ScriptedExpert(), Solo(student)
        lanes = Lanes(policy, Coach(policy, expert), Probe(history()), rules=LaneRules(force=lane))
        return Rollout(
            HouseholdEnv(game), lanes, reviewer=InLane(TeacherReview(expert)), again=lambda: HouseholdEnv(game)
        )

    return make


def lost() -> ScriptedModel:
    """A student that can do nothing but follow advice."""
    return ScriptedModel(lambda ask: f"Action: {advised(ask.view) or ask.view.admissible[0]}")


@pytest.mark.parametrize("number", range(6))
async def test_coached_by_the_expert_even_a_lost_student_succeeds(play: Callable[..., Rollout], number: int) -> None:
    episode = await play(number, lost(), "coach").play()
    assert episode.success, episode


@pytest.mark.parametrize("number", range(6))
async def test_the_expert_approves_its_own_attempts(play: Callable[..., Rollout], number: int) -> None:
    expert = ScriptedExpert()
    student = ScriptedModel([])
    student.sample = expert.sample  # type: ignore[method-assign]
    episode = await play(number, student, "paired").play()
    assert episode.success and [r.approved for r in episode.reviews] == [True]


@pytest.mark.parametrize("number", range(6))
async def test_the_expert_rejects_an_attempt_that_did_nothing(play: Callable[..., Rollout], number: int) -> None:
    episode = await play(number, ScriptedModel(lambda ask: "Action: look"), "paired").play()
    assert [r.approved for r in episode.reviews] == [False, False]
    assert "Plan:" in episode.reviews[0].feedback


# --- the history ------------------------------------------------------------------------------------------------------


async def test_outcomes_are_kept_once_and_seen_by_others(tmp_path: Path) -> None:
    path = str(tmp_path / "memory.sqlite")
    with_one, with_two = (History(Database(path), load_embedder("hash")) for _ in range(2))
    assert with_one.add(past(1, 1.0)) and not with_one.add(past(1, 0.0))
    assert [o.episode for o in with_two.all()] == ["e1"]
    assert with_one.add(past(2, 0.5))
    assert [n.outcome.episode for n in with_two.near("open the box", 5)] == ["e2", "e1"], "the newest first"


async def test_a_frozen_memory_keeps_no_outcomes(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "memory.sqlite"))
    kept = History(database, load_embedder("hash"))
    database.set_frozen(True, author="person:me", reason="done")
    with pytest.raises(StoreError, match="frozen"):
        kept.add(past(1, 1.0))


async def test_an_outcome_says_what_an_episode_was() -> None:
    played = rollout(ScriptedModel(lambda ask: "Advice: go on\nAction: open"), lane="coach")
    row = outcome(await played.play(), played.steps)
    assert (row.lane, row.success, row.unaided) == ("coach", True, 0.0)
    assert row.dollars is not None and row.dollars > 0


async def test_what_came_of_a_rejected_answer_that_was_given_is_known() -> None:
    played = rollout(ScriptedModel(lambda ask: "Action: open"), lane="paired")
    episode = await played.play()
    rejected = episode.replace(reviews=(Review(attempt=0, approved=False),), success=True)
    assert unaided(rejected, played.steps) == 0.0
    stood = [step.replace(decision=step.decision.replace(reason="stood")) for step in played.steps]
    assert unaided(rejected, stood) == 1.0 and unaided(rejected.replace(success=False), stood) == 0.0


# --- an answer is validated before it is given ------------------------------------------------------------------------


def answering() -> ScriptedModel:
    """Says 41, unless it was told better."""
    return ScriptedModel(lambda ask: "It is 42." if "count again" in ask.prompt.text() else "It is 41.", name="small")


def asked() -> View:
    return View(task=Task(id="q", goal="how many?"), opening="", messages=(Message(role="user", content="how many?"),))


@pytest.mark.parametrize(
    ("said", "text", "reason", "reviews"),
    [
        (["Verdict: yes"], "It is 41.", "solo", [True]),
        (["Verdict: no\nFeedback: count again", "Verdict: yes"], "It is 42.", "revised", [False, True]),
        (["Verdict: no\nFeedback: count again", "Verdict: no"], "It is 42.", "revised", [False, False]),
        (["no idea"], "It is 41.", "solo", [None]),
    ],
)
async def test_an_answer_is_revised_once(said: list[str], text: str, reason: str, reviews: list[bool | None]) -> None:
    teacher = ScriptedModel(said, name="big")
    policy = Paired(Solo(answering(), actions=ChatActions()), TeacherReview(teacher))
    desk = Desk()
    decided = await policy.decide(asked(), desk)
    assert (decided.text, decided.reason) == (text, reason)
    assert [r.approved for r in decided.reviews] == reviews
    assert sum(s.usage.calls for s in desk.spent if s.actor == "teacher") == len(said)
    assert "It is 41." in teacher.asks[0].prompt.text()


async def test_what_is_no_answer_is_not_reviewed() -> None:
    call = ToolCall(id="1", name="count", arguments="{}")
    student = ScriptedModel(lambda ask: Reply(text="", tool_calls=(call,)))
    decided = await Paired(Solo(student, actions=ChatActions()), TeacherReview(ScriptedModel([]))).decide(
        asked(), Desk()
    )
    assert decided.tool_calls == (call,) and decided.reviews == ()


def test_a_wrapped_agent_has_lanes(tmp_path: Path) -> None:
    """Coached while nothing is known of such tasks, validated when it did well, then alone."""
    teacher = ScriptedModel(lambda ask: "Verdict: good" if ask.purpose == "guide" else "Verdict: yes", name="big")
    with Agent(answering(), teacher, memory=tmp_path / "memory.sqlite", run=tmp_path / "run", lanes=True) as agent:
        for number in range(8):
            with agent.episode(f"how many in box {number}?") as episode:
                episode.client.chat.completions.create(
                    model="any", messages=[{"role": "user", "content": f"how many in box {number}?"}]
                )
                episode.succeed()
    episodes = [e.result for e in Run(tmp_path / "run").episodes() if e.result]
    lanes = [e.lane for e in episodes]
    assert lanes[0] == "coach" and lanes[-1] == "auto"
    assert [len(e.reviews) for e in episodes if e.lane == "paired"] == [1] * lanes.count("paired")
    assert not [s for s in episodes[-1].spend if s.actor == "teacher"]


def test_lanes_need_someone_to_supervise(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lanes need a student, a teacher and a memory"):
        Agent(answering(), memory=tmp_path / "memory.sqlite", lanes=True)
    with pytest.raises(ConfigError, match="lanes are a policy"):
        Agent(policy=Solo(answering()), lanes=True)
