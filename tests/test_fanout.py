"""Episodes in many processes: the same results as in one, whatever becomes of a worker."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import atlas
from atlas.benchmarks.alfworld.suite import HOMES, Alfworld
from atlas.benchmarks.alfworld.teacher import ScriptedExpert
from atlas.benchmarks.arm import Cast
from atlas.benchmarks.bench import Bench
from atlas.benchmarks.options import BenchOptions
from atlas.cli import main
from atlas.copying.nearest import Nearest
from atlas.errors import ConfigError, MissingExtra, ModelError
from atlas.fanout import cluster
from atlas.fanout.standin import About, Asked, Replied, about, answered, stand_in
from atlas.protocols import RanksActions, ReadsView
from atlas.records import Ask, Completion, Price, Prompt, Reply, Stop, Task, Usage, View
from atlas.traces import Run
from tests.fake_ray import FakeRay, fake_ray

__all__ = ["fake_ray"]

OPTIONS = BenchOptions(
    split=HOMES, arms=("student", "cascade@2"), n=3, demos=3, embedder="hash", seeds=(0, 1), max_steps=15
)
TIMES = {"id", "run", "started", "finished", "seconds", "time", "episode"}
PRICE = Price(prompt=0, completion=1.0)


class Slow(Nearest):
    """Long enough for something to happen meanwhile."""

    async def sample(self, ask: Ask) -> Completion:
        await asyncio.sleep(0.005)
        return await super().sample(ask)


class Paid(ScriptedExpert):
    """A hundred tokens a call, and some time."""

    async def sample(self, ask: Ask) -> Completion:
        await asyncio.sleep(0.005)
        found = await super().sample(ask)
        return found.replace(usage=Usage(calls=1, completion_tokens=100, dollars=1e-4))


class Weights(Nearest):
    single = True

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def __reduce__(self) -> Any:
        raise TypeError("weights are not sent around")

    async def sample(self, ask: Ask) -> Completion:
        self.asked += 1
        return await super().sample(ask)


def bench(folder: Path, cast: Cast | None = None, **options: Any) -> Bench:
    players = cast or Cast(student=Nearest(), teacher=ScriptedExpert())
    return Bench(suite=Alfworld(), cast=players, options=replace(OPTIONS, **options), folder=folder)


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: timeless(inner) for name, inner in value.items() if name not in TIMES}
    return [timeless(inner) for inner in value] if isinstance(value, list | tuple) else value


def played(folder: Path) -> dict[Any, Any]:
    """All that a run says of its episodes, but for ids and times. Each has ended once."""
    found = {}
    for stored in Run(folder).episodes():
        if stored.result is None or stored.result.stop is Stop.CANCELLED:
            continue
        key = (stored.arm, stored.task.id, stored.seed)
        assert key not in found, "an episode that had ended was played again"
        steps = [timeless(step.model_dump(mode="json")) for step in stored.steps]
        found[key] = (timeless(stored.result.model_dump(mode="json")), steps)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """What one process plays undisturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    asyncio.run(bench(folder).run())
    return played(folder)


# --- the same results -------------------------------------------------------------------------------------------------


async def test_workers_play_what_one_process_plays(tmp_path: Path, fake_ray: FakeRay) -> None:
    arms = ("cascade@2", "pamphlets", "random-route@2", "online")
    one = await bench(tmp_path / "one", arms=arms, n=2).run()
    many = await bench(tmp_path / "many", arms=arms, n=2, ray="local").run()
    assert len(one) == len(many) == 3 + 4 * len(arms)
    assert played(tmp_path / "one") == played(tmp_path / "many")
    assert len(fake_ray.actors) == 2 and not fake_ray.living
    assert Run(tmp_path / "one").manifest["config"] == Run(tmp_path / "many").manifest["config"]


async def test_a_run_goes_on_in_one_process_and_in_many(
    tmp_path: Path, fake_ray: FakeRay, whole: dict[Any, Any]
) -> None:
    slow = Cast(student=Slow(), teacher=ScriptedExpert())
    for ray, seconds in (("local", 0.0), ("local", 0.15), (None, 0.15), ("local", 0.15)):
        part = bench(tmp_path / "parts", slow, ray=ray)
        part.cut = asyncio.get_running_loop().time() + seconds  # time.monotonic, as loops have it
        await part.run()
    await bench(tmp_path / "parts", slow, ray="local").run()
    assert played(tmp_path / "parts") == whole


