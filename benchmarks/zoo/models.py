"""The models of the benchmark, with what each is called with: torchvision's by family, other packages' where installed."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from .library import Arguments, samples
from .monai_models import MONAI
from .smp_models import SMP
from .timm_models import TIMM
from .transformers_models import TRANSFORMERS
from .ultralytics_models import ULTRALYTICS

LIBRARIES = {'timm': TIMM, 'ultralytics': ULTRALYTICS, 'transformers': TRANSFORMERS, 'smp': SMP, 'monai': MONAI}
"""Packages of models beside torchvision, by family."""

FAMILIES = ('classification', 'segmentation', 'detection', 'video', *LIBRARIES)
_DETECTORS = {
    'fasterrcnn_resnet50_fpn': 320,
    'fasterrcnn_mobilenet_v3_large_320_fpn': 320,
    'maskrcnn_resnet50_fpn': 320,
    'retinanet_resnet50_fpn': 320,
    'fcos_resnet50_fpn': 320,
    'ssdlite320_mobilenet_v3_large': 320,
    'ssd300_vgg16': 300,
}
_OWN_SIZE = {'inception_v3': 299}  # its auxiliary head has no output for smaller pictures
_CLASSES = {'classification': 1000, 'segmentation': 21, 'detection': 91, 'video': 400}
_OTHER_CLASSES = 1000


def scramble(model: nn.Module) -> None:
    """Give constant tensors random values: ones and zeros would hide a wrong slice."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point() and tensor.dim() and bool((tensor == tensor.flatten()[0]).all()):
                tensor.add_(torch.rand_like(tensor) * (0.5 if tensor.dim() == 1 else 0.02))


@dataclass(frozen=True)
class Case:
    """A model of the benchmark.

    Parameters
    ----------
    name
        Its name in torchvision; ``'timm:NAME'`` for timm's, and so for each of `LIBRARIES`.
    family
        One of `FAMILIES`.
    shape
        Shape of one sample: channels, (frames,) height and width in pixels; of text, the number of its tokens.
    """

    name: str
    family: str
    shape: tuple[int, ...]

    @property
    def classes(self) -> int:
        """How many classes its last layer tells apart."""
        return _CLASSES.get(self.family, _OTHER_CLASSES)

    @property
    def outputs(self) -> Any:
        """What counts of the model's outputs, as `WidthSpace` takes it."""
        return LIBRARIES[self.family].outputs(self._own_name) if self.family in LIBRARIES else None

    @property
    def _own_name(self) -> str:
        return self.name.removeprefix(f'{self.family}:')

    def make(self) -> nn.Module:
        """Return the model with fresh weights, the same at each call, in eval mode.

        No vector of it is constant, so that no wrong slice goes unseen. Detectors keep detections however unlikely: with
        fresh weights there would be none.
        """
        torch.manual_seed(0)
        if self.family in LIBRARIES:
            model = LIBRARIES[self.family].make(self._own_name)
            scramble(model)
            return model.eval()
        options: dict[str, Any] = {'init_weights': False} if self.name in ('googlenet', 'inception_v3') else {}
        if self.family in ('segmentation', 'detection'):
            options['weights_backbone'] = None
        if self.family == 'detection' and self.name.endswith('_fpn'):
            options.update(min_size=self.shape[-1], max_size=self.shape[-1])
        model = torchvision.models.get_model(self.name, weights=None, **options)
        scramble(model)
        for module in model.modules():
            if hasattr(module, 'score_thresh'):
                module.score_thresh = 0.0
        return model.eval()

    def arguments(self, *, training: bool = False, dtype: torch.dtype = torch.float32) -> Arguments:
        """Return what the model is called with: one sample, in training mode two; detectors also get two boxes a picture.

        Detectors are given a batch like all others, which they take apart themselves: dimension 0 is the batch.
        """
        batch = 2 if training else 1
        if self.family in LIBRARIES:
            return LIBRARIES[self.family].arguments(self._own_name, self.shape, batch, dtype)
        if self.family != 'detection':
            return samples(self.shape, batch, dtype)
        pictures = samples(self.shape, batch, dtype)[0].sigmoid()
        return (pictures, [_two_boxes(self.shape[-1], dtype) for _ in pictures]) if training else (pictures,)


def cases() -> dict[str, Case]:
    """Return all models of the benchmark by name, family by family."""
    names = torchvision.models.list_models
    found = [Case(name, 'classification', _picture(name)) for name in names(module=torchvision.models)]
    found += [Case(name, 'segmentation', _picture(name)) for name in names(module=torchvision.models.segmentation)]
    found += [Case(name, 'detection', (3, size, size)) for name, size in _DETECTORS.items()]
    found += [Case(name, 'video', (3, 8, 112, 112)) for name in ('r3d_18', 'mc3_18', 'r2plus1d_18')]
    for family, library in LIBRARIES.items():
        if importlib.util.find_spec(library.package) is not None:
            found += [Case(f'{family}:{name}', family, shape) for name, shape in library.shapes().items()]
    return {case.name: case for case in found}


@contextlib.contextmanager
def same_boxes(model: nn.Module) -> Iterator[None]:
    """Give a two-stage detector, and every copy and part of it, the boxes of its first call in each mode.

    How many proposals the box head sees, and how many detections the mask head, depends on values, and with it the MACs. A
    network of other widths has other values, but is compared at the same boxes. Where detections are replayed, their
    scores are all that the box head computed, so that it is compared too. Models without ``rpn`` are left alone.
    """
    if not hasattr(model, 'rpn'):
        yield
        return
    proposals: dict[bool, list[Tensor]] = {}
    detections: list[tuple[list[Tensor], list[Tensor]]] = []
    find = model.roi_heads.postprocess_detections

    def replay_proposals(module: nn.Module, inputs: Any, output: tuple[list[Tensor], Any]) -> tuple[list[Tensor], Any]:
        boxes, losses = output
        return copy.copy(proposals.setdefault(module.training, boxes)), losses

    def replay_detections(logits: Tensor, moves: Tensor, *rest: Any) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        if not detections:
            boxes, _, labels = find(logits, moves, *rest)
            detections.append((boxes, labels))
        boxes, labels = detections[0]
        computed = torch.cat([logits.flatten(), moves.flatten()])
        return list(boxes), [computed] * len(boxes), list(labels)

    handle = model.rpn.register_forward_hook(replay_proposals)
    model.roi_heads.postprocess_detections = replay_detections
    try:
        yield
    finally:
        handle.remove()
        del model.roi_heads.postprocess_detections


def _picture(name: str) -> tuple[int, int, int]:
    size = _OWN_SIZE.get(name, 224)
    return (3, size, size)


def _two_boxes(size: int, dtype: torch.dtype) -> dict[str, Tensor]:
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.6], [0.4, 0.3, 0.9, 0.8]], dtype=dtype) * size
    masks = torch.zeros(2, size, size, dtype=torch.uint8)
    for mask, box in zip(masks, boxes.long().tolist()):
        mask[box[1] : box[3], box[0] : box[2]] = 1
    return {'boxes': boxes, 'labels': torch.tensor([1, 2]), 'masks': masks}
