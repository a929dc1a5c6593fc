"""What was learned, in files: of a later version, damaged, and as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from atlas.compression import LearnedCompressor
from atlas.compression.pieces import OF_ACTIONS, OF_PIECES
from atlas.errors import DataError
from atlas.learned_file import LearnedFile
from atlas.reranking import LearnedReranker
from atlas.reranking.features import OF_WINDOWS
from tests.chances_fixtures import foresight, selector

FILES: list[LearnedFile] = [
    LearnedCompressor(student="s", actions=(0.5,) * len(OF_ACTIONS), pieces=(0.5,) * len(OF_PIECES)),
    LearnedReranker(student="s", every="step", candidates=5, weights=dict.fromkeys(OF_WINDOWS, 0.5)),
    selector("student", "teacher"),
    foresight(),
]


@pytest.mark.parametrize("made", FILES, ids=lambda made: made.KIND)
def test_a_file_is_read_as_it_was_written_and_one_of_a_later_version_is_refused(
    made: LearnedFile, tmp_path: Path
) -> None:
    """It was read as what this build knows, whatever it meant."""
    path = tmp_path / "made.json"
    made.save(path)
    assert type(made).load(path) == made
    later = {**json.loads(path.read_text()), "version": 2, "more": "what this build does not know"}
    path.write_text(json.dumps(later))
    with pytest.raises(
        DataError, match=f"^the {made.KIND} .*made.json is of version 2, and this atlas reads version 1"
    ):
        type(made).load(path)
    for damaged in ("", "[]", '{"version": "x"}', "{", "\x00"):
        path.write_text(damaged)
        with pytest.raises(DataError, match=f"holds no {made.KIND}: make one with 'atlas "):
            type(made).load(path)
    with pytest.raises(DataError, match="cannot be read"):
        type(made).load(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be written"):
        made.save(tmp_path)
