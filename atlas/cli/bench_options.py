"""The command line of ``atlas bench``, made of the record of its options; and what of it would do nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import click
from click.core import ParameterSource

from atlas.benchmarks.option import Option
from atlas.benchmarks.options import BenchOptions, listed, numbers
from atlas.cli.number import Number
from atlas.errors import ConfigError

Options = TypeVar("Options", bound=BenchOptions)


def _apart(read: Callable[[str], tuple[Any, ...]]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Takes apart what was typed."""
    return lambda context, param, value: read(value)


class BenchCommand(click.Command):
    """A benchmark's command, whose help says what the arms are."""

    def __init__(self, name: str, play: Callable[..., None], record: type[BenchOptions], says: str | None) -> None:
        super().__init__(name, callback=play, params=parameters(record), help=says)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Read when help is asked for: arms are made of policies and memories.
        from atlas.benchmarks.arms import BUILT_IN

        with formatter.section("Arms"):
            formatter.write_dl([(arm.name, arm.says) for arm in BUILT_IN])


def parameters(record: type[BenchOptions]) -> list[click.Parameter]:
    """The options of ``record``, in its order."""
    hints = get_type_hints(record)
    return [_parameter(each.name, each.default, hints[each.name], each.metadata["option"]) for each in fields(record)]


def _parameter(name: str, default: Any, hint: Any, told: Option) -> click.Option:
    flags = [*(told.flags or (f"--{name.replace('_', '-')}",)), name]
    kind = next(part for part in get_args(hint) if part is not type(None)) if _optional(hint) else hint
    if kind is bool:
        shown = default and "/" in flags[0]
        return click.Option(flags, is_flag=True, default=default, show_default=shown, help=told.help)
    if told.repeated:
        return click.Option(flags, multiple=True, help=told.help)
    if told.required:
        return click.Option(flags, type=_type(kind, told), required=True, help=told.help)
    alone: dict[str, Any] = {"is_flag": False, "flag_value": told.bare} if told.bare is not None else {}
    return click.Option(
        flags,
        type=_type(kind, told),
        callback=_apart(numbers if get_args(kind)[0] is int else listed) if get_args(kind) else None,
        # Defaults are shown as they would be typed.
        default=",".join(map(str, default)) if isinstance(default, tuple) else default,
        show_default=told.show_default and default is not None,
        metavar=told.metavar,
        help=told.help,
        **alone,
    )


def _optional(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _type(kind: Any, told: Option) -> click.ParamType[Any]:
    if told.choices:
        return click.Choice(told.choices)
    if kind is int:
        most = None if told.most is None else int(told.most)
        return click.INT if told.least is None else click.IntRange(int(told.least), most)
    if kind is float:
        return Number(min=told.least, max=told.most)
    if kind is Path:
        return click.Path(path_type=Path)
    return click.STRING


def read(record: type[Options], given: dict[str, Any]) -> Options:
    """The options of the present command. Raises ConfigError where no arm is named, and for an option that was typed
    and that none of the arms reads."""
    options = record(**given)
    if not options.arms:
        raise ConfigError("--arms names no arm")
    check_read(options.arms)
    check_cut(options.compress, given=typed("compress_to"))
    check_critic(options)
    return options


def check_cut(compress: Path | None, *, given: bool) -> None:
    """Raises ConfigError where --compress-to is ``given``, and nothing to cut by."""
    if compress is None and given:
        raise ConfigError("--compress-to is for --compress, which says by what demonstrations are cut: give that too")


def typed(name: str) -> bool:
    """Whether the present command was given that option."""
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT


def check_read(arms: Sequence[str]) -> None:
    """Look at what was typed for the present command. Raises ConfigError for an option that none of ``arms`` reads,
    and for an arm that does not exist."""
    from atlas.benchmarks.arms import all_played, readers

    chosen = all_played(arms)
    for param in click.get_current_context().command.params:
        name = param.name or ""
        reading = readers(name)
        if reading and typed(name) and not any(arm.arm.reads_option(name) for arm in chosen):
            raise ConfigError(
                f"none of the arms {','.join(arms)} reads {param.opts[0]}: leave it out, or add to --arms one that "
                f"does ({', '.join(reading)})"
            )


def check_critic(options: BenchOptions) -> None:
    """Raises ConfigError where none of the arms asks the critic that is given, or one asks and there is none."""
    from atlas.benchmarks.arms import all_played

    asking = [arm.name for arm in all_played(options.arms) if arm.needs_critic]
    if options.step_judge is not None and not asking:
        raise ConfigError(
            f"none of the arms {','.join(options.arms)} reads --step-judge: leave it out, or add to --arms one that "
            "does, such as cascade:judge:0.5"
        )
    if options.step_judge is None and asking:
        raise ConfigError(
            f"the arm {asking[0]} asks a judge of steps: train one with 'atlas train judge' and give its folder as "
            "--step-judge"
        )
