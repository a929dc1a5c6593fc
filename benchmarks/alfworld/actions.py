"""An action schema made ready for one game: when it applies, what a player types and reads, what it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from atlas.benchmarks.alfworld.facts import Facts
from atlas.benchmarks.alfworld.grammar import ActionText, Listing, Reference, Slot, Template
from atlas.benchmarks.alfworld.pddl import TRUE, Action, Atom, Conjunction, Effect, Literal, Typed
from atlas.benchmarks.alfworld.render import Renderer
from atlas.benchmarks.alfworld.search import Join, Row, World


class PlayableAction:
    """An action of one game. Its arguments are the values of the schema's parameters, in order."""

    def __init__(
        self, schema: Action, text: ActionText, renderer: Renderer, world: World, fluents: frozenset[str]
    ) -> None:
        self._placeholders = [(name[1:], kind) for name, kind in schema.parameters]
        self._text = text
        self._renderer = renderer
        self._keeps_commands = _is_constant(text.command, fluents)
        self._commands: dict[Row, str] = {}
        self._ways = [_Way(conjunction, schema, world) for conjunction in schema.precondition]
        self._effects = [_Outcome(effect, schema.parameters, world) for effect in schema.effects]

    def applicable(self) -> Iterator[Row]:
        """The arguments for which the action can be done now, each once."""
        if len(self._ways) == 1:
            return self._ways[0].arguments()
        return iter(dict.fromkeys(arguments for way in self._ways for arguments in way.arguments()))

    def command(self, arguments: Row) -> str:
        """What a player types to do it. Remembered, if no action can change what the template asks of the facts."""
        if not self._keeps_commands:
            return self._render(self._text.command, arguments)
        text = self._commands.get(arguments)
        if text is None:
            text = self._commands[arguments] = self._render(self._text.command, arguments)
        return text

    def feedback(self, arguments: Row) -> str:
        """What a player reads after it."""
        return self._render(self._text.feedback, arguments)

    def apply(self, arguments: Row, facts: Facts) -> None:
        """Change the facts. Every condition is judged before any change; what is both added and deleted is added."""
        changes: dict[Atom, bool] = {}
        for effect in self._effects:
            for atom in effect.atoms(arguments):
                changes[atom] = effect.positive or changes.get(atom, False)
        for atom, holds in changes.items():
            if holds:
                facts.make_true(atom)
            else:
                facts.make_false(atom)

    def _render(self, template: Template, arguments: Row) -> str:
        objects = dict(zip(self._placeholders, arguments, strict=True))
        return self._renderer.render(template, self._renderer.scope(objects))


class _Outcome:
    """One effect of an action."""

    def __init__(self, effect: Effect, parameters: Sequence[Typed], world: World) -> None:
        self.positive = effect.literal.positive
        self._joins = [Join(conjunction, parameters, effect.variables, world) for conjunction in effect.condition]
        self._readers = [join.reader(effect.literal.atom) for join in self._joins]

    def atoms(self, arguments: Row) -> Iterator[Atom]:
        """The atoms it makes true (or false, unless `positive`)."""
        for join, read in zip(self._joins, self._readers, strict=True):
            yield from map(read, join.rows(arguments))


class _Way:
    """One alternative of an action's precondition."""

    def __init__(self, conjunction: Conjunction, schema: Action, world: World) -> None:
        self._join = Join(conjunction, (), schema.parameters, world)
        self._read = self._join.reader(name for name, _ in schema.parameters)
        self._is_idle = _idle_test(self._join, conjunction.literals, schema.effects)

    def arguments(self) -> Iterator[Row]:
        """The arguments for which this alternative holds and the action changes something."""
        rows = self._join.rows()
        if self._is_idle is not None:
            rows = [row for row in rows if not self._is_idle(row)]
        return map(self._read, rows)


def _idle_test(join: Join, before: Sequence[Literal], effects: Sequence[Effect]) -> Callable[[Row], bool] | None:
    """A test whether an action would bring about only what its own precondition says; ``None`` if it never would.

    Fast Downward drops such actions when it grounds a game: in ALFWorld, one cannot go to where one is.
    """
    required = {(literal.atom[0], literal.positive) for literal in before}
    added = {effect.literal.atom[0] for effect in effects if effect.literal.positive}
    for effect in effects:
        predicate, positive = effect.literal.atom[0], effect.literal.positive
        overridden = not positive and predicate in added
        unconditional = effect.condition == TRUE and not effect.variables
        if not unconditional or not (overridden or (predicate, positive) in required):
            return None
    needs = [(join.reader(literal.atom), literal.positive) for literal in before]
    makes = [(join.reader(effect.literal.atom), effect.literal.positive) for effect in effects]

    def is_idle(row: Row) -> bool:
        known = {read(row): positive for read, positive in needs}
        after: dict[Row, bool] = {}
        for read, positive in makes:
            atom = read(row)
            after[atom] = positive or after.get(atom, False)
        return all(known.get(atom) == holds for atom, holds in after.items())

    return is_idle


def _is_constant(template: Template, fluents: frozenset[str]) -> bool:
    """Whether a template's text depends on its arguments and on facts that never change only."""
    for part in template:
        slot = part.slot if isinstance(part, Listing) else part
        if isinstance(slot, Reference):
            return False
        if isinstance(slot, Slot) and (
            isinstance(slot.content, Reference)
            or any(pattern.predicate.removeprefix("not_") in fluents for pattern in slot.query)
        ):
            return False
    return True
