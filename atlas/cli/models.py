"""``atlas models``: what can be named, fetching embedded weights, and names of your own."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(help="List the models that can be named, fetch embedded ones, give names.")
def command() -> None:
    pass


@command.command("ls")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per model, a line each.")
def list_models(as_json: bool) -> None:
    """All models with their price in dollars per million tokens, and what they need."""
    from atlas.models import catalogue

    entries = catalogue()
    if as_json:
        for entry in entries:
            click.echo(entry.model_dump_json())
        return
    from rich import box
    from rich.table import Table

    from atlas.tables import UNPRICED, console, plain

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("model", "kind", "what", "licence", "ready", "$/M in", "$/M out"):
        table.add_column(
            name, justify="right" if name.startswith("$") else "left", no_wrap=name == "model", overflow="fold"
        )
    for entry in entries:
        needs = "yes" if entry.installed else (f"pip install 'atlas-cascade[{entry.extra}]'" if entry.extra else "no")
        if not entry.installed and entry.kind == "embedded":
            needs = f"atlas models fetch {entry.name}"
        prices = (f"{entry.price.prompt:g}", f"{entry.price.completion:g}") if entry.price else (UNPRICED, UNPRICED)
        table.add_row(*(plain(text) for text in (entry.name, entry.kind, entry.what, entry.licence, needs)), *prices)
    console().print(table)


@command.command("fetch")
@click.argument("name")
def fetch(name: str) -> None:
    """Get the weights of an embedded model now, checked against their hash, instead of at first use."""
    from atlas.assets import fetch as get

    click.echo(get(name))


@command.group("add", help="Give a model a name of yours, which then works wherever a model is named.")
def add() -> None:
    pass


@add.command("local")
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
def add_local(name: str, path: Path) -> None:
    """NAME a trained student, a folder of transformers or a .gguf file at PATH."""
    from atlas.named import local_spec

    _give(name, local_spec(path))


@add.command("alias")
@click.argument("name")
@click.argument("model")
def add_alias(name: str, model: str) -> None:
    """NAME a role, such as clerk, that MODEL has for now: 'atlas promote' may give it to another."""
    from atlas.models.registry import check_name
    from atlas.named import meaning

    check_name(model)
    known = meaning(model)
    _give(name, known.model if known is not None else model)


def _give(name: str, model: str) -> None:
    from atlas.errors import ConfigError
    from atlas.models.registry import names
    from atlas.named import give

    if name in names():
        raise ConfigError(f"{name!r} is a model of atlas itself: choose another name")
    give(name, model, new=True)
    click.echo(f"{name} is {model}")


@command.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Forget a NAME that you gave; the model stays where it is."""
    from atlas.named import remove as forget

    forget(name)


@command.command("export")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The .gguf file to write.")
@click.option("--like", type=click.Path(path_type=Path), help="GGUF file of the base. [default: as the student says]")
def export(path: Path, out: Path, like: Path | None) -> None:
    """Write the student in the folder PATH as GGUF (8 bits), which llama.cpp and its like serve.

    The folder itself, with its safetensors, is what vLLM and transformers serve: it needs no export. A student from
    scratch has no such form; it plays in process.
    """
    from atlas.train.gguf import base_file, write_gguf

    size = write_gguf(path, out, like or base_file(path))
    click.echo(f"wrote {out}, {size / 1e6:,.0f} MB: as a model it is named gguf:{out}")
