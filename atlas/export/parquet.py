"""Steps as a Parquet table: what one groups by and counts in columns of its own, the rest as JSON text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from atlas.errors import MissingExtra
from atlas.export.folder import Folder

_TEXT = (
    "id run episode arm task goal family split group part action thought actor model reason observation outcome lane "
    "scored_by"
).split()
_WHOLE = "seed index attempt admissible_count steps".split()
_REAL = "agreement step_score score dollars".split()
_TRUTH = "last_attempt escalated success".split()
_JSON = "prompt completion votes retrieved guidance reviews spend permitted admissible".split()
_DEFAULTS: dict[str, Any] = {"attempt": 0, "admissible_count": 0, "steps": 0, "last_attempt": True}
_BATCH = 1000


class Parquet:
    """One file for each part. Raises MissingExtra without pyarrow."""

    def __init__(self, folder: Folder) -> None:
        try:
            import pyarrow
        except ImportError:
            raise MissingExtra("export to Parquet", "export") from None
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {}
        kinds = ((_TEXT, pyarrow.string()), (_WHOLE, pyarrow.int64()), (_REAL, pyarrow.float64()))
        fields = [(name, kind) for names, kind in kinds for name in names]
        fields += [(name, pyarrow.bool_()) for name in _TRUTH]
        fields += [("permitted_to_train", pyarrow.bool_())]
        fields += [(f"{name}_json", pyarrow.string()) for name in _JSON]
        self._schema = pyarrow.schema(fields, metadata={"atlas": "one row per step"})

    def add(self, part: str, name: str, record: dict[str, Any]) -> str:
        file = f"{part}.parquet"
        self._waiting.setdefault(file, []).append(_flat(record))
        if len(self._waiting[file]) >= _BATCH:
            self._flush(file)
        return file

    def close(self) -> None:
        for file in self._waiting:
            self._flush(file)
        with self._folder.told():
            for writer in self._writers.values():
                writer.close()

    def _flush(self, file: str) -> None:
        import pyarrow.parquet

        with self._folder.told():
            if file not in self._writers:
                path: Path = self._folder.reserve(file)
                self._writers[file] = pyarrow.parquet.ParquetWriter(str(path), self._schema, compression="zstd")
            self._writers[file].write_table(pyarrow.Table.from_pylist(self._waiting[file], schema=self._schema))
        self._waiting[file] = []


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat = {name: record.get(name, "") for name in _TEXT}
    flat |= {name: record.get(name, _DEFAULTS.get(name)) for name in (*_WHOLE, *_REAL, *_TRUTH)}
    flat["escalated"] = record.get("escalated", False)
    flat["permitted_to_train"] = record.get("model", "") in record.get("permitted", {})
    for name in _JSON:
        value = record.get(name)
        flat[f"{name}_json"] = None if value is None else json.dumps(value, ensure_ascii=False)
    return flat
