"""From a user's model to the bare module that is analyzed and run.

Wrappers that only change how a model runs are taken off: compiled code and the replicas of data parallelism are made for
one width. Whatever no longer is the model's own code is refused, with what to give instead.
"""

from __future__ import annotations

import logging

import torch
from torch import fx, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ..errors import TraceError
from ..graph import ExampleInput
from ..slicing import using_mode
from ..utils import pass_on

__all__ = ['bare_model', 'fill_lazy_layers']

_logger = logging.getLogger(__name__)

_QUANTISED = ('torch.ao.nn.quantized', 'torch.ao.nn.intrinsic.quantized', 'torch.ao.nn.sparse.quantized')


def bare_model(model: nn.Module) -> nn.Module:
    """Take wrappers off a model.

    ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel`` are taken off, of the model and, in place, of its
    parts, with a note to the log; names of parameters are then those of the bare model.

    Parameters
    ----------
    model
        A module.

    Raises
    ------
    TypeError
        If the module has no Python code of its own that could run at other widths: TorchScript, an exported program, a
        quantized model, a container without ``forward``.
    ValueError
        If its parameters were made in ``torch.inference_mode``, or one of NNI's compressors has wrapped its layers.
    """
    bare = _unwrapped(model)
    if bare is not model:
        _logger.warning(
            'The model is taken out of its %s: wrap the models that come out of the space.', type(model).__name__
        )
    for name, part in list(bare.named_modules()):
        for child, module in list(part._modules.items()) if not isinstance(part, torch.jit.ScriptModule) else ():
            inner = None if module is None else _unwrapped(module)
            if inner is not module:
                path = f'{name}.{child}' if name else child
                _logger.warning('The part %s of the model is taken out of its %s.', path, type(module).__name__)
                part._modules[child] = inner
    compiled = [module for module in bare.modules() if getattr(module, '_compiled_call_impl', None) is not None]
    for module in compiled:
        module._compiled_call_impl = None
    if compiled:
        _logger.warning('model.compile() is undone: it would compile anew for every width. Compile the slim models.')
    _refuse_other_code(bare)
    wrapped = next((name for name, module in bare.named_modules() if _is_nni_wrapper(module)), None)
    if wrapped is not None:
        raise ValueError(
            f"model: the layer {wrapped.rpartition('.')[0]!r} is wrapped by one of NNI's pruners or quantizers. Call its "
            'unwrap_model() first.'
        )
    tensors = [tensor for tensor in (*bare.parameters(), *bare.buffers()) if not is_lazy(tensor)]
    if any(tensor.is_inference() for tensor in tensors) and not torch.is_inference_mode_enabled():
        raise ValueError(
            f'model: the parameters of {type(bare).__name__} were made in torch.inference_mode, and can never be trained. '
            'Make and load the model outside of it.'
        )
    return bare


def fill_lazy_layers(model: nn.Module, example: ExampleInput) -> None:
    """Run a model once if it has layers that learn their sizes from their first input.

    Raises
    ------
    nni_cafenet.errors.TraceError
        If that fails, or leaves layers without sizes.
    """
    if not _lazy_layers(model):
        return
    inputs = example.fresh()
    problem = ''
    try:
        with torch.no_grad(), using_mode(model, training=False):
            model(*inputs.args, **inputs.kwargs)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        pass_on(error)
        problem = f': the model fails with {type(error).__name__}: {str(error).strip()[:300]}'
    left = _lazy_layers(model)
    if left or problem:
        raise TraceError(
            f'{type(model).__name__} has layers without sizes ({", ".join(left[:3]) or "until now"}) that a call with '
            f'example_input ({example.describe()}) does not fill{problem}. Call the model once on real inputs before.'
        )


def _lazy_layers(model: nn.Module) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params()  # type: ignore[misc]
    ]


def _unwrapped(model: nn.Module) -> nn.Module:
    while True:
        if isinstance(model, torch._dynamo.OptimizedModule):
            model = model._orig_mod
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def _refuse_other_code(model: nn.Module) -> None:
    for name, module in model.named_modules():
        which = f'its part {name!r}' if name else 'it'
        kind = type(module).__module__
        problem = ''
        if isinstance(module, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
            problem = f'{which} is TorchScript. Give the Python module that was scripted or traced'
        elif isinstance(module, fx.GraphModule) and not _has_modes(module):
            problem = f'{which} came out of torch.export, for one width. Give the module that was exported'
        elif kind.startswith(_QUANTISED) and '.reference' not in kind:
            problem = (
                f'{which} is quantized ({type(module).__name__}): its weights are whole numbers. Build the space from the '
                'float model, and quantize the slim model'
            )
        elif isinstance(module, torch.ao.quantization.ObserverBase) and not _observes_for_fake_quantizer(model, name):
            problem = (
                f'{which} observes values to quantize the model ({type(module).__name__}). Build the space from the model '
                'before torch.ao.quantization.prepare, and prepare the slim model'
            )
        elif not name and type(module).forward is nn.Module.forward and 'forward' not in vars(module):
            problem = 'it has no forward. Give a module that can be called on example_input'
        if problem:
            raise TypeError(f'model={type(model).__name__} cannot become a width space: {problem}.')


def _is_nni_wrapper(module: nn.Module) -> bool:
    return type(module).__name__ == 'ModuleWrapper' and type(module).__module__.startswith('nni.compression')


def _has_modes(module: fx.GraphModule) -> bool:
    """Whether a graph can be put into training and evaluation mode; torch.export fixes the mode of its graphs."""
    try:
        module.train(module.training)
    except NotImplementedError:
        return False
    return True


def _observes_for_fake_quantizer(model: nn.Module, name: str) -> bool:
    owner = model.get_submodule(name.rpartition('.')[0])
    return isinstance(owner, torch.ao.quantization.FakeQuantizeBase)
