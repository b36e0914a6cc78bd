"""The space of widths of a model, as an NNI model space."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from nni.mutable import Categorical, frozen_context
from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor, nn

from ..analysis import analyze_model, fill_lazy_layers, with_known_batch
from ..graph import ExampleInput, LayerPattern, Outputs
from ..nni_compat import pickle_argument, takes_pickled
from ..slicing import ActiveModel, Selection
from ..slim import PathLike, rescale_initialization, save_slim, slim_model
from ..utils import check_flag, check_instance
from .bins import Bins, FlopsSensitiveBins, bin_groups
from .checks import check_channel_sets
from .divisors import Divisor, Divisors, check_divisor
from .governed_groups import governed_groups, refuse_width_rules
from .model_argument import model_from, norms_held_in_eval
from .nni_agreement import check_networks
from .nni_choices import networks_of
from .nni_profiling import NniProfiled
from .oneshot import OneShotWidths, prepare_one_shot
from .ratios import Ratio, RatioBounds
from .trial_format import simplify_with_summary
from .width_choices import WidthChoices, Widths
from .width_labels import GroupLabels

__all__ = ['ChannelSets', 'WidthSpace', 'Widths']

ChannelSets = Mapping[str, Tensor]
"""``{label: ascending int64 tensor of channel indices}``."""

_logger = logging.getLogger(__name__)


class WidthSpace(WidthChoices, NniProfiled, ModelSpace):
    """All networks that a model becomes when its channel groups get narrower.

    It wraps the model and has its parameters, buffers and children under their own names: ``space.state_dict()`` is the
    model's. Calling it calls the model on the active channel sets. For NNI it is a model space with one ``Categorical`` per
    channel group.

    Parameters
    ----------
    model
        The model, or a factory that makes it (required to send the space to another process, and for untrained slim models
        with the initialization of the model's own constructor). ``torch.compile`` and data parallelism are unwrapped; lazy
        layers are materialized by one call. On the meta device the space has exact costs and makes slim models on that
        device; values at other widths are verified with random weights, up to 1 GiB.
    args, kwargs
        Arguments of the factory.
    example_input
        Input of the model: a shape such as ``(1, 3, 224, 224)``, a tensor, a tuple of positional arguments or a dict of
        keyword arguments. Dimension 0 is the batch, unless forwards show otherwise (see `ExampleInput`, which also takes
        ``batch_dim``).
    outputs
        The outputs that keep their sizes: a list of names or paths (``['logits']``, ``['past_key_values[0]']``), or a
        function that returns them, given the output. Default: all; of a Hugging Face ``ModelOutput`` with a loss or logits
        not its caches, hidden states and attention maps.
    bins
        The rule for bins; default `FlopsSensitiveBins`.
    include, exclude
        Layers whose output widths may, or must not, change: names of layers or of modules around them, suffixes of either
        (``'conv1'``), shell patterns, compiled regular expressions or module classes. Default: all may.
    min_ratio
        Smallest width of a group as a share of its full width; 0: one bin. One number for all groups, or
        ``{pattern: number}`` with patterns as in ``include``. A pattern applies to a group if it matches a layer that
        produces its channels; the largest of several numbers counts, and the default is 0.1.
    max_ratio
        Largest width of a group as a share of its full width, in the same two forms; the smallest of several numbers
        counts, and the default is 1. Below 1 the space does not contain the full network.
    divisor
        Widths are multiples of it in groups whose full width is a multiple: a number for all groups, or ``{layer:
        number}``, such as ``{nn.Conv2d: 8, 'head.*': 32}``, where the least common multiple of several numbers counts.
    verify
        Verify the analysis by real forwards at random widths (recommended).
    sample
        If the model is an NNI model space: the values of its choices, ``{label: value}``. Choices that it leaves open must
        be numbers of channels, or what they are computed from. They are searched under their own labels, with the values
        that the space lists. A sample of all choices makes an ordinary network, whose channel groups are searched.

    Attributes
    ----------
    full_model
        The model, which shares its tensors with the space.
    graph
        The `ChannelGraph`: ``graph.groups`` and ``graph.fixed`` print as tables.
    groups
        The `BinnedGroup` of each channel group, with its widths.
    held_norms
        Names of batch normalizations that `train` leaves in evaluation mode: those that were in it when a model in training
        mode was given.

    Raises
    ------
    nni_cafenet.errors.TraceError
        If the model rejects the example input, or cannot be exported.
    ValueError
        If no channel group can change, or an option is out of range.
    TypeError
        If the model cannot run at other widths (TorchScript, an exported or quantized model), or is an NNI model space with
        choices that are no widths.
    """

    full_model: nn.Module

    @takes_pickled
    def __init__(
        self,
        model: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        example_input: Any,
        outputs: Outputs = None,
        bins: Bins | None = None,
        include: Sequence[LayerPattern] | None = None,
        exclude: Sequence[LayerPattern] | None = None,
        min_ratio: Ratio = 0.1,
        max_ratio: Ratio = 1.0,
        divisor: Divisor = 1,
        verify: bool = True,
        sample: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if bins is not None:
            check_instance('bins', bins, Bins, 'FlopsSensitiveBins(min_bin=1, max_bin=32)')
        divisor, verify = check_divisor(divisor), check_flag('verify', verify)
        made = model_from(model, args, kwargs)
        networks = networks_of(made, sample)
        full_model = made if networks is None else networks.full()
        self.held_norms = norms_held_in_eval(full_model)
        self._example = ExampleInput.of(example_input, full_model)
        if outputs is not None:
            self._example = replace(self._example, outputs=outputs)
        fill_lazy_layers(full_model, self._example)
        self._example = with_known_batch(self._example, full_model)
        live = isinstance(model, nn.Module) or getattr(model, 'makes_trained_models', False)
        if networks is not None:
            self._make: Callable[[], nn.Module] | None = networks.full
        else:
            self._make = None if live else lambda: self._made_anew(model, args, kwargs)
        self._adopt(full_model)
        shares, divisors = RatioBounds(full_model, min_ratio, max_ratio), Divisors(full_model, divisor)
        constant = () if networks is None else networks.constant_groups()
        graph = analyze_model(
            full_model, self._example, include=include, exclude=exclude, constant=constant, check=verify
        )
        if networks is None or not networks.values:
            bounds, steps = shares.of(graph.groups), divisors.of(graph.groups)
            groups = bin_groups(graph.groups, bins or FlopsSensitiveBins(), bounds, steps)
            self.graph, self.groups, self._labels = graph, tuple(groups), GroupLabels(groups)
        else:
            refuse_width_rules(bins=bins, min_ratio=min_ratio, max_ratio=max_ratio, divisor=divisor)
            self.graph, self.groups, self._labels = governed_groups(graph, networks)
        self._active_model = ActiveModel(full_model, self.graph)
        self._active: Selection | None = None
        self._is_prepared = False
        if networks is not None and self.listed and verify:
            check_networks(networks, self)
        if '__arch__' in (frozen_context.current() or {}):
            return  # made by create_fixed_module, for its slim model only
        for label, widths in self.choices.items():
            self.add_mutable(Categorical(list(widths), default=widths[-1], label=label))
        _logger.info('%s', self.describe())

    def save_init_arguments(self, *args: Any, **kwargs: Any) -> None:
        """Save the arguments in a form that reaches a trial unchanged (NNI calls this)."""
        super().save_init_arguments(
            *map(pickle_argument, args), **{name: pickle_argument(value) for name, value in kwargs.items()}
        )

    @classmethod
    def create_fixed_module(cls, sample: Widths, /, *args: Any, **options: Any) -> nn.Module:  # type: ignore[override]
        """Make the slim model of NNI's sample without keeping the space (NNI calls this to rebuild trials)."""
        with frozen_context({'__arch__': False}):  # within NNI's model_context: make the space, not the model
            return cls(*args, **options).freeze(sample)

    def extra_oneshot_hooks(self, strategy: Any) -> list[Any]:
        """Become the supernet of NNI's own one-shot strategies, which call this; layers stay as they are."""
        prepare_one_shot(strategy)
        self.__class__ = OneShotWidthSpace
        return []

    def _made_anew(self, model: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> nn.Module:
        made = model_from(model, args, kwargs)
        fill_lazy_layers(made, self._example)
        return made

    def _adopt(self, model: nn.Module) -> None:
        """Share the dictionaries of the model, so that its tensors and children are those of the space."""
        self.__dict__['full_model'] = model
        self.__dict__['training'] = model.training
        for name in ('_parameters', '_buffers', '_modules', '_non_persistent_buffers_set'):
            self.__dict__[name] = model.__dict__[name]

    @property
    def example_input(self) -> ExampleInput:
        """The input of the model."""
        return self._example

    # --- what runs --------------------------------------------------------------------------------

    @property
    def active(self) -> Selection | None:
        """The active selection; None before the first `activate`."""
        return self._active

    def activate(self, widths: Widths, channel_sets: ChannelSets | None = None) -> None:
        """Choose the channel sets that calls of the space run on.

        Parameters
        ----------
        widths
            ``{label: channels}``, each from the least width at which the model runs (mostly 1) to the full width.
        channel_sets
            The channels of these widths; None: the leftmost ones.

        Raises
        ------
        ValueError
            If a label is unknown or missing, a width is out of range, or a channel set does not fit its width.
        RuntimeError
            Within a block of `prepared`.
        """
        self._check_not_prepared()
        selection = self._selection(widths, channel_sets)
        self._active_model.select(selection)
        self._active = selection

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model on the active channel sets; on all channels before the first `activate`."""
        if self._active is None or self._is_prepared:
            return self.full_model(*args, **kwargs)
        return self._active_model.call(self._active, args, kwargs, training=self.training)

    @contextlib.contextmanager
    def prepared(self) -> Iterator[Mapping[str, Tensor]]:
        """Slice the active channel sets once for many calls without gradients, none of which changes the supernet.

        Within the block the model has copies of its buffers, which keep what calls write to them (running statistics). The
        block gets ``{name: tensor}`` of the tensors in the model.

        Raises
        ------
        RuntimeError
            Within another such block.
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
        self.full_model.train(mode)  # not child by child: the user's own train() may keep some in evaluation mode
        for name in self.held_norms:
            self.full_model.get_submodule(name).eval()
        return self

    # --- slim models ------------------------------------------------------------------------------

    def slim(self, widths: Widths, channel_sets: ChannelSets | None = None, *, weights: bool = True) -> nn.Module:
        """Return the slim model of given widths: plain modules of the model's own classes.

        Parameters
        ----------
        widths
            ``{label: channels}``.
        channel_sets
            The channels it inherits; None: the leftmost ones.
        weights
            True: inherit the weights. False: fresh weights for training from scratch, drawn by the factory from torch's
            global generator and rescaled to the smaller fans; without a factory, by every module's ``reset_parameters``.
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
        rescale_initialization(full, fresh)
        return fresh

    def freeze(self, sample: Widths, channel_sets: ChannelSets | None = None) -> nn.Module:
        """Return the slim model of an NNI sample, with inherited weights (see `slim`); other choices are ignored."""
        full = self.full_widths
        return self.slim({label: width for label, width in sample.items() if label in full}, channel_sets)

    def save_slim(self, path: PathLike, widths: Widths, channel_sets: ChannelSets | None = None) -> nn.Module:
        """Write the slim model of given widths into a folder (see `nni_cafenet.save_slim`), and return it."""
        slim = self.slim(widths, channel_sets)
        costs = {'macs': self.macs(widths), 'params': self.params(widths)}
        save_slim(slim, path, widths, example_input=self.example_input, **costs)
        return slim

    def _selection(self, widths: Widths, channel_sets: ChannelSets | None) -> Selection:
        own = self._widths_of_groups(widths)
        full = {group.label: group.full for group in self.groups}
        sets = {} if channel_sets is None else check_channel_sets(channel_sets, own, full)
        return Selection(self.graph, {**own, **sets})


class OneShotWidthSpace(WidthSpace, OneShotWidths):
    """A `WidthSpace` as the supernet of NNI's one-shot strategies."""

    resample = OneShotWidths.resample
    export = OneShotWidths.export

    def trace_copy(self) -> Any:
        """Return the constructor record of the space, as that of a plain `WidthSpace`."""
        traced = super().trace_copy()
        traced.trace_symbol = WidthSpace
        return traced


simplify_with_summary(WidthSpace)
