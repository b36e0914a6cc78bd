"""A model as a function from tensors to tensors, whatever its inputs and outputs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...graph import ExampleInput
from ...utils import map_tensors

__all__ = ['FlatModel']


@dataclass
class _LastCall:
    """What a call returned: an object of its own, since ``torch.export`` restores the attributes of modules."""

    outputs: tuple[str, ...] = ()


class FlatModel(nn.Module):
    """Call a model on the tensors of its example input; return the tensors of its output.

    Attributes
    ----------
    tensors
        The tensors of the example, each once: the arguments to call this with.
    """

    PREFIX = 'model.'

    def __init__(self, model: nn.Module, example: ExampleInput) -> None:
        super().__init__()
        self.model = model
        self.training = model.training
        self._example = example.fresh()
        self._last = _LastCall()
        self.tensors = tuple({id(tensor): tensor for tensor in self._example.tensors()}.values())

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        """Call the model; return the outputs that count."""
        given: dict[int, Any] = {id(own): tensor for own, tensor in zip(self.tensors, tensors)}
        args, kwargs = map_tensors(lambda own: given[id(own)], (self._example.args, self._example.kwargs))
        found = self._example.outputs_in(self.model(*args, **kwargs))
        self._last.outputs = tuple(path for path, _ in found)
        return [tensor for _, tensor in found]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Paths of the tensors that the last call returned, in the model's output."""
        return self._last.outputs