async def test_a_worker_that_dies_costs_what_it_was_at(
    tmp_path: Path, fake_ray: FakeRay, whole: dict[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    killed = 0

    def seen(doing: str, episodes: Sequence[object]) -> None:
        nonlocal killed
        if killed < 2 and len(episodes) >= (5, 11)[killed]:
            killed += 1
            max(fake_ray.living, key=lambda actor: len(actor.inner._playing)).die()

    going = bench(tmp_path / "run", Cast(student=Slow(), teacher=ScriptedExpert()), ray="local")
    going.seen = seen
    with caplog.at_level(logging.WARNING, "atlas.fanout"):
        await going.run()
    assert killed == 2 and len(fake_ray.actors) == 4 and "played again" in caplog.text
    assert played(tmp_path / "run") == whole


async def test_an_episode_that_no_worker_survives_is_an_error_and_the_others_go_on(
    tmp_path: Path, fake_ray: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atlas.fanout.worker import Call, Worker

    play, refs = Worker._play, Alfworld().tasks(HOMES, 3, 0)

    async def deadly(self: Worker, call: Call) -> None:
        if call.task == refs[1].id:
            next(actor for actor in fake_ray.living if actor.inner is self).die()
        await play(self, call)

    monkeypatch.setattr(Worker, "_play", deadly)
    options = {"arms": ("student",), "demos": 0, "seeds": (0,), "concurrency": 1, "ray": "local"}
    found = await bench(tmp_path / "run", **options).run()
    stops = {e.task.id: e.stop for e in found}
    assert stops.pop(refs[1].id) is Stop.ERROR and Stop.ERROR not in stops.values() and len(stops) == 2
    failure = next(e.failure for e in found if e.failure is not None)
    assert "3 times" in failure.message
    monkeypatch.setattr(Worker, "_play", play)
    assert all(e.stop is not Stop.ERROR for e in await bench(tmp_path / "run", **options).run())


@pytest.mark.parametrize("limit", [{"budget_tokens": 2000}, {"budget_dollars": 20 * 1e-4}])
async def test_a_budget_is_that_of_all_workers(tmp_path: Path, fake_ray: FakeRay, limit: dict[str, float]) -> None:
    cast = Cast(student=Nearest(), teacher=Paid(price=PRICE))
    going = bench(tmp_path / "run", cast, arms=("teacher",), demos=0, n=4, concurrency=6, ray="local", **limit)
    await going.run()
    calls = sum(s.usage.calls for stored in Run(tmp_path / "run").episodes() for s in stored.spend)
    assert 20 <= calls < 20 + 6 and going.unplayed


async def test_a_model_with_weights_is_there_once(tmp_path: Path, fake_ray: FakeRay, whole: dict[Any, Any]) -> None:
    student = Weights()
    await bench(tmp_path / "run", Cast(student=student, teacher=ScriptedExpert()), ray="local").run()
    assert student.asked and played(tmp_path / "run") == whole


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_what_keeps_workers_from_beginning_is_told(tmp_path: Path, fake_ray: FakeRay) -> None:
    going = bench(tmp_path / "run", ray="local")
    going.makes = keyless
    with pytest.raises(ConfigError, match=r"^the key is not set there$"):
        await going.run()


def keyless(models: object) -> Any:
    raise ConfigError("the key is not set there")


async def test_who_cannot_be_sent_is_told_of(tmp_path: Path, fake_ray: FakeRay) -> None:
    student = Weights()
    student.single = False  # type: ignore[misc]
    with pytest.raises(ConfigError, match="cannot be sent to other processes"):
        await bench(tmp_path / "run", Cast(student=student, teacher=ScriptedExpert()), ray="local").run()


def command(*more: str) -> list[str]:
    return ["bench", "alfworld", "--split", "homes", "--n", "1", "--demos", "0", "--arms", "student", *more]


def test_without_ray_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        main(command("-o", str(tmp_path / "run"), "--ray"))
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "--ray needs packages" in said and "[ray]" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--ray", "ray://10.0.0.1:10001"], "outside of the cluster"),
        (["--ray", "here"], "takes HOST:PORT, auto, or nothing"),
        (["--ray", "--graph"], "leave out one"),
        (["--ray", "--otlp", "http://127.0.0.1:4318"], "atlas traces export"),
    ],
)
def test_what_cannot_be_had_is_refused_before_there_is_a_run(
    tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command("-o", str(tmp_path / "run"), *more))
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and said in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_another_version_on_the_cluster_is_one_sentence() -> None:
    import platform

    ours = platform.python_version()
    cluster.check_versions("10.0.0.1:6379", {"10.0.0.1": (ours, atlas.__version__)})
    for python, version, said in (
        (ours, "", "has no atlas: install"),
        (ours, "0.0.1", "has atlas 0.0.1, and this is"),
        ("3.10.2", atlas.__version__, "has Python 3.10.2, and this is"),
    ):
        with pytest.raises(ConfigError, match=said) as raised:
            cluster.check_versions("10.0.0.1:6379", {"10.0.0.1": (python, version)})
        assert "\n" not in str(raised.value) and "10.0.0.1" in str(raised.value)
    mismatch = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.2\n"
        "This process on node 10.0.0.1:6379 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    assert cluster._why("10.0.0.1:6379", mismatch) == (
        "the Ray cluster at 10.0.0.1:6379 has Ray 2.9.0 on Python 3.10.2, and this is Ray 2.60.0 on Python 3.11.7: "
        "install the same on all of its machines"
    )


