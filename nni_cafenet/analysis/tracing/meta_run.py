"""The operators of a model from one run on the meta device: what ``torch.export`` finds, in a fraction of its time.

The analysis needs the operators, in order, and the shapes of their outputs. On the meta device operators compute shapes
alone, and a mode lists each one before torch decomposes convolutions, normalization or attention, as export's tracer does.

The list is used only if it cannot differ from the export. There are no values to read. A model that writes into one view of
a tensor and reads it through another, that stores tensors of the run in attributes, or that fails on the meta device is
exported instead (`run_on_meta` returns None).
"""

from __future__ import annotations

import contextlib
import logging
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ...errors import first_line
from ...graph import ExampleInput
from ...slicing import call_with
from ...utils import pass_on, suppress_torch_output, tensors_in
from ..model_state import untouched
from .constant_indices import index_source
from .flat_model import FlatModel
from .held_lists import HeldLists

__all__ = ['ListedOperators', 'run_on_meta', 'same_operators', 'sizes_depend_on_values']

_logger = logging.getLogger(__name__)

_aten = torch.ops.aten

_ACTIVATIONS = frozenset(
    getattr(_aten, name + suffix)
    for name in 'relu relu6 hardtanh hardswish hardsigmoid sigmoid silu gelu elu leaky_relu mish tanh'.split()
    for suffix in ('', '_')
    if hasattr(_aten, name + suffix)
)
"""Operators whose output has the shape and type of their argument."""

_INDEXING = frozenset(
    getattr(_aten, name) for name in 'index index_put index_put_ index_select gather take_along_dim'.split()
)
"""Operators that take positions from a tensor."""

_NEW = frozenset({_aten.new_zeros, _aten.new_ones, _aten.new_full, _aten.new_empty})
"""Operators that use only the type and device of their argument."""


@dataclass(frozen=True)
class ListedOperators:
    """The operators of a run.

    Parameters
    ----------
    graph
        The graph; ``meta['val']`` of a node holds the shapes of its outputs.
    outputs
        Paths of what it returns, in the model's output.
    """

    graph: fx.Graph
    outputs: tuple[str, ...] = ()


def same_operators(left: fx.Graph, right: fx.Graph) -> bool:
    """Whether two runs called the same operators in the same order, with the same arguments.

    Updates of batch counters in training mode are ignored.
    """
    both = [[node for node in graph.nodes if not _only_counts(node)] for graph in (left, right)]
    number = {node: index for nodes in both for index, node in enumerate(nodes)}
    return len(both[0]) == len(both[1]) and all(
        one.op == other.op
        and (one.op != 'call_function' or one.target is other.target)
        and fx.node.map_arg((one.args, one.kwargs), number.get)
        == fx.node.map_arg((other.args, other.kwargs), number.get)
        for one, other in zip(*both)
    )


def _only_counts(node: fx.Node) -> bool:
    return node.target is _aten.add_.Tensor and not node.users and node.args[0].op == 'placeholder'  # type: ignore[union-attr]


class _CannotTellError(Exception):
    """The operators alone do not show what the model does."""


class _SizeOfValuesError(Exception):
    """The size of an operator's output depends on values."""


def sizes_depend_on_values(model: nn.Module, example: ExampleInput) -> bool:
    """Whether a run without values ends at an operator whose output size depends on values, such as ``nonzero``.

    Detectors choose boxes by score. An export of a large one takes ten seconds before it fails there.
    """
    try:
        _listed(model, example, strict=False)
    except (_SizeOfValuesError, NotImplementedError):
        return True
    except Exception as error:  # noqa: BLE001 - the user's code may do anything
        pass_on(error)
    return False


def run_on_meta(
    model: nn.Module, example: ExampleInput, mode: contextlib.AbstractContextManager[Any] | None = None
) -> tuple[ListedOperators, dict[str, str]] | None:
    """Run a model without values and list its operators, in the mode in which it is.

    Returns
    -------
    The operators, and ``{placeholder: name}`` of the parameters and buffers; None if the model has to be exported.
    """
    found = _run_on_meta(model, example, mode)
    if found is not None and _indexes_without_values(found[0].graph):
        return _run_on_meta(model, example, mode, HeldLists()) or found
    return found


