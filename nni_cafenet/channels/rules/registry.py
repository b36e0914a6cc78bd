"""The table of rules, open to users, and what a rule states through.

A rule is a function ``rule(call, *arguments) -> dims``. Its arguments are those of the ATen operator, tensors replaced
by `Symbol`. It states what must agree through ``call`` and returns one `Dim` for every dimension of the output (a list
of such tuples where the operator returns several tensors). Operators without a rule fix what they touch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..constraints import Attribute, Constraints, Dim, Symbol, layer_of

__all__ = ['Call', 'Dims', 'Rule', 'find_rule', 'register_rule']

Dims = Sequence[Dim]
Rule = Callable[..., Any]

_RULES: dict[str, Rule] = {}


def register_rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register the rule of some operators, or replace it.

    Parameters
    ----------
    operators
        Operators without their overload, such as ``'aten.conv2d'`` or ``'my_library.scale'``.

    Examples
    --------
    >>> @register_rule('my_library.scale')        # an operator that keeps the shape of its first argument
    ... def scale(call, x, factor):
    ...     return x.dims
    """

    def register(rule: Rule) -> Rule:
        for operator in operators:
            _RULES[operator.replace('::', '.')] = rule
        return rule

    return register


def find_rule(operator: str) -> Rule | None:
    """Return the rule of an operator, or None."""
    return _RULES.get(operator)


@dataclass(frozen=True)
class Call:
    """One operator of a model at work; what its rule states goes through here.

    Parameters
    ----------
    constraints
        Where the statements are collected.
    operator
        Name of the operator, such as ``'aten.conv2d'``.
    shapes
        Shapes of the outputs, in the full model.
    modules
        ``{name: module}`` of the model.
    """

    constraints: Constraints
    operator: str
    shapes: tuple[tuple[int, ...], ...]
    modules: dict[str, nn.Module]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the only (or first) output."""
        return self.shapes[0]

    def same(self, left: Dim, right: Dim) -> Dim:
        """State that two dimensions agree position by position."""
        return self.constraints.same(left, right, f'meets a dimension of fixed size in {self.operator}')

    def fix(self, *dims: Dim, reason: str | None = None) -> None:
        """State that dimensions cannot change."""
        for dim in dims:
            self.constraints.fix(dim, f'cannot change in {self.operator}' if reason is None else reason)

    def fixed(self, *symbols: Symbol) -> list[tuple[Dim, ...]]:
        """Fix all that the symbols carry; return outputs that cannot change."""
        for symbol in symbols:
            self.fix(*symbol.dims)
        return [(None,) * len(shape) for shape in self.shapes]

    def produces(self, weight: Symbol, axis: int) -> None:
        """Record that the positions of a parameter's axis are the output channels of a layer."""
        found = self._origin(weight, axis)
        if found is not None and found not in self.constraints.produced:
            self.constraints.produced.append(found)

    def reads(self, weight: Symbol, axis: int) -> None:
        """Record that the positions of a parameter's axis are the input channels of a layer."""
        found = self._origin(weight, axis)
        if found is not None and found not in self.constraints.read:
            self.constraints.read.append(found)

    def _origin(self, weight: Symbol, axis: int) -> tuple[str, int] | None:
        """Return the parameter and axis that a weight's axis is; for a weight that is computed, those it comes from."""
        return (weight.name, axis) if weight.name is not None else self.constraints.owner(weight.dims[axis])

    def cost(self, constant: int, dims: Iterable[tuple[int, Dim]], vanishing: Dim = None) -> None:
        """Add multiply-accumulates: a constant times the sizes of dims, given as (full size, dim).

        ``vanishing`` is one more dimension, of which a single position costs nothing.
        """
        self.constraints.add_cost(self.operator, constant, dims, vanishing)

    def attribute(self, name: str, weight: Symbol, axis: int, divisor: int) -> bool:
        """Make an attribute of the module that owns ``weight`` follow one of its dimensions; False if it has none."""
        found = self._origin(weight, axis)
        if found is None:
            return False
        path = layer_of(found[0])
        if not hasattr(self.modules.get(path), name):
            return False
        attribute = Attribute(path, name, *found, divisor)
        if attribute not in self.constraints.attributes:
            self.constraints.attributes.append(attribute)
        return True
