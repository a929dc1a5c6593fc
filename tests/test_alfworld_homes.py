"""Generated homes: seeded, balanced, disjoint between splits, and won by their walkthroughs."""

import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.benchmarks.alfworld.again import SPLIT, Again, copied
from atlas.benchmarks.alfworld.engine import Engine
from atlas.benchmarks.alfworld.game import Game
from atlas.benchmarks.alfworld.goal import parse_goal
from atlas.benchmarks.alfworld.homes import FAMILIES, homes, write
from atlas.benchmarks.alfworld.homes_rooms import household, layouts
from atlas.errors import ConfigError
from atlas.records import content_hash

seeds = st.integers(min_value=0, max_value=2**40)


def digest(games: list[Game]) -> str:
    """Identity of the games themselves: the domain, equal in all of them, may get a better comment."""
    return content_hash([game.model_dump(mode="json", exclude={"pddl_domain"}) for game in games])


def furniture(game: Game) -> tuple[tuple[str, int], ...]:
    """The layout as a player sees it: how many receptacles of each kind the problem states."""
    return tuple(sorted(Counter(re.findall(r"\(receptacleType \w+ (\w+)\)", game.pddl_problem)).items()))


def test_the_same_arguments_give_the_same_games_and_more_games_only_add() -> None:
    twelve = homes("train", 12, seed=3)
    assert digest(homes("train", 12, seed=3)) == digest(twelve)
    assert homes("train", 30, seed=3)[:12] == twelve
    assert digest(homes("train", 12, seed=4)) != digest(twelve)
    assert digest(homes("unseen", 12, seed=3)) != digest(twelve)


def test_games_are_the_same_in_every_release() -> None:
    """Published figures name a split and a seed, so a change here must be deliberate."""
    assert digest(homes("train", 24)) == "dec2258cf41ed909"
    assert digest(homes("unseen", 24)) == "98f59a06e087e207"


def test_task_types_are_balanced_and_ids_unique() -> None:
    games = homes("train", 120)
    assert Counter(game.task_type for game in games) == dict.fromkeys(FAMILIES, 20)
    assert len({game.id for game in games}) == 120
    assert re.fullmatch(r"homes/train/0/00003-heat-kitchen-\d\d", games[3].id)


def test_families_restrict_and_order() -> None:
    wanted = ["pick_two_obj_and_place", "look_at_obj_in_light"]
    assert [game.task_type for game in homes("unseen", 4, families=wanted)] == wanted * 2


@given(seeds, seeds)
@settings(max_examples=10, deadline=None)
def test_no_layout_is_in_both_splits_whatever_the_seeds(one: int, other: int) -> None:
    train = {furniture(game) for game in homes("train", 60, seed=one)}
    assert train.isdisjoint(furniture(game) for game in homes("unseen", 60, seed=other))


@pytest.mark.parametrize("room", sorted(household().rooms))
def test_layouts_of_a_room_are_distinct_and_of_real_size(room: str) -> None:
    for split in ("train", "unseen"):
        drawn = layouts(split, 0, room)
        assert len({tuple(sorted(layout.receptacles.items())) for layout in drawn}) == len(drawn)
        assert all(8 <= len(layout.names) <= 33 for layout in drawn)


@given(seeds, st.sampled_from(["train", "unseen"]))
@settings(max_examples=25, deadline=None)
def test_walkthroughs_win_and_no_sooner_than_with_their_last_command(seed: int, split: str) -> None:
    for game in homes(split, 6, seed=seed):  # type: ignore[arg-type]
        engine = Engine(game)
        for command in game.walkthrough:
            assert not engine.done
            assert command in engine.admissible
            engine.step(command)
        assert engine.done
        assert engine.score == 1.0


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_goals_read_as_those_of_alfworld(seed: int) -> None:
    for game in homes("train", 12, seed=seed):
        goal = parse_goal(game.goal)
        assert goal is not None
        assert goal.kind == FAMILIES[game.task_type]


def test_targets_are_often_behind_doors_but_not_always() -> None:
    games = [game for game in homes("train", 300) if game.task_type != "look_at_obj_in_light"]
    behind_doors = sum(game.walkthrough[1].startswith("open ") for game in games)
    assert 0.4 < behind_doors / len(games) < 0.75


def test_written_games_read_back(tmp_path: Path) -> None:
    games = homes("unseen", 6)
    assert [Game.load(path, root=tmp_path) for path in write(games, tmp_path)] == games


@pytest.mark.parametrize(
    ("split", "n", "families", "said"),
    [
        ("test", 1, None, "'test'"),
        ("train", -1, None, "-1"),
        ("train", 1, ["pick"], "'pick'"),
        ("train", 1, [], "empty"),
    ],
)
def test_what_cannot_be_generated_is_named(split: str, n: int, families: list[str] | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        homes(split, n, families=families)  # type: ignore[arg-type]


@pytest.mark.reference
def test_the_stock_engine_plays_them_alike(tmp_path: Path) -> None:
    """Walkthroughs in TextWorld itself: same observations, admissible commands and reward as in our engine."""
    envs = pytest.importorskip("textworld.envs.pddl", reason="install the alfworld-reference extra")
    core = pytest.importorskip("textworld.core")
    alfworld = pytest.importorskip("alfworld.agents.environment.alfred_tw_env")
    games = homes("unseen", 6)
    for game, path in zip(games, write(games, tmp_path), strict=True):
        ours = Engine(game)
        stock = alfworld.AlfredDemangler(envs.PddlEnv(core.EnvInfos(admissible_commands=True)))
        stock.load(str(path))
        state, score = stock.reset(), 0
        for command in (*game.walkthrough, None):
            assert (state["feedback"], tuple(state["admissible_commands"]), score) == (
                ours.observation,
                ours.admissible,
                ours.score,
            )
            if command is not None:
                ours.step(command)
                state, score, _ = stock.step(command)
        assert score == 1


def test_on_another_day_a_home_has_the_same_goal_and_other_objects() -> None:
    first, later = homes("unseen", 12), homes("unseen", 12, day=1)
    assert [(g.goal, g.scene, g.task_type) for g in first] == [(g.goal, g.scene, g.task_type) for g in later]
    assert all(a.pddl_problem != b.pddl_problem for a, b in zip(first, later, strict=True))
    assert not {game.id for game in first} & {game.id for game in later}
    assert homes("unseen", 3, day=1) == later[:3] and homes("unseen", 3, day=2) != later[:3]


def test_homes_to_come_back_to_are_short_and_have_a_goal_each() -> None:
    suite = Again()
    first, later = suite.demo_tasks(SPLIT, 6), suite.tasks(SPLIT, 6)
    goals = [ref.environment().task.goal for ref in first]
    assert goals == [ref.environment().task.goal for ref in later] and len(set(goals)) == 6
    assert [ref.id for ref in later] == [f"{ref.id}/day-1" for ref in first]
    assert [ref.id for ref in suite.tasks(SPLIT, 3)] == [ref.id for ref in later[:3]]
    assert suite.tasks(SPLIT, 0) == [] and suite.demo_tasks(SPLIT, 0) == []
    # To do again what was done does in some of them, not in all: it is told beside who reads it.
    assert 0 < copied(6) < 6
    with pytest.raises(ConfigError, match="give another-day"):
        suite.tasks("test", 1)
