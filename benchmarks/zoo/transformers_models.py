"""Models of Hugging Face transformers for pictures, sound and text: each kind in a small configuration, fresh weights."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .library import Arguments, Library, Shape

_TOKENS, _WORDS, _SIDE = 16, 200, 64
_PICTURE: Shape = (3, _SIDE, _SIDE)
_LABELS = {'num_labels': 10}
_SIZES = {'hidden_size': 64, 'num_hidden_layers': 2, 'num_attention_heads': 8, 'intermediate_size': 128}
_PATCHES = {**_SIZES, 'image_size': _SIDE, 'patch_size': 8}
_TEXT = {**_SIZES, 'vocab_size': _WORDS, 'max_position_embeddings': 64}
_CAUSAL = {**_TEXT, 'use_cache': False, 'pad_token_id': 0, 'bos_token_id': 1, 'eos_token_id': 2}
_GROUPED = {**_CAUSAL, 'num_key_value_heads': 4}
_STAGES = {'depths': [1, 1, 1, 1], 'hidden_sizes': [32, 64, 96, 128]}
_WINDOWS = {
    'image_size': _SIDE,
    'patch_size': 2,
    'embed_dim': 32,
    'depths': [2, 2],
    'num_heads': [4, 8],
    'window_size': 4,
}
_SPEECH = {**_SIZES, 'conv_dim': (32, 32, 32), 'conv_kernel': (10, 3, 3), 'conv_stride': (5, 2, 2), 'vocab_size': 32}
_WAVE = {**_SPEECH, 'num_feat_extract_layers': 3, 'num_conv_pos_embeddings': 16, 'num_conv_pos_embedding_groups': 4}
_BOTH_SIDES = {'encoder_layers': 2, 'decoder_layers': 2, 'encoder_attention_heads': 8, 'decoder_attention_heads': 8}
_FEED_FORWARD = {'encoder_ffn_dim': 128, 'decoder_ffn_dim': 128, 'd_model': 64}
_ENCODER_DECODER = {**_BOTH_SIDES, **_FEED_FORWARD, 'vocab_size': _WORDS, 'use_cache': False}
_QUERIES = {**_BOTH_SIDES, **_FEED_FORWARD, 'num_queries': 8, 'num_labels': 10}
_TIED = {'text_config': {**_TEXT, 'eos_token_id': 2}, 'vision_config': _PATCHES}


@dataclass(frozen=True)
class _Kind:
    """A model of transformers: its task's class, its configuration, what it is called with, and which outputs count."""

    model: str
    options: Mapping[str, Any]
    shape: Shape = (_TOKENS,)
    inputs: tuple[str, ...] = ('input_ids',)
    outputs: tuple[str, ...] | None = None
    configuration: str = ''
    parts: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Configurations inside of the configuration: the class and the options of each."""


def _vision(task: str, options: Mapping[str, Any], **rest: Any) -> _Kind:
    return _Kind(task, {**options, **_LABELS}, rest.pop('shape', _PICTURE), ('pixel_values',), **rest)


def _classifier(name: str, options: Mapping[str, Any], **rest: Any) -> _Kind:
    return _vision(f'{name}ForImageClassification', options, **rest)


_BACKBONE = {
    'backbone_config': (
        'ResNetConfig',
        {**_STAGES, 'embedding_size': 32, 'out_features': ['stage2', 'stage3', 'stage4']},
    )
}
_LAST_MAP = {'backbone_config': ('ResNetConfig', {**_STAGES, 'embedding_size': 32, 'out_features': ['stage4']})}
_DETECTOR = {'use_timm_backbone': False, 'use_pretrained_backbone': False, 'backbone': None}
_BOXES = ('logits', 'pred_boxes')

_KINDS = {
    'vit': _classifier('ViT', _PATCHES),
    'deit': _classifier('DeiT', _PATCHES),
    'beit': _classifier('Beit', {**_PATCHES, 'use_relative_position_bias': True}),
    'dinov2': _classifier('Dinov2', {**_PATCHES, 'mlp_ratio': 2}),
    'swin': _classifier('Swin', _WINDOWS),
    'swinv2': _classifier('Swinv2', _WINDOWS),
    'convnext': _classifier('ConvNext', _STAGES),
    'convnextv2': _classifier('ConvNextV2', _STAGES),
    'resnet': _classifier('ResNet', {**_STAGES, 'embedding_size': 32}),
    'regnet': _classifier('RegNet', {**_STAGES, 'embedding_size': 32, 'groups_width': 8}),
    'bit': _classifier('Bit', {**_STAGES, 'embedding_size': 32, 'hidden_sizes': [32, 64, 96, 128], 'num_groups': 4}),
    'mobilevit': _classifier(
        'MobileViT',
        {'image_size': _SIDE, 'hidden_sizes': [32, 48, 64], 'neck_hidden_sizes': [8, 16, 24, 32, 48, 64, 96]},
    ),
    'mobilenet_v2': _classifier('MobileNetV2', {'depth_multiplier': 0.5}),
    'efficientnet': _classifier(
        'EfficientNet', {'width_coefficient': 0.5, 'depth_coefficient': 0.5, 'hidden_dim': 640}
    ),
    'poolformer': _classifier('PoolFormer', _STAGES),
    'focalnet': _classifier(
        'FocalNet',
        {
            'image_size': _SIDE,
            'patch_size': 4,
            'embed_dim': 16,
            'depths': [1, 1],
            'focal_levels': [2, 2],
            'focal_windows': [3, 3],
        },
    ),
    'levit': _classifier(
        'Levit',
        {
            'image_size': _SIDE,
            'hidden_sizes': [32, 48, 64],
            'depths': [1, 1, 1],
            'num_attention_heads': [2, 3, 4],
            'key_dim': [8, 8, 8],
        },
    ),
    'pvt_v2': _classifier('PvtV2', {'image_size': _SIDE, **_STAGES, 'num_attention_heads': [1, 2, 3, 4]}),
    'cvt': _classifier('Cvt', {'embed_dim': [16, 32, 64], 'num_heads': [1, 2, 4], 'depth': [1, 2, 3]}),
    'hiera': _classifier(
        'Hiera',
        {
            'image_size': [_SIDE, _SIDE],
            'embed_dim': 16,
            'depths': [1, 1, 1],
            'num_heads': [1, 2, 4],
            'num_query_pool': 2,
        },
    ),
    'segformer': _vision(
        'SegformerForSemanticSegmentation', {**_STAGES, 'num_attention_heads': [1, 2, 3, 4], 'decoder_hidden_size': 32}
    ),
    'upernet': _vision(
        'UperNetForSemanticSegmentation',
        {'hidden_size': 32, 'auxiliary_in_channels': 96},
        parts={
            'backbone_config': ('ConvNextConfig', {**_STAGES, 'out_features': ['stage1', 'stage2', 'stage3', 'stage4']})
        },
    ),
    'dpt': _vision(
        'DPTForDepthEstimation',
        {
            **_SIZES,
            'num_hidden_layers': 4,
            'image_size': _SIDE,
            'patch_size': 8,
            'backbone_out_indices': [0, 1, 2, 3],
            'neck_hidden_sizes': [16, 32, 48, 64],
            'fusion_hidden_size': 32,
        },
    ),
    'depth_anything': _vision(
        'DepthAnythingForDepthEstimation',
        {
            'neck_hidden_sizes': [16, 32],
            'fusion_hidden_size': 16,
            'reassemble_factors': [2, 1],
            'reassemble_hidden_size': 64,
            'head_hidden_size': 16,
            'patch_size': 8,
        },
        parts={
            'backbone_config': (
                'Dinov2Config',
                {**_PATCHES, 'mlp_ratio': 2, 'out_features': ['stage1', 'stage2'], 'reshape_hidden_states': False},
            )
        },
    ),
    'yolos': _vision(
        'YolosForObjectDetection', {**_PATCHES, 'image_size': [_SIDE, _SIDE], 'num_detection_tokens': 8}, outputs=_BOXES
    ),
    'detr': _vision('DetrForObjectDetection', {**_QUERIES, **_DETECTOR}, outputs=_BOXES, parts=_LAST_MAP),
    'conditional_detr': _vision(
        'ConditionalDetrForObjectDetection', {**_QUERIES, **_DETECTOR}, outputs=_BOXES, parts=_LAST_MAP
    ),
    'deformable_detr': _vision(
        'DeformableDetrForObjectDetection', {**_QUERIES, **_DETECTOR}, outputs=_BOXES, parts=_BACKBONE
    ),
    'swin2sr': _Kind(
        'Swin2SRForImageSuperResolution',
        {**_WINDOWS, 'patch_size': 1, 'image_size': 16},
        (3, 16, 16),
        ('pixel_values',),
    ),
    'videomae': _vision(
        'VideoMAEForVideoClassification', {**_PATCHES, 'image_size': 32, 'num_frames': 4}, shape=(4, 3, 32, 32)
    ),
    'clip': _Kind('CLIPModel', _TIED, _PICTURE, ('pixel_values', 'input_ids'), ('logits_per_image',)),
    'siglip': _Kind('SiglipModel', _TIED, _PICTURE, ('pixel_values', 'input_ids'), ('logits_per_image',)),
    'whisper': _Kind(
        'WhisperForConditionalGeneration',
        {
            **_ENCODER_DECODER,
            'num_mel_bins': 20,
            'max_source_positions': 32,
            'max_target_positions': 32,
            'pad_token_id': 0,
            'bos_token_id': 1,
            'eos_token_id': 2,
            'decoder_start_token_id': 1,
        },
        (20, 64),
        ('input_features', 'decoder_input_ids'),
    ),
    'speech_to_text': _Kind(
        'Speech2TextForConditionalGeneration',
        {
            **_ENCODER_DECODER,
            'input_feat_per_channel': 20,
            'conv_channels': 32,
            'max_source_positions': 64,
            'max_target_positions': 32,
        },
        (64, 20),
        ('input_features', 'decoder_input_ids'),
    ),
    'moonshine': _Kind(
        'MoonshineForConditionalGeneration',
        {
            **{key: value for key, value in _CAUSAL.items() if 'num_' not in key},
            'encoder_num_hidden_layers': 2,
            'decoder_num_hidden_layers': 2,
            'encoder_num_attention_heads': 8,
            'decoder_num_attention_heads': 8,
            'decoder_start_token_id': 1,
        },
        (4000,),
        ('input_values', 'decoder_input_ids'),
    ),
    'wav2vec2': _Kind('Wav2Vec2ForCTC', _WAVE, (2000,), ('input_values',)),
    'hubert': _Kind('HubertForCTC', _WAVE, (2000,), ('input_values',)),
    'wavlm': _Kind('WavLMForCTC', _WAVE, (2000,), ('input_values',)),
    'ast': _Kind(
        'ASTForAudioClassification',
        {**_SIZES, **_LABELS, 'num_mel_bins': 32, 'max_length': 64, 'patch_size': 8},
        (64, 32),
        ('input_values',),
    ),
    'bert': _Kind('BertForSequenceClassification', _TEXT),
    'roberta': _Kind('RobertaForMaskedLM', {**_TEXT, 'pad_token_id': 0}),
    'electra': _Kind('ElectraForSequenceClassification', {**_TEXT, 'embedding_size': 32}),
    'distilbert': _Kind(
        'DistilBertForSequenceClassification',
        {'dim': 64, 'n_layers': 2, 'n_heads': 8, 'hidden_dim': 128, 'vocab_size': _WORDS},
    ),
    'albert': _Kind('AlbertForSequenceClassification', {**_TEXT, 'embedding_size': 32}),
    'deberta_v2': _Kind(
        'DebertaV2ForSequenceClassification',
        {**_TEXT, 'relative_attention': True, 'pos_att_type': ['p2c', 'c2p'], 'max_relative_positions': 16},
    ),
    'modernbert': _Kind(
        'ModernBertForSequenceClassification',
        {**_TEXT, 'pad_token_id': 0, 'bos_token_id': 1, 'eos_token_id': 2, 'cls_token_id': 1, 'sep_token_id': 2},
    ),
    'gpt2': _Kind(
        'GPT2LMHeadModel', {'n_embd': 64, 'n_layer': 2, 'n_head': 8, 'vocab_size': _WORDS, 'use_cache': False}
    ),
    'gpt_neox': _Kind('GPTNeoXForCausalLM', _CAUSAL),
    'opt': _Kind('OPTForCausalLM', {**_CAUSAL, 'ffn_dim': 128, 'word_embed_proj_dim': 64}),
    'bloom': _Kind(
        'BloomForCausalLM', {'hidden_size': 64, 'n_layer': 2, 'n_head': 8, 'vocab_size': _WORDS, 'use_cache': False}
    ),
    'falcon': _Kind('FalconForCausalLM', {**_CAUSAL, 'ffn_hidden_size': 128}),
    'phi': _Kind('PhiForCausalLM', _CAUSAL),
    'llama': _Kind('LlamaForCausalLM', _GROUPED),
    'mistral': _Kind('MistralForCausalLM', _GROUPED),
    'qwen2': _Kind('Qwen2ForCausalLM', _GROUPED),
    'qwen3': _Kind('Qwen3ForCausalLM', {**_GROUPED, 'head_dim': 8}),
    'gemma2': _Kind('Gemma2ForCausalLM', {**_GROUPED, 'head_dim': 8}),
    'phi3': _Kind('Phi3ForCausalLM', _GROUPED),
    'olmo2': _Kind('Olmo2ForCausalLM', _GROUPED),
    'mixtral': _Kind('MixtralForCausalLM', {**_GROUPED, 'num_local_experts': 4, 'experts_implementation': 'eager'}),
    'mamba': _Kind(
        'MambaForCausalLM', {'hidden_size': 64, 'num_hidden_layers': 2, 'vocab_size': _WORDS, 'use_cache': False}
    ),
    'mamba2': _Kind(
        'Mamba2ForCausalLM',
        {
            'hidden_size': 64,
            'num_hidden_layers': 2,
            'num_heads': 8,
            'head_dim': 16,
            'state_size': 16,
            'n_groups': 2,
            'chunk_size': 8,
            'vocab_size': _WORDS,
            'use_cache': False,
        },
    ),
    't5': _Kind(
        'T5ForConditionalGeneration',
        {
            'd_model': 64,
            'd_kv': 8,
            'd_ff': 128,
            'num_layers': 2,
            'num_heads': 8,
            'vocab_size': _WORDS,
            'use_cache': False,
        },
        inputs=('input_ids', 'decoder_input_ids'),
    ),
    'bart': _Kind(
        'BartForConditionalGeneration',
        {**_ENCODER_DECODER, 'max_position_embeddings': 64},
        inputs=('input_ids', 'decoder_input_ids'),
    ),
}


def _shapes() -> dict[str, Shape]:
    return {name: kind.shape for name, kind in _KINDS.items()}


def _make(name: str) -> nn.Module:
    transformers = importlib.import_module('transformers')
    kind = _KINDS[name]
    parts = {part: getattr(transformers, its_class)(**options) for part, (its_class, options) in kind.parts.items()}
    task = getattr(transformers, kind.model)
    return task(task.config_class(**kind.options, **parts))


def _arguments(name: str, shape: Shape, batch: int, dtype: torch.dtype) -> Arguments:
    generator = torch.Generator().manual_seed(0)
    found: dict[str, Any] = {}
    for part in _KINDS[name].inputs:
        if part.endswith('_ids'):
            found[part] = torch.randint(3, _WORDS, (batch, _TOKENS), generator=generator)
        else:
            found[part] = torch.randn((batch, *shape), generator=generator).to(dtype)
    return found


TRANSFORMERS = Library('transformers', _shapes, _make, _arguments, lambda name: _KINDS[name].outputs)
