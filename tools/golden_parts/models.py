"""The models of the graphs: torchvision's, as the benchmarks make them, but small pictures; timm's and transformers'."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.append(str(Path(__file__).parents[2] / 'benchmarks'))

from zoo.models import Case, cases

__all__ = ['OTHERS', 'QUICK', 'make', 'missing', 'model_names']

QUICK = (
    'resnet18',
    'mobilenet_v3_small',
    'densenet121',
    'shufflenet_v2_x0_5',
    'squeezenet1_1',
    'lraspp_mobilenet_v3_large',
)
"""One of every kind that builds in a few seconds."""

_SIDE = {'classification': 64, 'segmentation': 64, 'detection': 128, 'video': 32}
_OWN_SIDE = ('vit_', 'maxvit', 'inception')  # they take pictures of one size, or none that are small

_TIMM = (
    'resnet10t',
    'resnet18d',
    'seresnet18',
    'skresnet18',
    'ecaresnet26t',
    'resnest14d',
    'res2net50_26w_4s',
    'dpn48b',
    'dla34',
    'hrnet_w18_small',
    'cspresnet50',
    'darknet53',
    'vovnet39a',
    'ghostnet_100',
    'mobilenetv4_conv_small',
    'efficientnet_lite0',
    'fbnetc_100',
    'repvgg_a0',
    'mobileone_s0',
    'fastvit_t8',
    'convnextv2_atto',
    'edgenext_xx_small',
    'poolformer_s12',
    'vit_tiny_patch16_224',
    'deit_tiny_patch16_224',
    'mixer_s32_224',
)
_SMALL = {
    'hidden_size': 32,
    'num_hidden_layers': 2,
    'num_attention_heads': 4,
    'intermediate_size': 48,
    'vocab_size': 50,
}
_PICTURE = {key: _SMALL[key] for key in list(_SMALL)[:4]} | {'image_size': 32, 'patch_size': 8}
_LLAMA = {**_SMALL, 'num_key_value_heads': 2, 'use_cache': False}
_TRANSFORMERS: dict[str, dict[str, Any]] = {
    'Bert': _SMALL,
    'Roberta': {**_SMALL, 'max_position_embeddings': 64},
    'Electra': {**_SMALL, 'embedding_size': 16},
    'Albert': {**_SMALL, 'embedding_size': 16},
    'DistilBert': {'dim': 32, 'n_layers': 2, 'n_heads': 4, 'hidden_dim': 48, 'vocab_size': 50},
    'GPT2': {'n_embd': 32, 'n_layer': 2, 'n_head': 4, 'vocab_size': 50, 'use_cache': False},
    'OPT': {'hidden_size': 32, 'num_hidden_layers': 2, 'num_attention_heads': 4, 'ffn_dim': 48, 'vocab_size': 50}
    | {'word_embed_proj_dim': 32, 'use_cache': False},
    'Llama': _LLAMA,
    'Mistral': _LLAMA,
    'Qwen2': _LLAMA,
    'ViT': _PICTURE,
    'DeiT': _PICTURE,
    'Dinov2': {key: value for key, value in _PICTURE.items() if key != 'intermediate_size'},
    'ConvNext': {'hidden_sizes': [8, 12, 16, 20], 'depths': [1, 1, 1, 1]},
}

OTHERS = {**{f'timm/{name}': name for name in _TIMM}, **{f'transformers/{name}': name for name in _TRANSFORMERS}}
"""Models of other packages."""


def model_names(asked: list[str]) -> list[str]:
    """Return the models that ``all``, ``quick`` and names mean, in order.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    torchvision = [name for name, case in cases().items() if case.family in _SIDE]
    sets = {'all': [*torchvision, *OTHERS], 'quick': list(QUICK)}
    names = [name for each in asked for name in sets.get(each, [each])]
    for name in names:
        if name not in sets['all']:
            raise ValueError(
                f'--models: {name!r} is no model of this script; give all, quick, or names of: {sets["all"]}'
            )
    return list(dict.fromkeys(names))


def missing(name: str) -> str | None:
    """Return why a model cannot be made here, or None."""
    package = name.partition('/')[0] if '/' in name else 'torchvision'
    return None if importlib.util.find_spec(package) else f'{package} is not installed'


def make(name: str) -> tuple[Callable[[], nn.Module], Any]:
    """Return the factory of a model with seeded weights, and what the model is called with."""
    if name.startswith('timm/'):
        side = 224 if '_224' in name or 'fastvit' in name else 64
        return (lambda: _timm(OTHERS[name])), (1, 3, side, side)
    if name.startswith('transformers/'):
        return _transformers(OTHERS[name])
    case = _small(cases()[name])
    return case.make, (1, *case.shape)


def _small(case: Case) -> Case:
    if case.name.startswith(_OWN_SIDE):
        return case
    side = _SIDE[case.family]
    return replace(case, shape=(*case.shape[:-2], side, side) if case.family != 'video' else (3, 4, side, side))


def _timm(name: str) -> nn.Module:
    import timm

    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=10).eval()


def _transformers(name: str) -> tuple[Callable[[], nn.Module], Any]:
    transformers = importlib.import_module('transformers')

    def factory() -> nn.Module:
        torch.manual_seed(0)
        configuration = getattr(transformers, f'{name}Config')(**_TRANSFORMERS[name])
        return getattr(transformers, f'{name}Model')(configuration).eval()

    if 'vocab_size' in _TRANSFORMERS[name]:
        return factory, {'input_ids': torch.arange(12).reshape(1, 12)}
    return factory, {'pixel_values': torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
