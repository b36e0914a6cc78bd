"""Statements about which positions of which dimensions must be kept or removed together.

Every dimension of every parameter starts with one identity a position. Rules carry these identities through the
operators of a model as arrays: a dimension of an activation is described by the identities of its positions, or by
``None`` where its size cannot change. A rule states that two dimensions agree position by position (`same`) or that
one cannot change (`fix`). Nothing is solved while rules run: the statements are collected and solved once, by the
connected components of a graph, so that the work grows linearly with the number of channels.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..graph import Attribute, ChannelKernel, Cut, DimSlice

__all__ = ['TOGETHER', 'Choice', 'Constraints', 'CostTerm', 'Dim', 'Factors', 'Ids', 'Symbol', 'Way', 'layer_of']

Ids = NDArray[np.int64]
"""Identities of the positions of a dimension, shape (size,)."""

Dim = Ids | None
"""A dimension: its identities, or None where its size never changes."""

TOGETHER = 'its channels can only be kept or removed all together'
"""The reason if shuffles and chunks tie all channels to each other."""


@dataclass(frozen=True)
class Symbol:
    """A tensor, as rules see it.

    Parameters
    ----------
    shape
        Its sizes in the full model.
    dims
        One `Dim` a dimension.
    name
        Name of the parameter or buffer it is, or None for a tensor that is computed.
    of_input
        Whether it is computed from an input of the model, not from parameters and constants alone.
    """

    shape: tuple[int, ...]
    dims: tuple[Dim, ...]
    name: str | None = None
    of_input: bool = False

    @classmethod
    def constant(cls, shape: Sequence[int]) -> Symbol:
        """Return a tensor none of whose dimensions can change."""
        return cls(tuple(shape), (None,) * len(shape))

    @property
    def tracked(self) -> bool:
        """Whether any dimension can change."""
        return any(dim is not None for dim in self.dims)


@dataclass(frozen=True)
class CostTerm:
    """Multiply-accumulates of one operator: a constant times the sizes of dimensions.

    ``vanishing`` is one more dimension; with a single position left of it, the operator costs nothing.
    """

    operator: str
    constant: int
    dims: tuple[Ids, ...]
    vanishing: Ids | None = None


@dataclass(frozen=True)
class Way:
    """One way to read an operator: what it would state (see `Constraints`)."""

    pairs: tuple[tuple[Ids, Ids], ...] = ()
    fixed: tuple[tuple[Ids, str], ...] = ()
    unverified: tuple[tuple[Ids, str], ...] = ()


@dataclass(frozen=True)
class Choice:
    """An operator that can be read in several ways, the likeliest first; all are about the positions ``dim``."""

    dim: Ids
    ways: tuple[Way, ...]


@dataclass(frozen=True, eq=False)
class Factors:
    """A reshape of several dimensions that could change: an element is kept if its positions on all axes are.

    Parameters
    ----------
    before, after
        For each axis that could change, the identity of its position at every element, shape (elements,).
    order
        Indices of ``after``: the axes that may still change, the likeliest first.
    operator
        The operator.
    """

    before: tuple[Ids, ...]
    after: tuple[Ids, ...]
    order: tuple[int, ...]
    operator: str


@dataclass
class Constraints:
    """The statements that rules make about a model.

    Attributes
    ----------
    parameters
        ``{name: Symbol}`` of every parameter and buffer.
    attention_outputs
        Dimensions of outputs of attention (see `attention_ties`).
    attention_products
        Dimensions over which queries and keys are multiplied.
    unverified
        Dimensions that can change only if the model reads the places where it cuts them from attributes (see
        `width_attributes`), each with the reason if not. They count as fixed.
    ordered
        Dimensions whose neighboring channels an operator mixes, each with its kernel.
    margins
        Identities of padding around channels.
    at_least
        Dimensions that must keep a number of positions.
    cuts
        Where operators cut dimensions into several parts.
    tables
        ``{(module, attribute): (dimension, its positions that the attribute holds)}``.
    choices
        Operators that can be read in several ways. `settle` adds what one way of each states.
    factors
        Reshapes of which one axis can change. `settle` picks it.
    splits
        Sizes into which reshapes split a dimension; every part's source is the whole of it.
    recorded
        Whether the operators were recorded in one real run: the sizes of outputs may depend on values.
    differs_in_training
        Whether the model may call other operators in training mode than in evaluation mode, dropout aside.
    constant
        Attributes of modules that never follow a width, as (module, name).
    warned
        Layers with a failed rule that was reported: a model is followed more than once.
    """

    parameters: dict[str, Symbol] = field(default_factory=dict)
    pairs: list[tuple[Ids, Ids]] = field(default_factory=list)
    fixed: list[tuple[Ids, str]] = field(default_factory=list)
    produced: list[tuple[str, int]] = field(default_factory=list)
    read: list[tuple[str, int]] = field(default_factory=list)
    costs: list[CostTerm] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    channel_mixing: list[Ids] = field(default_factory=list)
    attention_outputs: list[Ids] = field(default_factory=list)
    attention_products: list[Ids] = field(default_factory=list)
    unverified: list[tuple[Ids, str]] = field(default_factory=list)
    ordered: list[tuple[Ids, ChannelKernel]] = field(default_factory=list)
    margins: set[int] = field(default_factory=set)
    at_least: list[tuple[Ids, int]] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    tables: dict[tuple[str, str], tuple[Ids, tuple[int, ...]]] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    factors: list[Factors] = field(default_factory=list)
    splits: list[Cut] = field(default_factory=list)
    recorded: bool = False
    differs_in_training: bool = False
    constant: frozenset[tuple[str, str]] = frozenset()
    warned: set[str] = field(default_factory=set)
    count: int = 0
    _starts: list[tuple[int, str, int]] = field(default_factory=list)
    _origins: dict[int, int] = field(default_factory=dict)
    _stretched: set[int] = field(default_factory=set)

    def new(self, size: int) -> Ids:
        """Return ``size`` new identities."""
        self.count += size
        return np.arange(self.count - size, self.count, dtype=np.int64)

    def stretched(self, size: int) -> Ids:
        """Return new identities of a repeated position; what they meet decides whether their number changes."""
        identities = self.new(size)
        self._stretched.add(int(identities[0]))
        return identities

    def is_stretched(self, dim: Dim) -> bool:
        """Whether the positions of a dimension are repetitions of a single one."""
        return dim is not None and int(dim.reshape(-1)[0]) in self._stretched

    def parameter(self, name: str, shape: Sequence[int], rigid: int | None = None) -> Symbol:
        """Register a parameter or buffer; dimensions of size 1 and those from axis ``rigid`` on never change."""
        if name not in self.parameters:
            changes = len(shape) if rigid is None else rigid
            dims = tuple(self.new(size) if size > 1 and axis < changes else None for axis, size in enumerate(shape))
            self.parameters[name] = Symbol(tuple(shape), dims, name)
            self._starts += [(int(dim[0]), name, axis) for axis, dim in enumerate(dims) if dim is not None]
        return self.parameters[name]

    def owner(self, dim: Dim) -> tuple[str, int] | None:
        """Return the parameter and the axis that the identities of a dimension come from, or None."""
        if dim is None or not len(dim):
            return None
        dim = self._origin(dim)
        place = bisect.bisect_right(self._starts, (int(dim.reshape(-1)[0]), '\U0010ffff', 0)) - 1
        if place < 0:
            return None
        start, name, axis = self._starts[place]
        return (name, axis) if dim.reshape(-1)[0] < start + self.parameters[name].shape[axis] else None

    def stem(self, dim: Ids, origin: Ids) -> None:
        """Note that new identities of a dimension are about those of another, position by position."""
        self._origins.update(zip(dim.tolist(), self._origin(origin).tolist()))

    def _origin(self, dim: Ids) -> Ids:
        if not self._origins or int(dim.reshape(-1)[0]) not in self._origins:
            return dim
        return np.array([self._origins.get(identity, identity) for identity in dim.reshape(-1).tolist()])

    def cut(self, parts: Sequence[Ids]) -> None:
        """Note that an operator cuts a dimension into these parts."""
        found = Cut(tuple(len(part) for part in parts), tuple(self._place(part) for part in parts))
        if found not in self.cuts:
            self.cuts.append(found)

    def split(self, dim: Ids, sizes: Sequence[int]) -> None:
        """Note that an operator is told these sizes of a dimension, or reshapes it to them."""
        place = self._place(dim)
        if place is not None:
            self.splits.append(Cut(tuple(sizes), (place,) * len(sizes)))

    def _place(self, part: Ids) -> DimSlice | None:
        owner, part = self.owner(part), self._origin(part) if len(part) else part
        if owner is None or (np.diff(part) != 1).any():
            return None
        dim = self.parameters[owner[0]].dims[owner[1]]
        start = int(part[0]) - (0 if dim is None else int(dim[0]))
        return DimSlice(*owner, start, start + len(part)) if dim is not None and start + len(part) <= len(dim) else None

    def same(self, left: Dim, right: Dim, reason: str) -> Dim:
        """State that two dimensions agree, position by position; return one of them."""
        if left is None or right is None:
            self.fix(left if right is None else right, reason)
            return None
        if left is not right:
            self.pairs.append((left, right))
        return left

    def fix(self, dim: Dim, reason: str) -> None:
        """State that a dimension cannot change. Dimensions of no interest to users have an empty reason."""
        if dim is not None:
            self.fixed.append((dim.reshape(-1), reason))

    def mix(self, dim: Dim) -> None:
        """State that an operator mixes the channels of a dimension (softmax, layer normalization, mean).

        The slim model is still right, but differs from the full model with removed channels set to zero.
        """
        if dim is not None:
            self.channel_mixing.append(dim)

    def ids_or_fixed(self, dim: Dim, size: int) -> Ids:
        """Return the identities of a dimension; new, fixed ones if it has none."""
        if dim is not None:
            return dim
        identities = self.new(size)
        self.fix(identities, '')
        return identities

    def add_cost(
        self, operator: str, constant: int, dims: Iterable[tuple[int, Dim]], vanishing: Ids | None = None
    ) -> None:
        """Add an operator's MACs: ``constant`` times the sizes of ``dims``, given as (full size, dim)."""
        tracked: list[Ids] = []
        for size, dim in dims:
            if dim is None:
                constant *= size
            else:
                tracked.append(dim)
        if constant > 0:
            self.costs.append(CostTerm(operator, constant, tuple(tracked), vanishing))

    def component_of(self, more: Sequence[tuple[Ids, Ids]] = ()) -> NDArray[np.int64]:
        """Solve the statements, and ``more`` pairs: the number of its component for every identity, shape (count,)."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        pairs = [*self.pairs, *more]
        if not pairs:
            return np.arange(self.count)
        rows = np.concatenate([left.reshape(-1) for left, _ in pairs])
        columns = np.concatenate([right.reshape(-1) for _, right in pairs])
        links = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(self.count, self.count))
        return connected_components(links, directed=False)[1].astype(np.int64)


def product(sizes: Iterable[int]) -> int:
    """Return the product of sizes; 1 for none."""
    return math.prod(sizes)


def layer_of(parameter: str) -> str:
    """Return the name of the layer that owns a parameter: what it is a parametrization of, if it is part of one."""
    layer, found, _ = f'.{parameter}'.partition('.parametrizations.')
    return layer[1:] if found else parameter.rpartition('.')[0]
