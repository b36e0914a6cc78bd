"""The slots of a model's tensors, found once and used at every call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from ..utils import put_flat_weights

__all__ = ['TensorSlots']

_Store = dict[str, Tensor | None]


class TensorSlots:
    """The dictionaries of modules that hold a model's parameters and buffers.

    A tied tensor has several slots and the name that ``named_parameters`` gives it.

    Parameters
    ----------
    model
        The model.

    Attributes
    ----------
    modules : dict
        ``{path: module}``, with all paths of a module that has several.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters: dict[str, list[tuple[_Store, str]]] = {}
        self._buffers: dict[str, list[tuple[_Store, str]]] = {}
        self.modules = dict(model.named_modules(remove_duplicate=False))
        self._structure: list[tuple[Any, ...]] = []
        self._names: dict[tuple[int, str], str] = {}
        self._last: tuple[list[str], list[tuple[_Store, str, str]]] = [], []
        self._recurrent = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
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
        """Return the current parameters by name."""
        return _present(self._parameters)

    def buffers(self) -> dict[str, Tensor]:
        """Return the current buffers by name."""
        return _present(self._buffers)

    def name_of(self, module: nn.Module, leaf: str) -> str:
        """Return the full name of a module's parameter."""
        return self._names[id(module._parameters), leaf]

    @property
    def is_current(self) -> bool:
        """Whether the model still has the same modules and numbers of tensors."""
        for children, values, parameters, many, buffers, more in self._structure:
            if tuple(children.values()) != values or len(parameters) != many or len(buffers) != more:
                return False
        return True

    @contextlib.contextmanager
    def replaced(self, tensors: dict[str, Any]) -> Iterator[Mapping[str, Tensor]]:
        """Put other tensors into their slots within a block, which gets the contents of these slots by name.

        Afterwards ``tensors`` holds the contents at the end of the block: the model may have replaced some.
        """
        at = self._at(tensors)
        before = [store[leaf] for store, leaf, _ in at]
        for store, leaf, name in at:
            store[leaf] = tensors[name]
        lists = [(vars(layer), put_flat_weights(layer)) for layer in self._recurrent]
        try:
            yield _SlotMapping(at)
        finally:
            for attributes, own_lists in lists:
                attributes.update(own_lists)
            for (store, leaf, name), own in zip(at, before):
                tensors[name] = store[leaf]
                store[leaf] = own

    def _at(self, names: Iterable[str]) -> list[tuple[_Store, str, str]]:
        """Return the slots of tensors; mostly those of the last call."""
        names = list(names)
        if self._last[0] != names:
            every = [(name, self._parameters.get(name) or self._buffers[name]) for name in names]
            self._last = names, [(store, leaf, name) for name, found_at in every for store, leaf in found_at]
        return self._last[1]


class _SlotMapping(Mapping[str, Tensor]):
    """The current contents of slots, by name."""

    def __init__(self, at: list[tuple[_Store, str, str]]) -> None:
        self._at = at

    @cached_property
    def _slots(self) -> dict[str, tuple[_Store, str]]:
        return {name: (store, leaf) for store, leaf, name in self._at}

    def __getitem__(self, name: str) -> Tensor:
        store, leaf = self._slots[name]
        return store[leaf]  # type: ignore[return-value]

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)


def _present(found_at: Mapping[str, list[tuple[_Store, str]]]) -> dict[str, Tensor]:
    present = {}
    for name, at in found_at.items():
        store, leaf = at[0]
        tensor = store[leaf]
        if tensor is not None:
            present[name] = tensor
    return present
