"""Where the tensors of a model stand: found once, used at every call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from torch import Tensor, nn

__all__ = ['Places']

_Store = dict[str, Optional[Tensor]]


class Places:
    """The places of a model in which its parameters and buffers stand.

    Tied tensors stand in several places, and go by the name that ``named_parameters`` gives them.

    Parameters
    ----------
    model
        The model.

    Attributes
    ----------
    modules : dict
        ``{path: module}``, with every path of a module that has several.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters: dict[str, list[tuple[_Store, str]]] = {}
        self._buffers: dict[str, list[tuple[_Store, str]]] = {}
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self._structure: list[tuple[Any, ...]] = []
        self._names: dict[tuple[int, str], str] = {}
        names: dict[int, str] = {}
        for path, module in model.named_modules():
            children, parameters, buffers = module._modules, module._parameters, module._buffers
            self._structure.append(
                (children, tuple(children.values()), parameters, len(parameters), buffers, len(buffers))
            )
            for store, found in ((parameters, self._parameters), (buffers, self._buffers)):
                for leaf, tensor in store.items():
                    own = f'{path}.{leaf}' if path else leaf
                    name = own if tensor is None else names.setdefault(id(tensor), own)
                    found.setdefault(name, []).append((store, leaf))
                    self._names[id(store), leaf] = name

    def parameters(self) -> dict[str, Tensor]:
        """Return the parameters that now stand in the model, by name."""
        return _standing(self._parameters)

    def buffers(self) -> dict[str, Tensor]:
        """Return the buffers that now stand in the model, by name."""
        return _standing(self._buffers)

    def name_of(self, module: nn.Module, leaf: str) -> str:
        """Return the name of the parameter that stands in a module."""
        return self._names[id(module._parameters), leaf]

    @property
    def still_there(self) -> bool:
        """Whether the model still has the modules, and as many tensors, as when this was made."""
        for children, values, parameters, many, buffers, more in self._structure:
            if tuple(children.values()) != values or len(parameters) != many or len(buffers) != more:
                return False
        return True

    @contextlib.contextmanager
    def holding(self, tensors: dict[str, Any]) -> Iterator[None]:
        """Put other tensors into their places for the length of a block.

        Afterwards ``tensors`` holds what then stood in these places: the model may have put others there.
        """
        before = []
        for name, tensor in tensors.items():
            for store, leaf in self._parameters.get(name) or self._buffers[name]:
                before.append((store, leaf, store[leaf], name))
                store[leaf] = tensor
        try:
            yield
        finally:
            for store, leaf, own, name in before:
                tensors[name] = store[leaf]
                store[leaf] = own


def _standing(places: Mapping[str, list[tuple[_Store, str]]]) -> dict[str, Tensor]:
    standing = {}
    for name, at in places.items():
        store, leaf = at[0]
        tensor = store[leaf]
        if tensor is not None:
            standing[name] = tensor
    return standing
