"""Plays one household game: the text a player reads, the commands that work, the reward.

Equal to the stock engine (TextWorld with ALFWorld's renaming) in observations, sorted admissible commands,
reward and done; `verify.py` proves it game by game. General over the PDDL that `pddl.py` reads: nothing here
knows of kitchens.

On purpose it differs where the stock engine's texts lose track of its own state, which no ALFWorld game shows: there a
conditional effect is written down as if it had happened even if its condition failed, and a template does not find
facts about an action's argument whose type lies below the parameter's.
"""

from __future__ import annotations

from atlas.benchmarks.alfworld.actions import PlayableAction
from atlas.benchmarks.alfworld.facts import Facts
from atlas.benchmarks.alfworld.game import Game
from atlas.benchmarks.alfworld.grammar import Entity, Reference, Template, parse_grammar
from atlas.benchmarks.alfworld.hierarchy import Types
from atlas.benchmarks.alfworld.names import readable_names
from atlas.benchmarks.alfworld.pddl import Problem, parse_domain, parse_problem
from atlas.benchmarks.alfworld.render import Renderer
from atlas.benchmarks.alfworld.search import Row, World, joins_for
from atlas.errors import DataError

NOTHING_HAPPENS = "Nothing happens."
INTRO: Template = (Reference("intro"),)


class Engine:
    """A game being played. Single use: a new engine opens the game anew.

    The game goes on after it is won, as in the stock engine: `score` and `done` tell of the present state, so who plays
    must stop when `done` is true.

    Attributes:
        observation: What the player reads now; at the opening the room and the task.
        admissible: The commands that work now, sorted, each once.
        score: 1.0 if the goal is reached, else 0.0.
        done: Whether the goal is reached.

    Raises:
        DataError: the game's PDDL or grammar cannot be read, or they do not fit together.
    """

    observation: str
    admissible: tuple[str, ...]
    score: float
    done: bool

    def __init__(self, game: Game) -> None:
        domain = parse_domain(game.pddl_domain)
        problem = parse_problem(game.pddl_problem, domain)
        grammar = parse_grammar(game.grammar)
        self.game = game
        self._facts = Facts(problem.init)
        world = World(self._facts, _by_type(problem, domain.types), problem.objects)
        self._renderer = Renderer(grammar, self._facts, _entities(problem), domain.types)
        for schema in domain.actions:
            if schema.name not in grammar.actions:
                raise DataError(f"the grammar of the game {game.id!r} has no texts for its action {schema.name!r}")
        self._actions = [
            PlayableAction(schema, grammar.actions[schema.name], self._renderer, world, domain.fluents)
            for schema in domain.actions
        ]
        self._goal = joins_for(problem.goal, (), world)
        self._applicable: dict[str, tuple[PlayableAction, Row]] = {}
        self.observation = self._renderer.render(INTRO)
        self._look_around()

    def step(self, command: str) -> None:
        """Do `command`, blank space around it aside. What is not admissible changes nothing: ``Nothing happens.``"""
        chosen = self._applicable.get(command.strip())
        if chosen is None:
            self.observation = NOTHING_HAPPENS
            return
        action, arguments = chosen
        action.apply(arguments, self._facts)
        self.observation = action.feedback(arguments)
        self._look_around()

    def _look_around(self) -> None:
        applicable: dict[str, tuple[PlayableAction, Row]] = {}
        for action in self._actions:
            for arguments in action.applicable():
                applicable.setdefault(action.command(arguments), (action, arguments))
        self._applicable = applicable
        self.admissible = tuple(sorted(applicable))
        self.done = any(join.rows() for join in self._goal)
        self.score = 1.0 if self.done else 0.0


def _entities(problem: Problem) -> dict[str, Entity]:
    """What texts call each object. As in ALFWorld only objects that some fact names get a number."""
    names = readable_names({argument for atom in problem.init for argument in atom[1:]})
    return {entry: Entity(entry, kind, names.get(entry, entry)) for entry, kind in problem.objects.items()}


def _by_type(problem: Problem, types: Types) -> dict[str, list[str]]:
    """The objects of each type, those of its subtypes included."""
    objects: dict[str, list[str]] = {}
    for entry, kind in problem.objects.items():
        for ancestor in types.lineage(kind):
            objects.setdefault(ancestor, []).append(entry)
    return objects
