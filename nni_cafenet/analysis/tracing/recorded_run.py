"""The operators of one real run, for models that ``torch.export`` rejects.

Detectors choose boxes by score: the sizes of their tensors depend on values, which no export can follow. A real run can be
recorded whole, but does not show how the model branches for other values. So it is used only if Python never read a value
that later layers could depend on.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from ...graph import ExampleInput
from ...slicing import call_with
from .flat_model import FlatModel

__all__ = ['READS', 'record', 'values_seen']

READS = ('aten.item', 'aten._local_scalar_dense')
"""Operators that read a value of a tensor into Python."""


def record(model: nn.Module, example: ExampleInput) -> tuple[fx.GraphModule, dict[str, str], tuple[str, ...]]:
    """Run a model and record its ATen operators.

    Returns
    -------
    The graph, ``{placeholder: name}`` of the parameters and buffers among its placeholders, and the paths of its outputs.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    calls = FlatModel(model, example)

    def run(values: list[Tensor], inputs: list[Tensor]) -> Any:
        given = {FlatModel.PREFIX + name: value for name, value in zip(tensors, values)}
        with _RecordReads():
            return call_with(calls, given, tuple(inputs), {})

    recorder = make_fx(run, tracing_mode='real', pre_dispatch=True, _error_on_data_dependent_ops=False)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        recorded = recorder(list(tensors.values()), list(calls.tensors))
    for node in recorded.graph.nodes:
        if node.op == 'get_attr':
            node.meta.setdefault('val', getattr(recorded, str(node.target), None))
    placeholders = [node.name for node in recorded.graph.nodes if node.op == 'placeholder']
    return recorded, dict(zip(placeholders, tensors)), calls.outputs


def values_seen(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes that run after Python has read a value that depends on a parameter or an input.

    Not counted is how many samples a step of a packed sequence has: torch's recurrent layers size their states by it.
    """
    depends: set[fx.Node] = set()
    after: set[fx.Node] = set()
    seen = False
    for node in graph.nodes:
        if seen:
            after.add(node)
        if node.op == 'placeholder' or any(source in depends for source in node.all_input_nodes):
            depends.add(node)
            reads = str(node.target).rpartition('.')[0] in READS
            seen = seen or (reads and not _is_step_size(node.all_input_nodes[0]))
    return after


def _is_step_size(node: fx.Node) -> bool:
    """Whether a value is an element of the step sizes of a packed sequence."""
    if str(node.target).startswith('aten.select.'):
        node = node.all_input_nodes[0]
    is_second = node.target is operator.getitem and bool(node.args[1] == 1)
    return is_second and str(node.all_input_nodes[0].target).startswith('aten._pack_padded_sequence')


class _RecordReads(TorchFunctionMode):
    """Show reads of whole tensors (``tolist``, ``numpy``) in the graph, as a read of one value."""

    def __torch_function__(self, function: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        if function in (Tensor.tolist, Tensor.numpy, Tensor.__array__) and args[0].numel():
            torch.ops.aten._local_scalar_dense(args[0].reshape(-1)[:1].sum())
        return function(*args, **(kwargs or {}))
