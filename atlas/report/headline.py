"""What the run shows, in sentences computed from its figures: what was measured, with intervals, good or bad."""

from __future__ import annotations

from atlas.figures import money, percent, percent_interval, points_interval
from atlas.report.facts import ArmFacts, Facts, Group
from atlas.report.parts import Tile
from atlas.report.supervision import mean_asked, mean_dollars
from atlas.traces.account import Pair
from atlas.traces.roles import CASCADES


def sentences(facts: Facts) -> list[str]:
    """The headline first, then what qualifies it."""
    group = facts.groups[0] if facts.groups else None
    if group is None:
        return [f"{facts.demonstrations} demonstrations were collected; nothing was tested yet."]
    said = [_chosen(pair) for pair in facts.pairs] if facts.compared else []
    said += [
        text
        for text in (_levels(facts, group), _cascade(group), _pamphlets(group), _control(facts, group), *_lanes(group))
        if text
    ]
    return said or [_plainly(group)]


def _chosen(pair: Pair) -> str:
    """What the reader asked for."""
    gap = f"{points_interval(pair.success)} points of success on the same {pair.tasks} tasks"
    told = "" if pair.success.low > 0 or pair.success.high < 0 else ": not told apart from none"
    return f"{pair.first} against {pair.second}: {gap}{told}."


def _levels(facts: Facts, group: Group) -> str:
    student, icd = group.of("student"), group.of("icd")
    if icd is None:
        return ""
    demos = f"{facts.demonstrations} demonstrations" if facts.demonstrations else "demonstrations"
    learned = f"with {demos} of its teacher it won {_won(icd)}"
    if student is None:
        return f"{learned[0].upper()}{learned[1:]}{_cost(icd, group.teacher)}."
    return f"The student alone won {_won(student)}; {learned}{_cost(icd, group.teacher)}."


def _cascade(group: Group) -> str:
    cascade, teacher = group.cascade, group.teacher
    if cascade is None:
        return ""
    plain = cascade.role.kind == CASCADES[0] and bool(cascade.role.bare) and not cascade.role.trust
    name = "" if plain else f" {cascade.name}"
    where = "the student's samples disagree" if plain else "it does not trust the student"
    text = (
        f"The cascade{name}, which asks the teacher where {where}, won {_won(cascade)}: "
        f"the teacher acted on {percent(cascade.row.teacher_share)} of its steps{_cost(cascade, teacher)}."
    )
    return text if teacher is None else f"{text} The teacher itself won {_won(teacher)}."


def _control(facts: Facts, group: Group) -> str:
    """Whether the cascade beat chance at the same share of teacher steps: the claim that has to be able to fail."""
    cascade = group.cascade
    control = group.control(cascade, "route") if cascade is not None else None
    found = _pair(facts, cascade, control) if cascade is not None and control is not None else None
    if control is None or found is None:
        return ""
    share = f" (the teacher on {percent(control.row.teacher_share)} of its steps)"
    gap, n = points_interval(found.success), found.tasks
    if found.success.low > 0:
        return f"The cascade beat random routing{share} by {gap} points on the same {n} tasks."
    if found.success.high < 0:
        return f"The cascade did worse than random routing{share}, by {gap} points on the same {n} tasks."
    return (
        f"The cascade and random routing{share} differ by {gap} points on the same {n} tasks: not told apart from none."
    )


def _pamphlets(group: Group) -> str:
    """Entries alone, beside their control: the same entries with each other's advice."""
    alone = group.of("pamphlets")
    if alone is None:
        return ""
    shuffled = group.control(alone, "shuffled")
    control = f"; with each entry given another's advice, {_won(shuffled)}" if shuffled else ""
    return f"With pamphlets in place of demonstrations it won {_won(alone)}{control}."


def _lanes(group: Group) -> list[str]:
    """Whether supervision fell as tasks were mastered: the first third of each task family against its last third."""
    said = []
    for found in group.supervised:
        arm = next(arm for arm in group.arms if arm.row.arm == found.arm)
        begun = [episode for block in found.blocks for episode in block.part(0)]
        mastered = [episode for block in found.blocks for episode in block.part(2)]
        early, late = mean_dollars(begun), mean_dollars(mastered)
        paid = "" if early is None or late is None else f", and an episode cost {money(early)}, then {money(late)}"
        kinds = "each task family" if len(found.blocks) > 1 else "the episodes"
        said.append(
            f"With lanes chosen by how the student did, {arm.name} won {_won(arm)}. From the first third of {kinds} to "
            f"the last, the teacher's calls per step went from {percent(mean_asked(begun))} to "
            f"{percent(mean_asked(mastered))}{paid}."
        )
    return said


def _pair(facts: Facts, first: ArmFacts, second: ArmFacts) -> Pair | None:
    names = first.row.arm, second.row.arm
    return next((p for p in facts.pairs if (p.first, p.second) == names), None)


def _plainly(group: Group) -> str:
    return "; ".join(f"{arm.name} won {_won(arm)}{_cost(arm, _other(arm, group))}" for arm in group.arms) + "."


def _other(arm: ArmFacts, group: Group) -> ArmFacts | None:
    """The teacher, to compare ``arm`` with; None for the teacher itself."""
    return group.teacher if group.teacher is not arm else None


def _won(arm: ArmFacts) -> str:
    return f"{percent_interval(arm.row.success)} of {arm.row.scored}" if arm.row.scored else "nothing that was scored"


def _cost(arm: ArmFacts, teacher: ArmFacts | None) -> str:
    cost = arm.row.dollars_per_episode
    if cost is None:
        return ", at a cost that has no price"
    if cost == 0:
        return ", for $0"
    base = teacher.row.dollars_per_episode if teacher else None
    return f", at {percent(cost / base)} of the teacher's cost" if base else f", at {money(cost)} an episode"


def tiles(facts: Facts) -> list[Tile]:
    """The run in a few large figures."""
    group = facts.groups[0] if facts.groups else None
    best = group and (group.cascade or group.of("icd"))
    if not group or not best:
        return []
    found = [Tile(figure=percent_interval(best.row.success), label=f"success of {best.name}, n = {best.row.scored}")]
    if group.teacher and group.teacher is not best:
        base, cost = group.teacher.row.dollars_per_episode, best.row.dollars_per_episode
        label = f"success of the teacher, n = {group.teacher.row.scored}"
        found.append(Tile(figure=percent_interval(group.teacher.row.success), label=label))
        if base and cost is not None:
            found.append(Tile(figure=percent(cost / base), label="of the teacher's cost per episode"))
    if best.row.teacher_share:
        found.append(Tile(figure=percent(best.row.teacher_share), label="of its steps taken by the teacher"))
    even = next((row for row in facts.break_even if row.arm == best.row.arm), None)
    if even:
        paid = f"{money(even.demo_dollars)} of demonstrations"
        if even.episodes is None:
            found.append(Tile(figure="never", label=f"are the {paid} earned back at this saving"))
        else:
            found.append(Tile(figure=f"{even.episodes:,.0f}", label=f"episodes earn back the {paid}"))
    return found