def _indexes_without_values(graph: fx.Graph) -> bool:
    """Whether a run indexed with tensors that Python made, whose values it lost."""
    sources = (
        index_source(source)
        for node in graph.nodes
        if getattr(node.target, 'overloadpacket', None) in _INDEXING
        for source in node.all_input_nodes[1:]
    )
    return any(source.op == 'get_attr' and source.meta['val'].is_meta for source in sources)


def _run_on_meta(
    model: nn.Module, example: ExampleInput, *modes: contextlib.AbstractContextManager[Any] | None
) -> tuple[ListedOperators, dict[str, str]] | None:
    try:
        return _listed(model, example, *modes)
    except Exception as error:  # noqa: BLE001 - the user's code may do anything, and torch's modes may be others elsewhere
        pass_on(error)
        _logger.debug('%s is exported: %s', type(model).__name__, first_line(error, 200, type(error).__name__))
        return None


def _listed(
    model: nn.Module,
    example: ExampleInput,
    *modes: contextlib.AbstractContextManager[Any] | None,
    strict: bool = True,
) -> tuple[ListedOperators, dict[str, str]]:
    """Return what `run_on_meta` does, or raise whatever ends the run."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    devices = {tensor.device for tensor in (*own.values(), *example.tensors())}
    if len(devices) > 1:
        raise _CannotTellError('its tensors are on several devices')  # real operators raise an error
    here = devices <= {torch.get_default_device(), torch.device('meta')}
    fresh = torch.device('meta') if here else contextlib.nullcontext()  # where the model's code makes tensors
    tensors = {name: torch.empty_like(tensor, device='meta', requires_grad=False) for name, tensor in own.items()}
    calls = FlatModel(model, example.map(lambda tensor: torch.empty_like(tensor, device='meta')))
    given = {FlatModel.PREFIX + name: tensor for name, tensor in tensors.items()}
    listing = _Listing(strict)
    names = {listing.place(tensor).name: name for name, tensor in tensors.items()}
    for tensor in calls.tensors:
        listing.place(tensor)
    with contextlib.ExitStack() as stack:
        state = stack.enter_context(untouched(model))
        listing.before_write = state.before_write
        for context in (
            suppress_torch_output(),
            fresh,
            *(mode or contextlib.nullcontext() for mode in modes),
            enable_python_dispatcher(),
            listing,
        ):
            stack.enter_context(context)
        returned = call_with(calls, given, calls.tensors, {})
        if any(isinstance(leaf, Tensor) for leaf in tensors_in(state.restore())):
            raise _CannotTellError('it keeps tensors')
    listing.graph.output(tuple(listing.node_of(tensor) for tensor in returned))
    for held in modes:
        for tensor, values in held.made if isinstance(held, HeldLists) else ():
            listing.node_of(tensor).meta['held'] = values
    return ListedOperators(listing.graph, calls.outputs), names


class _Listing(SchemaCheckMode):
    """List every operator that is called in this block.

    Only torch's own modes see composite operators before their decomposition; this is the plainest of them.

    Parameters
    ----------
    strict
        Whether the run ends at writes that the list cannot show, or at tensors of another device.
    """

    def __init__(self, strict: bool = True) -> None:
        TorchDispatchMode.__init__(self, torch._C.DispatchKey.PreDispatch)
        self.strict = strict
        self.graph = fx.Graph()
        self.before_write: Callable[[Tensor], None] | None = None  # called with tensors that are about to change
        self._nodes: dict[int, tuple[fx.Node, int]] = {}  # by tensor: its node and its number
        self._last_write: dict[int, int] = {}  # by memory: the number of the tensor last written to it
        self._depends: set[fx.Node] = set()
        self._same: dict[tuple[Any, ...], tuple[fx.Node, int]] = {}  # the same by view of memory
        self._alive: list[Tensor] = []  # so that no id or address is reused

    def place(self, tensor: Tensor) -> fx.Node:
        """Add a tensor that the model is given."""
        node = self.graph.placeholder('given')
        self._depends.add(node)
        self._stands_for(node, tensor)
        return node

    def node_of(self, tensor: Tensor) -> fx.Node:
        """Return the node that makes a tensor; one that no operator has made is a constant.

        Raises
        ------
        _CannotTellError
            If its memory was written through another tensor.
        """
        found = self._nodes.get(id(tensor)) or self._same.get(_seen(tensor))  # torch.zeros returns another object
        node, made = found or self._stands_for(self.graph.get_attr(f'constant_{len(self._alive)}'), tensor)
        if self.strict and self._last_write.get(_memory(tensor), -1) > made:
            raise _CannotTellError('it writes into a part of a tensor and reads the whole, or the other way round')
        return node

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.strict:  # tensors with values that the model's code holds
            args, kwargs = pytree.tree_map_only(Tensor, lambda tensor: tensor.to('meta'), (args, kwargs))
        leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        sources = {id(tensor): self.node_of(tensor) for tensor in leaves}
        if func._schema.is_mutable and self.before_write is not None:
            for tensor in _written(func, args, kwargs):
                self.before_write(tensor)
        if _size_of_values(func, args):
            raise _SizeOfValuesError(str(func))
        result = _returned(func, args, kwargs)
        if isinstance(result, (Tensor, tuple, list)):
            of = pytree.tree_map_only(Tensor, lambda tensor: sources[id(tensor)], (args, kwargs))
            depends = func.overloadpacket not in _NEW and not self._depends.isdisjoint(sources.values())
            self._write_down(func, of, result, depends)
            related = depends and len(sources) > 1  # filling or scaling adds no source
            for tensor in _written(func, args, kwargs) if related else ():
                node, made = self._nodes.get(id(tensor)) or self._same[_seen(tensor)]
                if self.strict and node is sources[id(tensor)]:
                    raise _CannotTellError(f'{func} writes into what it does not return')
                self._last_write[_memory(tensor)] = made
        return result

    def _write_down(self, target: Any, of: tuple[Any, Any], result: Any, depends: bool) -> None:
        node = self.graph.call_function(target, *of)
        node.meta['val'] = result
        self._depends.update([node] if depends else ())
        if isinstance(result, Tensor):
            self._stands_for(node, result)
            return
        for index, part in enumerate(result):
            if isinstance(part, Tensor):
                self._write_down(operator.getitem, ((node, index), {}), part, depends)

    def _stands_for(self, node: fx.Node, tensor: Tensor) -> tuple[fx.Node, int]:
        node.meta['val'] = tensor
        self._nodes[id(tensor)] = self._same[_seen(tensor)] = found = node, len(self._alive)
        self._alive.append(tensor)
        return found


def _size_of_values(func: Any, args: Sequence[Any]) -> bool:
    """Whether the size of an operator's output depends on values; indexing does with masks alone."""
    if torch.Tag.dynamic_output_shape not in func.tags:
        return False
    if func.overloadpacket is _aten.index:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return True


