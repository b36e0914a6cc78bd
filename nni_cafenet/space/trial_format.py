"""A width space in NNI's simplified format, which is what trials of the multi-trial strategies are made of.

What NNI lacks: the parameter of a NAS trial is the serialized model space, which the web UI can neither draw nor list
(every axis of its *Hyper-parameter* tab reads ``[object Object]``). The UI does read a key ``mutation_summary`` of the
parameter, but ``SimplifiedModelSpace`` never writes one. So `SimplifiedModelSpace.from_model` is taught here to make a
`SimplifiedWidthSpace` of a width space, which writes it; it makes what it always did of every other model space. And the
axes that `NasExperiment` announces to the web UI, a tick for each choice, are those of the summary.
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

_MOST_BYTES = int(os.getenv('PICKLE_SIZE_LIMIT', 64 * 1024))  # what NNI sends to a trial at most, pickled
_kinds: list[type[BaseModelSpace]] = []


class SimplifiedWidthSpace(SimplifiedModelSpace):
    """A width space, or a network of it, as NNI sends it to trials: what makes the model, the widths, their summary.

    Made by ``SimplifiedModelSpace.from_model(space, evaluator)``.

    Attributes
    ----------
    mutation_summary
        The widths and the cost of a frozen network (see `web_ui_summary.py`), which the web UI shows; empty for
        a space that is not frozen.
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
        """Simplify a `WidthSpace`, which is not kept alive."""
        simplified = cls(model_space, model_space.simplify(), evaluator)
        simplified._live = weakref.ref(model_space)
        return simplified

    @property
    def width_space(self) -> Any:
        """The live `WidthSpace`; None in another process, once it is gone, and in a frozen network."""
        return None if self._live is None else self._live()

    def freeze(self, sample: dict[str, Any]) -> SimplifiedWidthSpace:
        """Choose a network: ``{label: channels}``, with choices of the evaluator if it has any."""
        frozen: SimplifiedWidthSpace = super().freeze(sample)
        frozen.mutation_summary = self.summarize(sample)
        return frozen

    def summarize(self, sample: dict[str, Any]) -> dict[str, str | int | float]:
        """Return the summary of a sample; empty where the live space is not at hand."""
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
                'A live model (or an argument as large) cannot be sent to trials: they make the model themselves. Give '
                'WidthMutator().mutate what makes it, a class or a function and its arguments; or, to keep its weights, '
                'nni_cafenet.factory_of(model, path). nni_cafenet.check_serializable(space, evaluator) asks beforehand.'
            ) from error
        return {**dumped, 'mutation_summary': self.mutation_summary} if self.mutation_summary else dumped

    @classmethod
    def _load(cls, **attrs: Any) -> SimplifiedWidthSpace:
        loaded: SimplifiedWidthSpace = super()._load(**attrs)
        loaded.mutation_summary = dict(attrs.get('mutation_summary', {}))
        return loaded


def simplify_with_summary(kind: type[BaseModelSpace]) -> None:
    """Have NNI make a `SimplifiedWidthSpace` of model spaces of a class, and announce the axes of its summary."""
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
