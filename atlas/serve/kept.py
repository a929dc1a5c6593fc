"""What a server keeps of its open episodes beside a run in a folder, for the one that is started after it."""

from __future__ import annotations

from pathlib import Path

from atlas.serve.kept_talks import KeptTalks, Left
from atlas.traces.open_state import State
from atlas.wrap.kept_open import KeptOpen


class Kept:
    """Of one tenant: its conversations, and what its open episodes have beyond their traces."""

    def __init__(self, folder: Path, owner: str) -> None:
        self.talks = KeptTalks(folder, owner)
        self.open = KeptOpen(folder, owner, takes=self.talks.alone)
        self.left = self.talks.left
        """The episodes that were open when the server before stopped, by id."""
        for id, state in self.open.left.items():
            # Its conversation is not found again; what it used counts all the same.
            self.left.setdefault(id, Left("", float(state["started"])))

    @property
    def states(self) -> dict[str, State]:
        """What was kept of them beyond the trace."""
        return self.open.left

    def over(self, id: str, *, whole: bool = True) -> None:
        """Nothing goes on from it. ``whole``: its end is in the trace, so that nothing is kept of it."""
        self.talks.over(id)
        if whole:
            self.open.over(id)

    def close(self) -> None:
        self.talks.close()
        self.open.close()
