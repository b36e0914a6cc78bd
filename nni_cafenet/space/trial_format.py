"""Width spaces in NNI's simplified format for trials, with a summary for the web UI.

The parameter of a NAS trial is the serialized model space, which the web UI shows as ``[object Object]``. The UI reads a
key ``mutation_summary``, which ``SimplifiedModelSpace`` never writes. `SimplifiedModelSpace.from_model` is patched to
return a `SimplifiedWidthSpace`, which writes it, for width spaces; `NasExperiment` announces the axes of the summary.
"""

from __future__ import annotations

import functools
import os
import weakref
from typing import Any, cast

import nni
from nni.common.serializer import PayloadTooLarge
from nni.nas.evaluator import Evaluator
from nni.nas.experiment import NasExperiment
from nni.nas.space import BaseModelSpace, SimplifiedModelSpace

from .web_ui_summary import mutation_summary, published_axes

__all__ = ['SimplifiedWidthSpace', 'simplify_with_summary']

_MOST_BYTES = int(os.getenv('PICKLE_SIZE_LIMIT', 64 * 1024))  # NNI's limit of a pickled argument
_kinds: list[type[BaseModelSpace]] = []


class SimplifiedWidthSpace(SimplifiedModelSpace):
    """A width space or one of its networks as NNI sends it to trials: model factory, widths and their summary.

    Created by ``SimplifiedModelSpace.from_model(space, evaluator)``. ``mutation_summary`` is empty for a space.
    """

    mutation_summary: dict[str, str | int | float]

    def __init__(self, model: Any, mutables: Any, evaluator: Evaluator | None) -> None:
        super().__init__(model, mutables, evaluator)
        self.mutation_summary = {}
        self._live: weakref.ReferenceType[Any] | None = None

    @classmethod
    def from_model(
        cls, model_space: BaseModelSpace, evaluator: Evaluator | None = None, **configs: Any
    ) -> SimplifiedWidthSpace:
        """Simplify a `WidthSpace`, holding only a weak reference to it."""
        simplified = cls(model_space, model_space.simplify(), evaluator)
        simplified._live = weakref.ref(model_space)
        return simplified

    @property
    def width_space(self) -> Any:
        """The live `WidthSpace`; None in another process, after its deletion, and in a frozen network."""
        return None if self._live is None else self._live()

    def freeze(self, sample: dict[str, Any]) -> SimplifiedWidthSpace:
        """Freeze to ``{label: channels}``, plus choices of the evaluator."""
        frozen: SimplifiedWidthSpace = super().freeze(sample)
        frozen.mutation_summary = self.summarize(sample)
        return frozen

    def summarize(self, sample: dict[str, Any]) -> dict[str, str | int | float]:
        """Return the summary of a sample; empty without the live space."""
        space = self.width_space
        if space is None:
            return {}
        others = {label: value for label, value in sample.items() if label not in space.labels}
        summary = mutation_summary(space, {label: sample[label] for label in space.labels})
        for label, value in others.items():  # choices of the evaluator
            name = f'{label} (evaluator)' if label in summary else label
            summary[name] = value if isinstance(value, (str, int, float)) else str(value)
        return summary

    def _dump(self) -> dict[str, Any]:
        dumped: dict[str, Any] = super()._dump()
        try:
            nni.dump([dumped['model_args'], dumped['model_kwargs']], pickle_size_limit=_MOST_BYTES)
        except PayloadTooLarge as error:
            raise TypeError(
                'A live model (or an argument as large) cannot be sent to trials: they build the model themselves. Give '
                'WidthMutator().mutate a class or a function and its arguments; or, to keep the weights, '
                'nni_cafenet.factory_of(model, path). nni_cafenet.check_serializable(space, evaluator) checks in advance.'
            ) from error
        return {**dumped, 'mutation_summary': self.mutation_summary} if self.mutation_summary else dumped

    @classmethod
    def _load(cls, **attrs: Any) -> SimplifiedWidthSpace:
        loaded: SimplifiedWidthSpace = super()._load(**attrs)
        loaded.mutation_summary = dict(attrs.get('mutation_summary', {}))
        return loaded


def simplify_with_summary(kind: type[BaseModelSpace]) -> None:
    """Register a class of model spaces that NNI simplifies to `SimplifiedWidthSpace`."""
    if not _kinds:
        _extend_from_model()
        _extend_announcement()
    if kind not in _kinds:
        _kinds.append(kind)


def _extend_from_model() -> None:
    released = SimplifiedModelSpace.from_model.__func__

    @functools.wraps(released)
    def from_model(cls: Any, model_space: Any, evaluator: Any = None, **configs: Any) -> Any:
        if cls is SimplifiedModelSpace and isinstance(model_space, tuple(_kinds)):
            cls = SimplifiedWidthSpace
            return cls.from_model(model_space, evaluator, **configs)
        return released(cls, model_space, evaluator, **configs)

    SimplifiedModelSpace.from_model = classmethod(from_model)  # type: ignore[arg-type]


def _extend_announcement() -> None:
    released = NasExperiment._send_space_to_nni_manager

    @functools.wraps(released)
    def send(self: Any) -> None:
        if isinstance(self.model_space, tuple(_kinds)):
            self.update_search_space(published_axes(cast(Any, self.model_space)))
        else:
            released(self)

    NasExperiment._send_space_to_nni_manager = send
