"""The 3-D nets of MONAI, with few channels, on one small volume."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from .library import Library, Shape

_SIDE = 32
_VOLUME = (1, _SIDE, _SIDE, _SIDE)
_SMALL_VOLUME = (1, 16, 16, 16)
_BIG_VOLUME = (1, 64, 64, 64)
_SPATIAL: dict[str, Any] = {'spatial_dims': 3}
_MAPS: dict[str, Any] = {**_SPATIAL, 'in_channels': 1, 'out_channels': 2}
_STEPS: dict[str, Any] = {'channels': (16, 32, 64), 'strides': (2, 2)}
_DOWN: dict[str, Any] = {'channels': (16, 32, 64), 'strides': (2, 2, 2)}
_ATTENTION: dict[str, Any] = {'hidden_size': 48, 'mlp_dim': 96, 'num_heads': 4}
_PATCHES: dict[str, Any] = {'in_channels': 1, 'img_size': (_SIDE,) * 3, **_ATTENTION}
_REGISTRATION: dict[str, Any] = {**_SPATIAL, 'in_channels': 1, 'num_channel_initial': 8}
_KERNELS: dict[str, Any] = {'kernel_size': [3, 3, 3], 'strides': [1, 2, 2], 'upsample_kernel_size': [2, 2]}
_BOTTLENECKS: dict[str, Any] = {'block': 'bottleneck', 'layers': [1, 1, 1, 1], 'block_inplanes': [16, 32, 64, 128]}
_SQUEEZE: dict[str, Any] = {'layers': (1, 1, 1, 1), 'inplanes': 16, 'reduction': 4, 'num_classes': 3}

_NETS: dict[str, tuple[Shape, dict[str, Any]]] = {
    'AttentionUnet': (_VOLUME, {**_MAPS, **_STEPS}),
    'AutoEncoder': (_VOLUME, {**_MAPS, **_DOWN}),
    'AutoencoderKL': (
        _VOLUME,
        {**_MAPS, 'channels': (16, 32), 'num_res_blocks': (1, 1), 'attention_levels': (False, True)}
        | {'latent_channels': 3, 'norm_num_groups': 8},
    ),
    'BasicUNet': (_VOLUME, {**_MAPS, 'features': (8, 8, 16, 32, 64, 8)}),
    'BasicUNetPlusPlus': (_VOLUME, {**_MAPS, 'features': (8, 8, 16, 32, 64, 8)}),
    'Classifier': (_VOLUME, {'in_shape': _VOLUME, 'classes': 3, **_STEPS}),
    'DAF3D': (_VOLUME, {'in_channels': 1, 'out_channels': 2}),
    'DenseNet121': (_VOLUME, {**_MAPS, 'init_features': 16, 'growth_rate': 8}),
    'DynUNet': (_VOLUME, {**_MAPS, **_KERNELS, 'filters': (8, 16, 32)}),
    'EfficientNetBN': (_VOLUME, {**_SPATIAL, 'model_name': 'efficientnet-b0', 'pretrained': False, 'in_channels': 1}),
    'FlexibleUNet': (_VOLUME, {**_MAPS, 'backbone': 'resnet10'}),
    'Generator': (
        (16,),
        {'latent_shape': (16,), 'start_shape': (32, 4, 4, 4), 'channels': (16, 8, 1), 'strides': (2, 2, 2)},
    ),
    'HighResNet': (_SMALL_VOLUME, _MAPS),
    'LocalNet': (_VOLUME, {**_REGISTRATION, 'extract_levels': (0, 1, 2)}),
    'MedNeXt': (_VOLUME, {**_MAPS, 'init_filters': 8, 'kernel_size': 3}),
    'PatchDiscriminator': (_VOLUME, {**_SPATIAL, 'in_channels': 1, 'channels': 16, 'num_layers_d': 2}),
    'RegUNet': (_VOLUME, {**_REGISTRATION, 'depth': 2}),
    'Regressor': (_VOLUME, {'in_shape': _VOLUME, 'out_shape': (3,), **_STEPS}),
    'ResNet': (_VOLUME, {**_SPATIAL, **_BOTTLENECKS, 'n_input_channels': 1, 'num_classes': 3}),
    'SEResNet50': (_VOLUME, {**_SPATIAL, 'in_channels': 1, **_SQUEEZE}),
    'SEResNext50': (_VOLUME, {**_SPATIAL, 'in_channels': 1, **_SQUEEZE}),
    'SegResNet': (_VOLUME, {**_MAPS, 'init_filters': 8}),
    'SegResNetDS': (_VOLUME, {**_MAPS, 'init_filters': 8, 'blocks_down': (1, 2, 2)}),
    'SegResNetVAE': (_VOLUME, {**_MAPS, 'init_filters': 8, 'input_image_size': (_SIDE,) * 3}),
    'SwinUNETR': (_BIG_VOLUME, {'in_channels': 1, 'out_channels': 2, 'feature_size': 12}),
    'UNETR': (_VOLUME, {**_PATCHES, 'out_channels': 2, 'feature_size': 8}),
    'UNet': (_VOLUME, {**_MAPS, **_STEPS, 'num_res_units': 2}),
    'VNet': (_VOLUME, {**_MAPS, 'in_channels': 1}),
    'VQVAE': (
        _VOLUME,
        {**_MAPS, 'channels': (16, 32), 'num_res_layers': 1, 'num_res_channels': (16, 32), 'num_embeddings': 16}
        | {'downsample_parameters': ((2, 4, 1, 1),) * 2, 'upsample_parameters': ((2, 4, 1, 1, 0),) * 2},
    ),
    'VarAutoEncoder': (_VOLUME, {**_SPATIAL, 'in_shape': _VOLUME, 'out_channels': 1, 'latent_size': 8, **_DOWN}),
    'ViT': (_VOLUME, {**_PATCHES, 'patch_size': (8,) * 3, 'num_layers': 2, 'classification': True}),
    'ViTAutoEnc': (_VOLUME, {**_PATCHES, 'patch_size': (4,) * 3, 'num_layers': 2}),
}


def _shapes() -> dict[str, Shape]:
    return {name: shape for name, (shape, _) in _NETS.items()}


def _make(name: str) -> nn.Module:
    _, options = _NETS[name]
    return getattr(importlib.import_module('monai.networks.nets'), name)(**options)


def _outputs(name: str) -> Any:
    """Return what counts: hidden states beside the output of a transformer or a discriminator may have any width."""
    if name == 'PatchDiscriminator':
        return lambda output: output[-1]
    return (lambda output: output[0]) if name.startswith('ViT') else None


MONAI = Library('monai', _shapes, _make, outputs=_outputs)
