"""The tables of rules for operators and layers, which users extend, and `Call`, the interface of rules.

A rule is a function ``rule(call, *arguments) -> dims``. Its arguments are those of the ATen operator, or of the layer's
``forward``, tensors replaced by `Symbol`. It states what must agree through ``call`` and returns one `Dim` for every
dimension of the output (a list of such tuples where several tensors are returned). Operators without a rule fix what
they touch; layers without one are followed operator by operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...graph import Attribute
from ..constraints import Choice, Constraints, Dim, Ids, Symbol, Way, layer_of

__all__ = [
    'Call',
    'ConstantIndex',
    'Dims',
    'Layer',
    'LayerCall',
    'Rule',
    'find_layer',
    'find_rule',
    'own_tensors',
    'register_layer',
    'register_rule',
]

Dims = Sequence[Dim]
Rule = Callable[..., Any]


@dataclass(frozen=True)
class Layer:
    """A registered class of modules.

    Parameters
    ----------
    rule
        How channels pass through the layer as a whole; None: its operators are followed.
    sizes
        ``{attribute: (parameter, axis)}``: attributes of the layer, each with the dimension that it follows.
    """

    rule: Rule | None = None
    sizes: Mapping[str, tuple[str, int]] = field(default_factory=dict)


_RULES: dict[str, Rule] = {}
_LAYERS: dict[type, Layer] = {}


def register_rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register the rule of operators, or replace it.

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


def find_rule(operator: str, overload: Any = None) -> Rule | None:
    """Return the rule of an operator, or None; that of sums for an overload that torch marks as pointwise."""
    pointwise = torch.Tag.pointwise in getattr(overload, 'tags', ())
    return _RULES.get(operator) or (_RULES.get('aten.add') if pointwise else None)


def register_layer(
    *classes: type[nn.Module], sizes: Mapping[str, tuple[str, int]] | None = None
) -> Callable[[Rule], Rule]:
    """Register a class of modules: attributes that follow a width, or how channels pass through.

    A plain call registers the ``sizes``; used as a decorator, it registers a rule as well. Subclasses are included unless
    registered themselves. An earlier registration of the class is replaced.

    Parameters
    ----------
    classes
        Classes of modules.
    sizes
        ``{attribute: (parameter, axis)}``: an attribute that holds a whole number (or a tuple of one) and follows the
        size of a dimension of one of the layer's own parameters, such as ``{'dim': ('weight', 0)}``. Where the
        attribute is a share of that size (a number of groups, a number of heads), it stays the same share.

    Returns
    -------
    A decorator for the rule ``rule(call, *inputs) -> dims``, for layers with an operator that has no rule or that cannot
    be exported. ``inputs`` are the arguments of the layer's ``forward``, tensors replaced by `Symbol`; ``call`` is a
    `LayerCall`, whose ``call.tensor('weight')`` is the `Symbol` of a parameter of the layer.

    Raises
    ------
    TypeError
        If a class is no class of modules, or ``sizes`` or the rule is of another form.

    Examples
    --------
    >>> register_layer(GroupedScale, sizes={'groups': ('weight', 0)})  # the rest is seen in its operators

    >>> @register_layer(Scale, sizes={'dim': ('weight', 0)})           # nothing of forward(x) is looked at
    ... def scale(call, x):
    ...     channels = call.same(x.dims[1], call.tensor('weight').dims[0])
    ...     return (x.dims[0], channels, *x.dims[2:])
    """
    if not classes:
        raise TypeError('register_layer() names no class. Give the class of the layers: register_layer(MyLayer).')
    for owner in classes:
        if not isinstance(owner, type) or not issubclass(owner, nn.Module) or owner is nn.Module:
            raise TypeError(
                f'register_layer({owner!r}): give a class of your own layers, derived from torch.nn.Module.'
            )
    checked = _checked_sizes(sizes)
    for owner in classes:
        _LAYERS[owner] = Layer(None, checked)

    def register(rule: Rule) -> Rule:
        if not callable(rule):
            raise TypeError(f'register_layer(...)({rule!r}): the rule must be a function rule(call, *inputs) -> dims.')
        for owner in classes:
            _LAYERS[owner] = Layer(rule, checked)
        return rule

    return register


def _checked_sizes(sizes: Any) -> dict[str, tuple[str, int]]:
    example = "such as {'dim': ('weight', 0)}"
    if sizes is None:
        return {}
    if not isinstance(sizes, Mapping):
        raise TypeError(f'sizes={sizes!r} must be a dict from attributes to (parameter, axis), {example}.')
    checked = {}
    for name, source in sizes.items():
        good = isinstance(source, (tuple, list)) and len(source) == 2 and isinstance(source[0], str)
        if not isinstance(name, str) or not good or type(source[1]) is not int:
            raise TypeError(f'sizes: {name!r}: {source!r} must be an attribute: (parameter, axis), {example}.')
        checked[name] = (source[0], source[1])
    return checked


def find_layer(owner: type) -> Layer | None:
    """Return the registration of a class of modules or of its nearest registered base; None without one."""
    return next((_LAYERS[base] for base in owner.__mro__ if base in _LAYERS), None)


@dataclass(frozen=True)
class ConstantIndex:
    """Positions that depend on no input.

    Parameters
    ----------
    values
        The positions in the full model, shape (entries,); negative ones count from the end.
    holders
        The attributes that hold them, as (module, name); none if the model's code computes them.
    computed
        Whether they are computed from a buffer, which may hold positions itself.
    """

    values: Ids
    holders: tuple[tuple[str, str], ...] = ()
    computed: bool = False


@dataclass(frozen=True)
class Call:
    """One operator of a model; its rule states through it what must agree.

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
    constant_index
        Returns the positions that a symbol holds along an axis; None if they depend on inputs.
    """

    constraints: Constraints
    operator: str
    shapes: tuple[tuple[int, ...], ...]
    modules: dict[str, nn.Module]
    constant_index: Callable[[Symbol, int], ConstantIndex | None] = lambda _symbol, _axis: None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the only (or first) output."""
        return self.shapes[0]

    def same(self, first: Dim, *others: Dim) -> Dim:
        """State that dimensions agree position by position; return one that represents all."""
        for other in others:
            first = self.constraints.same(first, other, f'meets a dimension of fixed size in {self.operator}')
        return first

    def fix(self, *dims: Dim, reason: str | None = None) -> None:
        """State that dimensions cannot change."""
        for dim in dims:
            self.constraints.fix(dim, f'cannot change in {self.operator}' if reason is None else reason)

    def choose(self, dim: Ids, *ways: Way) -> None:
        """State one of several ways to read this operator, the likeliest first; real forwards decide (see `settle`)."""
        self.constraints.choices.append(Choice(dim.reshape(-1), ways))

    def without(self, x: Symbol, axes: Iterable[int], reason: str | None = None) -> list[Dim]:
        """Fix dimensions of a symbol; return its dims, None for these."""
        gone = {axis % len(x.shape) for axis in axes}
        self.fix(*(x.dims[axis] for axis in sorted(gone)), reason=reason)
        return [None if axis in gone else dim for axis, dim in enumerate(x.dims)]

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

    def averages(self, x: Symbol, axes: Iterable[int]) -> None:
        """State that statistics over these axes mix their positions, and need two values at every width."""
        axes = sorted({axis % len(x.shape) for axis in axes})
        for axis in axes:
            self.constraints.mix(x.dims[axis])
        tracked = [axis for axis in axes if x.dims[axis] is not None]
        if len(tracked) == 1 and math.prod(x.shape[axis] for axis in axes) == x.shape[tracked[0]]:
            self.constraints.at_least.append((x.dims[tracked[0]], 2))  # type: ignore[arg-type]

    def attribute(self, name: str, weight: Symbol, axis: int, divisor: int) -> bool:
        """Make an attribute of the module that owns ``weight`` follow one of its dimensions; False if it has none.

        No module owns a weight that is computed from an input of the model. Constant attributes follow nothing.
        """
        found = self._origin(weight, axis)
        if found is None or weight.of_input:
            return False
        path = layer_of(found[0])
        if not hasattr(self.modules.get(path), name) or (path, name) in self.constraints.constant:
            return False
        attribute = Attribute(path, name, *found, divisor)
        if attribute not in self.constraints.attributes:
            self.constraints.attributes.append(attribute)
        return True


