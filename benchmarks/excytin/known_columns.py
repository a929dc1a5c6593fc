"""What is known of the values of a table's columns: looked at once, where a comparison first needs it."""

from __future__ import annotations

from collections.abc import Callable

_ODD = "{0} GLOB '*[^ -~]*' OR {0} LIKE '% '"
_UNSTEADY = "{0} GLOB '*[^-. /0-9A-Za-z]*'"
_STAMP = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][ T][0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
_UNSTAMPED = f"{{0}} NOT GLOB '{_STAMP}*' OR substr({{0}}, 20) GLOB '*[^0-9.+:Z]*'"
_POINT, _PLUS = "substr({0}, 20, 1) = '.'", "substr({0}, 20, 1) = '+'"


class KnownColumns:
    """Of one database.

    Args:
        exists: whether a table has a row that meets a condition of SQLite.
    """

    def __init__(self, exists: Callable[[str, str], bool]) -> None:
        self._exists = exists
        self._known: dict[tuple[str, tuple[str, str]], bool] = {}

    def plain(self, origin: tuple[str, str]) -> bool:
        """Whether all are ASCII without control characters, and none ends with a space."""
        return not self._any(_ODD, origin)

    def stamped(self, origin: tuple[str, str]) -> bool:
        """Whether they are plain and begin with a date and a time."""
        return self.plain(origin) and not self._any(_UNSTAMPED, origin)

    def steady(self, origin: tuple[str, str]) -> bool:
        """Whether they are plain and NOCASE sorts them as the collation does.

        The two put marks in another order; digits, letters, spaces and - . / they do not. In moments only what stands
        behind the seconds can matter, a point in one and a plus in another.
        """
        if not self.plain(origin):
            return False
        if not self._any(_UNSTEADY, origin):
            return True
        return self.stamped(origin) and not (self._any(_POINT, origin) and self._any(_PLUS, origin))

    def _any(self, condition: str, origin: tuple[str, str]) -> bool:
        key = condition, origin
        if key not in self._known:
            table, column = origin
            self._known[key] = self._exists(table, condition.format(f'"{column}"'))
        return self._known[key]
