"""Inner products of a query with a growing table of unit vectors: exact, and a projected first pass for large tables.

The projection keeps the leading principal directions of the table (uncentred, so that inner products carry over).
Reading 48 numbers per row instead of 384 is what makes it fast: the product is bound by memory bandwidth. How many
are kept follows from the data. Its scores are estimates; whoever ranks by them rescores the best exactly
(:meth:`VectorView.exact`).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from atlas.errors import StoreError

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]

PROJECT_ABOVE = 16_384
"""Rows above which an exact product with 384-d vectors costs more than about a millisecond."""
WIDTHS = (48, 64, 96, 128)
"""Projections to choose from: the narrowest that estimates well enough, else none."""
TOLERATED = 0.032
"""Standard deviation of the estimate's error, up to which the rescored best still hold 98 % of the exact ones."""
_FIT_ROWS = 16_384


class IndexGone(StoreError):
    """An index outside of the memory fails. Nothing is lost: the memory holds all that it was made of."""


class VectorView(Protocol):
    """A table of vectors as it was at one moment; later additions do not show."""

    approximate: bool

    def scores(self, query: Floats) -> Floats:
        """``(rows,)`` inner products with a ``(dim,)`` query, estimated where ``approximate``."""
        ...

    def exact(self, query: Floats, rows: Ints) -> Floats:
        """``(len(rows),)`` exact inner products."""
        ...


class Vectors(Protocol):
    """A table that grows. Row 0 is the zero vector and stands for a missing text."""

    def append(self, texts: list[str], vectors: Floats) -> None: ...

    def view(self) -> VectorView: ...


class Buffer:
    """An array that grows at the end in amortised constant time, and whose past views stay valid and unchanged."""

    def __init__(self, dtype: Any, width: int | None = None) -> None:
        self._width = width
        self._data: NDArray[Any] = np.empty(self._shape(16), dtype)
        self.size = 0

    def take_over(self, values: NDArray[Any]) -> None:
        """Hold ``values``, which is nobody else's, in place of what is held."""
        if values.dtype != self._data.dtype or values.shape[1:] != self._data.shape[1:]:
            raise ValueError(f"an array of {values.dtype} {values.shape[1:]} is not what is held here")
        self._data, self.size = values, len(values)

    def extend(self, values: NDArray[Any]) -> None:
        end = self.size + len(values)
        if end > len(self._data):
            grown = np.empty(self._shape(max(end, 2 * len(self._data))), self._data.dtype)
            grown[: self.size] = self._data[: self.size]
            self._data = grown
        self._data[self.size : end] = values
        self.size = end

    def view(self) -> NDArray[Any]:
        return self._data[: self.size]

    def _shape(self, rows: int) -> tuple[int, ...]:
        return (rows,) if self._width is None else (rows, self._width)


class _Exact:
    approximate = False

    def __init__(self, full: Floats) -> None:
        self._full = full

    def scores(self, query: Floats) -> Floats:
        return inner(self._full, query)

    def exact(self, query: Floats, rows: Ints) -> Floats:
        return inner(self._full[rows], query)


class _Projected(_Exact):
    approximate = True

    def __init__(self, full: Floats, low: Floats, basis: Floats) -> None:
        super().__init__(full)
        self._low, self._basis = low, basis

    def scores(self, query: Floats) -> Floats:
        return inner(self._low, query @ self._basis)


class NumpyVectors:
    """Vectors in memory; above ``project_above`` rows the view's scores are projected."""

    def __init__(self, dim: int, project_above: int | None = PROJECT_ABOVE) -> None:
        """``project_above`` None never projects."""
        self._full = Buffer(np.float32, dim)
        self._full.extend(np.zeros((1, dim), np.float32))
        self._low: Buffer | None = None
        self._basis: Floats | None = None
        self._fit_at = np.inf if project_above is None else project_above

    def append(self, texts: list[str], vectors: Floats) -> None:
        self._full.extend(vectors)
        if self._full.size > self._fit_at:
            # A new buffer rather than new contents: views taken before keep their basis and their rows.
            self._basis = fit_basis(self._full.view()[1:])
            self._low = None if self._basis is None else Buffer(np.float32, self._basis.shape[1])
            self._fit_at = 2 * self._full.size
        if self._low is not None and self._basis is not None:
            self._low.extend(self._full.view()[self._low.size :] @ self._basis)

    def view(self) -> VectorView:
        if self._low is None or self._basis is None:
            return _Exact(self._full.view())
        return _Projected(self._full.view(), self._low.view(), self._basis)


def inner(rows: Floats, query: Floats) -> Floats:
    """``(n,)`` products of ``(n, dim)`` rows with one query, in this thread alone.

    ``rows @ query`` would go to a BLAS that splits even this much among threads and then waits for the slowest core:
    12 ms instead of 1 on a busy machine, such as one with many searches at once. It also may give equal rows
    products that differ in the last bits.
    """
    products: Floats = np.einsum("ij,j->i", rows, query)
    return products


def fit_basis(vectors: Floats) -> Floats | None:
    """``(dim, width)`` orthonormal leading directions of the rows; None where no width estimates well enough."""
    sample = _spread(vectors, _FIT_ROWS)
    _, directions = np.linalg.eigh(sample.T @ sample)
    leading = directions[:, ::-1]
    some, many = _spread(vectors, 64), _spread(vectors, 4_096)
    exact = some @ many.T
    for width in WIDTHS:
        basis: Floats = np.ascontiguousarray(leading[:, :width], dtype=np.float32)
        if width < vectors.shape[1] and np.std(exact - (some @ basis) @ (many @ basis).T) <= TOLERATED:
            return basis
    return None


def _spread(rows: Floats, count: int) -> Floats:
    """About ``count`` rows, evenly spaced."""
    return rows[:: max(1, len(rows) // count)]
