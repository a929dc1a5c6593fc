"""MySQL's meaning over SQLite: a statement is typed as MySQL types it, and written with its conversions said.

MySQL decides by the types of an expression's parts how they are compared, added, sorted and printed; SQLite decides by
each value. So every expression becomes a :class:`terms.Term`, SQL with a kind; what has no rule here is refused.
MariaDB 10.11 is the measure (``make test-mysql``).
"""
