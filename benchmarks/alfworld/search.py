"""Which bindings make a condition true: a join over the facts, planned once per game.

A row is a tuple of objects, one for each variable bound so far. Every step of a join turns rows into rows, so
that the cost lies in list comprehensions rather than in Python calls. The order of the steps is chosen from the
facts at the start of the game: the literal with the fewest matches per row comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from atlas.benchmarks.alfworld.facts import Facts, Key
from atlas.benchmarks.alfworld.pddl import Atom, Condition, Conjunction, Literal, Typed, Universal

Row = tuple[str, ...]
Step = Callable[[list[Row]], list[Row]]


class World:
    """What joins are planned against: the facts, and the objects of each type."""

    def __init__(self, facts: Facts, objects: Mapping[str, Collection[str]], everything: Collection[str]) -> None:
        self.facts = facts
        self._objects = objects
        self._everything = everything

    def of_type(self, kind: str) -> Collection[str]:
        """The objects of `kind` and of the types below it; none if there is no such type."""
        return self._objects.get(kind, ())

    def is_universal(self, kind: str) -> bool:
        """Whether every object is of `kind`, so that there is nothing to check."""
        return len(self.of_type(kind)) == len(self._everything)


class Join:
    """How to find every way to make one conjunction true, given values for the variables `bound` beforehand."""

    def __init__(self, conjunction: Conjunction, bound: Sequence[Typed], free: Sequence[Typed], world: World) -> None:
        self._slots = {name: place for place, (name, _) in enumerate(bound)}
        self._kinds = dict((*bound, *free, *conjunction.variables))
        self._world = world
        self._steps: list[Step] = []
        self._plan(list(conjunction.literals))
        for name, kind in (*free, *conjunction.variables):
            if name not in self._slots:
                self._steps.append(self._enumerate(name, kind))
                self._plan_tests()
        self._steps += [self._universal(universal) for universal in conjunction.universals]

    def rows(self, start: Row = ()) -> list[Row]:
        """Every satisfying row, for the values `start` of the variables bound beforehand."""
        rows = [start]
        for step in self._steps:
            rows = step(rows)
            if not rows:
                break
        return rows

    def reader(self, terms: Iterable[str]) -> Callable[[Row], Row]:
        """From a row to the values of `terms`; what is no variable stands for itself."""
        parts = [(self._slots.get(term, -1), term) for term in terms]
        # Written out for the few lengths that occur: this is the hot path.
        if not parts:
            return lambda row: ()
        if len(parts) == 1:
            ((a, x),) = parts
            return (lambda row: (x,)) if a < 0 else (lambda row: (row[a],))
        if len(parts) == 2:
            a, b = parts[0][0], parts[1][0]
            if a >= 0 and b >= 0:
                return lambda row: (row[a], row[b])
        return lambda row: tuple([term if place < 0 else row[place] for place, term in parts])

    def _plan(self, literals: list[Literal]) -> None:
        self._waiting = literals
        self._plan_tests()
        while any(literal.positive and literal.atom[0] != "=" for literal in self._waiting):
            best = min(
                (literal for literal in self._waiting if literal.positive and literal.atom[0] != "="),
                key=self._fan_out,
            )
            self._waiting.remove(best)
            self._steps.append(self._match(best.atom))
            self._plan_tests()

    def _plan_tests(self) -> None:
        """Add the literals whose variables are all bound: they only filter, so the sooner the better."""
        ready = [literal for literal in self._waiting if all(self._is_bound(term) for term in literal.atom[1:])]
        self._waiting = [literal for literal in self._waiting if literal not in ready]
        self._steps += [self._test(literal) for literal in ready]

    def _is_bound(self, term: str) -> bool:
        return not term.startswith("?") or term in self._slots

    def _fan_out(self, literal: Literal) -> float:
        """How many facts match `literal` per row, on average at the start of the game."""
        index = self._index(literal.atom)
        return sum(len(atoms) for atoms in index.values()) / len(index) if index else 0.0

    def _index(self, atom: Atom) -> Mapping[Key, Mapping[Atom, None]]:
        positions = tuple(place for place in range(1, len(atom)) if self._is_bound(atom[place]))
        return self._world.facts.index(atom[0], positions)

    def _match(self, atom: Atom) -> Step:
        index = self._index(atom)
        key = self.reader([term for term in atom[1:] if self._is_bound(term)])
        fresh: dict[str, int] = {}
        repeated: list[tuple[int, int]] = []
        for place in range(1, len(atom)):
            if self._is_bound(atom[place]):
                continue
            if atom[place] in fresh:
                repeated.append((fresh[atom[place]], place))
            else:
                fresh[atom[place]] = place
        kinds = [
            (place, frozenset(self._world.of_type(self._kinds[name])))
            for name, place in fresh.items()
            if not self._world.is_universal(self._kinds[name])
        ]
        for name in fresh:
            self._slots[name] = len(self._slots)
        places = list(fresh.values())

        if not repeated and len(places) == 1 and len(kinds) <= 1:
            (place,) = places
            if not kinds:
                return lambda rows: [(*row, fact[place]) for row in rows for fact in index.get(key(row), ())]
            kind = kinds[0][1]
            return lambda rows: [
                (*row, fact[place]) for row in rows for fact in index.get(key(row), ()) if fact[place] in kind
            ]

        def fits(fact: Atom) -> bool:
            return all(fact[a] == fact[b] for a, b in repeated) and all(fact[p] in kind for p, kind in kinds)

        return lambda rows: [
            row + tuple([fact[place] for place in places])
            for row in rows
            for fact in index.get(key(row), ())
            if fits(fact)
        ]

    def _test(self, literal: Literal) -> Step:
        key, positive = self.reader(literal.atom[1:]), literal.positive
        if literal.atom[0] == "=":

            def same(row: Row) -> bool:
                left, right = key(row)
                return left == right

            return lambda rows: [row for row in rows if same(row) == positive]
        index = self._world.facts.index(literal.atom[0], tuple(range(1, len(literal.atom))))
        return lambda rows: [row for row in rows if bool(index.get(key(row))) == positive]

    def _enumerate(self, name: str, kind: str) -> Step:
        self._slots[name] = len(self._slots)
        objects = self._world.of_type(kind)
        return lambda rows: [(*row, value) for row in rows for value in objects]

    def _universal(self, universal: Universal) -> Step:
        outer = [(name, self._kinds[name]) for name in self._slots]
        bound = [*outer, *universal.variables]
        joins = [Join(conjunction, bound, (), self._world) for conjunction in universal.condition]
        choices: list[Row] = [()]
        for _, kind in universal.variables:
            choices = [(*choice, value) for choice in choices for value in self._world.of_type(kind)]
        return lambda rows: [
            row for row in rows if all(any(join.rows(row + choice) for join in joins) for choice in choices)
        ]


def joins_for(condition: Condition, bound: Sequence[Typed], world: World) -> list[Join]:
    """One join for each alternative of `condition`, whose outer variables `bound` have values."""
    return [Join(conjunction, bound, (), world) for conjunction in condition]
