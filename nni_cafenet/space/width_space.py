"""The space of widths of a model, as an NNI model space."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from nni.mutable import Categorical, frozen_context
from nni.nas.nn.pytorch import ModelSpace
from numpy.typing import NDArray
from torch import Tensor, nn

from ..analysis import analyze_model, bare_model, fill_lazy_layers, with_known_batch
from ..graph import ChannelGraph, ExampleInput, LayerPattern
from ..nni_compat import pickle_argument, takes_pickled
from ..slicing import ActiveModel, Selection
from ..slim import PathLike, fit_initialization, save_slim, slim_model
from ..utils import check_flag, check_instance, check_number, check_whole_number
from .bins import BinnedGroup, Bins, FlopsSensitiveBins, binned
from .checks import check_array, check_channel_sets, check_widths
from .oneshot import OneShotWidths, prepare_one_shot
from .ratios import KeptShares, Ratio
from .trial_format import simplify_with_summary

__all__ = ['ChannelSets', 'WidthSpace', 'Widths']

Array = NDArray[np.int64]
Widths = Mapping[str, int]
"""``{label: channels}``: the width of every channel group."""
ChannelSets = Mapping[str, Tensor]
"""``{label: ascending int64 tensor of channel indices}``."""

_logger = logging.getLogger(__name__)


class WidthSpace(ModelSpace):
    """All the networks that a model becomes when its channel groups get narrower.

    It holds the model and has its parameters, buffers and children, under their own names: ``space.state_dict()`` is
    the model's. Calling it calls the model, on the channel sets that `activate` selected. For NNI it is a model space
    with one ``Categorical`` a channel group.

    Parameters
    ----------
    model
        The model, or a factory that makes it (needed where a space travels to another process, and for untrained slim
        models with the initialization of the model's own constructor). ``torch.compile`` and data parallelism are taken
        off, lazy layers are filled by one call. On the meta device the space has exact costs and makes slim models of
        that device; values at other widths are checked with random weights, up to 1 GiB.
    args, kwargs
        Arguments of the factory.
    example_input
        What the model is called with: a shape such as ``(1, 3, 224, 224)``, a tensor, a tuple of positional arguments or
        a dict of keyword arguments. Dimension 0 is the batch, unless forwards show that it is not (see `ExampleInput`,
        which also takes ``batch_dim``).
    bins
        The rule for bins; default `FlopsSensitiveBins`.
    include, exclude
        Layers whose output widths may, or may not, change: names, names of parts, ends of either (``'conv1'``), shell
        patterns, compiled regular expressions or module classes. Default: all may.
    min_ratio
        Smallest width of a group as a share of its full width; 0: one bin. One number for all groups, or
        ``{pattern: number}`` with patterns as in ``include``: a group is named by each layer that makes its channels, of
        several numbers the largest counts, and 0.1 where none does.
    max_ratio
        Largest width of a group as a share of its full width, in the same two forms; of several numbers the smallest
        counts, and 1 where none does. Below 1 the full network is not among the networks of the space.
    divisor
        Widths are multiples of it in groups whose full width is one.
    verify
        Hold the analysis against real forwards at random widths (recommended).

    Attributes
    ----------
    full_model
        The model. Its tensors are those of the space.
    graph
        The `ChannelGraph`: ``graph.groups`` and ``graph.fixed`` print as tables.
    groups
        The `BinnedGroup` of each channel group, with the widths it may have.

    Raises
    ------
    nni_cafenet.errors.TraceError
        If the model rejects the example input, or cannot be exported.
    ValueError
        If no channel group can change, or an option is out of range.
    TypeError
        If the model is no Python module that could run at other widths (TorchScript, an exported or quantized model).
    """

    full_model: nn.Module
    graph: ChannelGraph
    groups: tuple[BinnedGroup, ...]

    @takes_pickled
    def __init__(
        self,
        model: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        example_input: Any,
        bins: Bins | None = None,
        include: Sequence[LayerPattern] | None = None,
        exclude: Sequence[LayerPattern] | None = None,
        min_ratio: Ratio = 0.1,
        max_ratio: Ratio = 1.0,
        divisor: int = 1,
        verify: bool = True,
    ) -> None:
        super().__init__()
        if bins is not None:
            check_instance('bins', bins, Bins, 'FlopsSensitiveBins(min_bin=1, max_bin=32)')
        divisor, verify = check_whole_number('divisor', divisor, 1), check_flag('verify', verify)
        full_model = _instance(model, args, kwargs)
        self._example = ExampleInput.of(example_input, full_model)
        fill_lazy_layers(full_model, self._example)
        self._example = with_known_batch(self._example, full_model)
        live = isinstance(model, nn.Module) or getattr(model, 'makes_trained_models', False)
        self._make = None if live else lambda: self._made_anew(model, args, kwargs)
        self._adopt(full_model)
        shares = KeptShares(full_model, min_ratio, max_ratio)
        self.graph = analyze_model(full_model, self._example, include=include, exclude=exclude, check=verify)
        bins = bins or FlopsSensitiveBins()
        self.groups = tuple(binned(self.graph.groups, bins, shares.of(self.graph.groups), divisor))
        self._active_model = ActiveModel(full_model, self.graph)
        self._active: Selection | None = None
        self._is_prepared = False
        if '__arch__' in (frozen_context.current() or {}):
            return  # made by create_fixed_module, only to be slimmed
        for group in self.groups:
            self.add_mutable(Categorical(list(group.choices), default=group.choices[-1], label=group.label))
        _logger.info('%s', self.describe())

    def save_init_arguments(self, *args: Any, **kwargs: Any) -> None:
        """Remember the arguments in a form in which they reach a trial unchanged (NNI calls this)."""
        super().save_init_arguments(
            *map(pickle_argument, args), **{name: pickle_argument(value) for name, value in kwargs.items()}
        )

    @classmethod
    def create_fixed_module(cls, sample: Widths, model: Any, *rest: Any, **options: Any) -> nn.Module:  # type: ignore[override]
        """Make the slim model of NNI's sample without keeping the space (NNI calls this where trials are rebuilt)."""
        with frozen_context({'__arch__': False}):  # inside NNI's model_context: make the space, not the model
            return cls(model, *rest, **options).freeze(sample)

    def extra_oneshot_hooks(self, strategy: Any) -> list[Any]:
        """Become the supernet of NNI's own one-shot strategies (they call this); layers stay as they are."""
        prepare_one_shot(strategy)
        self.__class__ = OneShotWidthSpace
        return []

    def _made_anew(self, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> nn.Module:
        made = _instance(model, args, kwargs)
        fill_lazy_layers(made, self._example)
        return made

    def _adopt(self, model: nn.Module) -> None:
        """Share the dictionaries of the model, so that its tensors and children are those of the space."""
        self.__dict__['full_model'] = model
        self.__dict__['training'] = model.training
        for name in ('_parameters', '_buffers', '_modules', '_non_persistent_buffers_set'):
            self.__dict__[name] = model.__dict__[name]

    # --- what the space is ------------------------------------------------------------------------

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the channel groups: the columns of arrays of widths."""
        return self.graph.labels

    @property
    def example_input(self) -> ExampleInput:
        """What the model is called with."""
        return self._example

    @property
    def choices(self) -> dict[str, tuple[int, ...]]:
        """``{label: widths}``, ascending."""
        return {group.label: group.choices for group in self.groups}

    @property
    def full_widths(self) -> dict[str, int]:
        """The full width of every group: that of the model, whether or not it may be chosen."""
        return {group.label: group.full for group in self.groups}

    @property
    def smallest_widths(self) -> dict[str, int]:
        """The smallest width of every group."""
        return {group.label: group.choices[0] for group in self.groups}

    def uniform_widths(self, ratio: float) -> dict[str, int]:
        """Scale every group alike, to the allowed width that is nearest to ``ratio`` times its full width."""
        ratio = check_number('ratio', ratio, 0, 1)

        def nearest(group: BinnedGroup) -> int:
            return min(group.choices, key=lambda width: abs(width - ratio * group.full))

        return {group.label: nearest(group) for group in self.groups}

    def uniform_within(self, macs: int) -> dict[str, int]:
        """Scale every group alike, as wide as some MACs allow: the plain way to a smaller network.

        Widths are the full ones times one ratio, rounded to whole channels (1 or more); bins play no part. What is left
        of the MACs then goes to the groups in turn, a channel each, so that the comparison is at equal cost.

        Raises
        ------
        ValueError
            If even one channel a group costs more.
        """
        macs = check_whole_number('macs', macs, 1)
        full = self.graph.full_widths
        scaled = np.maximum(np.rint(np.linspace(1, 0, 2001)[:, None] * full), 1).astype(np.int64)
        fits = np.flatnonzero(self.macs(scaled) <= macs)
        if len(fits) == 0:
            raise ValueError(
                f'macs={macs} is below the {int(self.macs(scaled[-1:])[0]):,} MACs of one channel a group.'
            )
        widths = scaled[fits[0]]
        for index in range(len(full)):
            wider = widths + (np.arange(len(full)) == index)
            if widths[index] < full[index] and self.macs(wider[None])[0] <= macs:
                widths = wider
        return self.to_widths(widths.tolist())

    def describe(self) -> str:
        """Return the size of the space before and after binning, and the cost of its largest network."""
        before = sum(math.log10(group.full) for group in self.groups)
        after = sum(math.log10(len(group.choices)) for group in self.groups)
        bins = sum(group.bins for group in self.groups)
        return (
            f'{len(self.groups)} channel groups, {bins} bins: 10^{after:.1f} widths (10^{before:.1f} without bins); '
            f'full network {self.macs(self.full_widths):,} MACs, {self.params(self.full_widths):,} parameters'
        )

    # --- cost -------------------------------------------------------------------------------------

    def macs(self, widths: Widths | Array) -> Any:
        """Multiply-accumulates of one sample: convolution, linear and matrix products, as ``FlopCounterMode / 2``.

        Parameters
        ----------
        widths
            ``{label: channels}``, or an integer array of shape (N, groups) with a column a label.

        Returns
        -------
        An int for a dict, an int64 array of shape (N,) for an array.
        """
        return self._cost(self.graph.cost.macs_of, widths)

    def params(self, widths: Widths | Array) -> Any:
        """Numbers of parameters; as `macs`."""
        return self._cost(self.graph.cost.params_of, widths)

    def _cost(self, function: Any, widths: Widths | Array) -> Any:
        if isinstance(widths, Mapping):
            return int(function(self.to_array(widths))[0])
        return function(check_array(widths, self.full_widths))

    def to_array(self, widths: Widths) -> Array:
        """Return widths as an array of shape (1, groups)."""
        checked = check_widths(widths, self.full_widths)
        return np.array([[checked[label] for label in self.labels]], dtype=np.int64)

    def to_widths(self, row: Sequence[int]) -> dict[str, int]:
        """Return one row of an array of widths as a dict."""
        return dict(zip(self.labels, check_array([row], self.full_widths)[0].tolist()))

    # --- what runs --------------------------------------------------------------------------------

    @property
    def active(self) -> Selection | None:
        """What `activate` selected last; None before."""
        return self._active

    def activate(self, widths: Widths, channel_sets: ChannelSets | None = None) -> None:
        """Choose what a call of the space runs, until the next call of this method.

        Parameters
        ----------
        widths
            ``{label: channels}``, each from 1 to the full width.
        channel_sets
            The channels that stand for these widths; None: the leftmost ones.

        Raises
        ------
        ValueError
            If a label is unknown or missing, a width is out of range, or a channel set does not fit its width.
        RuntimeError
            Inside a block of `prepared`.
        """
        self._check_not_prepared()
        selection = self._selection(widths, channel_sets)
        self._active_model.select(selection)
        self._active = selection

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model on the active channel sets; all channels before the first `activate`."""
        if self._active is None or self._is_prepared:
            return self.full_model(*args, **kwargs)
        return self._active_model.call(self._active, args, kwargs, training=self.training)

    @contextlib.contextmanager
    def prepared(self) -> Iterator[Mapping[str, Tensor]]:
        """Slice the active channel sets once for many calls, none of which changes the supernet.

        For forwards without gradients: inside the block the model stands on copies, and what it writes into buffers
        (running statistics) stays in the copies. The block gets ``{name: what now stands in the model}``.

        Raises
        ------
        RuntimeError
            Inside another such block.
        """
        self._check_not_prepared()
        with self._active_model.prepared(self._active or self._selection(self.full_widths, None)) as tensors:
            self._is_prepared = True
            try:
                yield tensors
            finally:
                self._is_prepared = False

    def _check_not_prepared(self) -> None:
        if self._is_prepared:
            raise RuntimeError(
                'The space is prepared for one choice of channel sets; leave the block of prepared() first.'
            )

    def train(self, mode: bool = True) -> WidthSpace:
        """Set the mode of the model."""
        self.training = mode
        self.full_model.train(
            mode
        )  # not the children one by one: the user's own train() may keep some in evaluation mode
        return self

    # --- slim models ------------------------------------------------------------------------------

    def slim(self, widths: Widths, channel_sets: ChannelSets | None = None, *, weights: bool = True) -> nn.Module:
        """Return the really smaller model of some widths: plain modules of the model's own classes.

        Parameters
        ----------
        widths
            ``{label: channels}``.
        channel_sets
            Which channels it inherits; None: the leftmost ones.
        weights
            True: inherit the weights. False: fresh weights for training from scratch, drawn by the model's own factory
            from torch's global generator and rescaled to the smaller fans; for a live model (no factory) by every
            module's ``reset_parameters``.
        """
        selection = self._selection(widths, channel_sets)
        if weights:
            return slim_model(self.full_model, selection)
        if self._make is None:
            fresh = slim_model(self.full_model, selection)
            for module in fresh.modules():
                reset = getattr(module, 'reset_parameters', None)
                if callable(reset):
                    reset()
            return fresh
        full = self._make()
        fresh = slim_model(full, selection)
        fit_initialization(full, fresh)
        return fresh

    def freeze(self, sample: Widths, channel_sets: ChannelSets | None = None) -> nn.Module:
        """Return the slim model of an NNI sample, with inherited weights (see `slim`); choices of others are ignored."""
        full = self.full_widths
        return self.slim({label: width for label, width in sample.items() if label in full}, channel_sets)

    def save_slim(self, path: PathLike, widths: Widths, channel_sets: ChannelSets | None = None) -> nn.Module:
        """Write the slim model of some widths into a folder (see `nni_cafenet.save_slim`), and return it."""
        slim = self.slim(widths, channel_sets)
        costs = {'macs': self.macs(widths), 'params': self.params(widths)}
        save_slim(slim, path, widths, example_input=self.example_input, **costs)
        return slim

    def _selection(self, widths: Widths, channel_sets: ChannelSets | None) -> Selection:
        checked = check_widths(widths, self.full_widths)
        sets = {} if channel_sets is None else check_channel_sets(channel_sets, checked, self.full_widths)
        return Selection(self.graph, {**checked, **sets})


class OneShotWidthSpace(WidthSpace, OneShotWidths):
    """A `WidthSpace` that NNI's one-shot strategies have taken for their supernet; else it is what it was."""

    resample = OneShotWidths.resample
    export = OneShotWidths.export

    def trace_copy(self) -> Any:
        """Return what makes the space anew elsewhere, as a plain `WidthSpace`."""
        traced = super().trace_copy()
        traced.trace_symbol = WidthSpace
        return traced


def _instance(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> nn.Module:
    if isinstance(model, ModelSpace):
        raise TypeError(f'model={type(model).__name__} is a model space already; give the model that it was made of.')
    if isinstance(model, torch.export.ExportedProgram):
        raise TypeError('model is an ExportedProgram, for one width. Give the module that was exported.')
    if isinstance(model, nn.Module):
        if args or kwargs:
            raise TypeError('A live model takes no further arguments; give a factory to pass arguments to it.')
        return bare_model(model)
    if not callable(model):
        raise TypeError(f'model={model!r} must be a torch.nn.Module or a factory that makes one.')
    made = model(*args, **dict(kwargs or {}))
    if not isinstance(made, nn.Module):
        raise TypeError(f'The factory {model!r} returned {type(made).__name__}, not a torch.nn.Module.')
    return bare_model(made)


simplify_with_summary(WidthSpace)