def _memory(tensor: Tensor) -> int:
    """Return a number that tensors share if they share memory."""
    return tensor.untyped_storage()._cdata


def _seen(tensor: Tensor) -> tuple[Any, ...]:
    """Return a key that tensors share if they show the same elements of the same memory."""
    return _memory(tensor), tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride()


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors that an operator writes into."""
    if not func._schema.is_mutable:
        return []
    given = {**{a.name: value for a, value in zip(func._schema.arguments, args)}, **kwargs}
    written = [given.get(a.name) for a in func._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    return [leaf for leaf in pytree.tree_leaves(written) if isinstance(leaf, Tensor)]


def _returned(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator below the modes that list it.

    Where it is safe, shapes are computed here: torch takes milliseconds for those of normalization and many activations.
    """
    first = args[0] if args else None
    if isinstance(first, Tensor) and first.is_meta and first.is_floating_point() and _keeps_shape(func, first, args):
        return first if func._schema.is_mutable else torch.empty_like(first)
    with torch._C._DisablePythonDispatcher():
        return func(*args, **kwargs)


def _keeps_shape(func: Any, x: Tensor, args: Sequence[Any]) -> bool:
    """Whether an operator is sure to run, and to keep the shape and type of its first argument."""
    packet = func.overloadpacket
    if packet is _aten.batch_norm:
        return not args[5] and x.dim() > 1 and _all_like(x, args[1:5], x.shape[1:2])
    if packet is _aten.layer_norm:
        shape = torch.Size(args[1])
        return x.shape[x.dim() - len(shape) :] == shape and _all_like(x, args[2:4], shape)
    return packet in _ACTIVATIONS


def _all_like(x: Tensor, tensors: Sequence[Any], shape: torch.Size) -> bool:
    return all(tensor is None or (tensor.shape == shape and tensor.dtype == x.dtype) for tensor in tensors)