@dataclass(frozen=True)
class LayerCall(Call):
    """One call of a registered layer, as `Call`.

    Parameters
    ----------
    path
        Name of the layer in the model.
    """

    path: str = ''

    @property
    def module(self) -> nn.Module:
        """The layer; its numbers are those of the full model."""
        return self.modules[self.path]

    def tensor(self, name: str) -> Symbol | None:
        """Return the symbol of a parameter or buffer of the layer; None where the layer holds None (no bias).

        Parameters
        ----------
        name
            Its name in the layer, such as ``'weight'`` or ``'inner.weight'``.

        Raises
        ------
        KeyError
            If the layer has none of this name.
        """
        own = dict(own_tensors(self.module))
        if name not in own:
            parent, _, leaf = name.rpartition('.')
            holder = dict(self.module.named_modules()).get(parent)
            if holder is not None and getattr(holder, leaf, self) is None:
                return None
            raise KeyError(f'{self.operator} has no parameter {name!r}; it has {", ".join(own) or "none"}')
        known = self.constraints.parameters
        return next(known[key] for key, tensor in own_tensors(self.modules['']) if tensor is own[name] and key in known)


def own_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the parameters and buffers of a module with their names in it, tied ones under each of their names."""
    parameters = module.named_parameters(remove_duplicate=False)
    return [*parameters, *module.named_buffers(remove_duplicate=False)]