def test_an_extra_that_is_missing_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra):
        cluster.check_ray("local")


# --- a model elsewhere ------------------------------------------------------------------------------------------------


class Ranker(RanksActions, ReadsView):
    name, price, shares_prompt, form, rank = "ranker", PRICE, True, "transcript", "mean"
    reads_windows = True

    async def sample(self, ask: Ask) -> Completion:
        ask.paid(Usage(calls=1, completion_tokens=3))
        if ask.temperature:
            raise ModelError("it is tired", status=503, code="tired")
        return Completion(replies=(Reply(text="go"),))


async def test_a_stand_in_answers_pays_and_fails_as_the_model_does() -> None:
    model = Ranker()
    told = about(model)
    assert told == About("ranker", PRICE, True, ("transcript", "mean", False), (False, True))

    async def elsewhere(ask: Ask) -> Replied:
        return await answered(model, Asked(0, "student", ask))

    other: Any = stand_in(told, elsewhere)
    assert isinstance(other, RanksActions) and isinstance(other, ReadsView) and other.reads_windows
    assert (other.name, other.price, other.form, other.rank) == ("ranker", PRICE, "transcript", "mean")
    paid: list[Usage] = []
    ask = Ask(View(task=Task(id="t", goal="g"), opening=""), Prompt(), paid=paid.append)
    assert (await other.sample(ask)).replies[0].text == "go" and len(paid) == 1
    with pytest.raises(ModelError, match="tired") as raised:
        await other.sample(ask.replace(temperature=1.0))
    assert raised.value.status == 503 and raised.value.code == "tired" and len(paid) == 2


def test_the_option_stands_alone_or_takes_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    monkeypatch.setattr("atlas.benchmarks.bench.check_fanned", lambda options: seen.append(options.ray))
    monkeypatch.setattr("atlas.benchmarks.fanned.connected", _refused)
    for more in (["--ray"], ["--ray", "10.0.0.1:6379"], []):
        try:
            main(command("-o", str(tmp_path / f"run{len(seen)}"), "--json", *more))
        except SystemExit as stopped:
            assert stopped.code in (0, 2)
    assert Counter(seen) == Counter({"local": 2, "10.0.0.1:6379": 2, None: 2})
    assert json.loads(capsys.readouterr().out)["arms"]


def _refused(address: str) -> Any:
    raise ConfigError("not in this test")


def test_a_machine_that_is_too_busy_for_ray_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*given: object, **how: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because.\nMore of it.")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    monkeypatch.setattr(cluster, "find_spec", lambda name: ray)
    monkeypatch.setattr(cluster, "import_module", lambda name: ray)
    with (
        pytest.raises(ConfigError, match=r"could not be started on this machine \(The current node timed out"),
        cluster.connected(cluster.LOCAL),
    ):
        pass
