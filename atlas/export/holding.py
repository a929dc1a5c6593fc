"""Which exports hold episodes that are to be forgotten: they are made again, without them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from atlas.export.folder import MANIFEST
from atlas.jsontext import read_json

_PIECE = 1 << 20


def holding(root: Path, episodes: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence for each export below ``root`` that was made of one of the runs, by name, whose ``episodes`` go."""
    found = []
    for path in sorted(root.glob(f"**/{MANIFEST}")):
        try:
            manifest = read_json(path.read_text(encoding="utf-8"))
            runs = [source["run"] for source in manifest["sources"]]
            files = [path.parent / name for name in manifest["files"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        ids = {name for run in runs for name in episodes.get(run, ())}
        if not ids:
            continue
        here = {name for file in files if file.is_file() for name in _named(file, ids)}
        if here:
            found.append(f"{path.parent} holds {len(here):,} of these episodes: make it again with 'atlas export'")
        else:
            found.append(
                f"{path.parent} was made of the run {', '.join(run for run in runs if run in episodes)} and names none "
                "of these episodes, as its format may not: make it again with 'atlas export' where it should have none"
            )
    return found


def _named(file: Path, ids: set[str]) -> Iterator[str]:
    """Those of ``ids`` that stand in a file."""
    word = re.compile(rb"[\w.:-]+")
    wanted = {name.encode() for name in ids}
    left = b""
    with file.open("rb") as read:
        while piece := read.read(_PIECE):
            text = left + piece
            yield from (name.decode() for name in wanted.intersection(word.findall(text)))
            left = text[-256:]
