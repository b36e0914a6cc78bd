"""Loading of trained weights into a model."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtraError, WeightsError, first_line, truncated
from .checkpoint_parts import Weights, weights_in, without_prefix

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ['find_weights', 'give_weights', 'put_weights', 'read_weights', 'torchvision_weights']

_SHOWN = 8


def find_weights(
    weights: str, *, torchvision_name: str | None = None, key: str | None = None, unpickle: bool = False
) -> Weights:
    """Return the tensors of trained weights by name; a WeightsError if they do not exist or cannot be read.

    ``weights`` is a file (see `read_weights`), or the name of torchvision's weights of the model, such as
    ``'IMAGENET1K_V1'`` or ``'DEFAULT'``, which are downloaded once and cached.
    """
    if torchvision_name is not None and not Path(weights).exists() and weights.isidentifier():
        return Weights(torchvision_weights(torchvision_name, weights))
    return read_weights(weights, key=key, unpickle=unpickle)


def read_weights(path: str, *, key: str | None = None, unpickle: bool = False) -> Weights:
    """Return the tensors of a file by name, on the CPU; no code in it is run, except with ``unpickle``.

    It is a ``state_dict`` that `torch.save` wrote, alone or under a ``key`` of a trainer's checkpoint (see `weights_in`);
    with ``unpickle`` also a whole model; or a ``.safetensors`` file, if that package is installed. Anything else is a
    WeightsError.
    """
    file = Path(path)
    if not file.is_file():
        what = 'is a folder' if file.is_dir() else 'is not there'
        raise WeightsError(f'weights {path!r}: the file {what}; check the path, it counts from {Path.cwd()}')
    found = _read_safetensors(file) if file.suffix == '.safetensors' else _read_torch(file, unpickle)
    weights = weights_in(found, path, key)
    if weights is None:
        what = f'a {type(found).__name__}'
        if isinstance(found, Mapping):
            what = f'a dict of {", ".join(map(repr, list(found)[:6])) or "nothing"}'
        raise WeightsError(
            f'weights {path!r}: holds {what}, not tensors by name; save them by torch.save(model.state_dict(), {path!r})'
        )
    return weights


def torchvision_weights(model: str, name: str) -> dict[str, Tensor]:
    """Return torchvision's weights of a model, downloaded once with a progress bar.

    Raises WeightsError if there are none of this name, or they cannot be downloaded.
    """
    from torchvision import models

    known = models.get_model_weights(model)
    if name not in known.__members__:
        names = ', '.join([*known.__members__, 'DEFAULT'])
        raise WeightsError(f'weights {name!r}: no such file, and no weights of {model}; torchvision has {names}')
    try:
        state: dict[str, Tensor] = known[name].get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f'weights {name!r}: downloading {known[name].url} failed ({first_line(error)}); download it elsewhere, and '
            'give its file by --weights'
        ) from error
    return state


def give_weights(model: nn.Module, weights: Weights, name: str) -> list[str]:
    """Put weights into a model (see `put_weights`); return lines for the user: how they were read, what was left out."""
    return [note for note in (weights.note, put_weights(model, weights.state, name)) if note]


def put_weights(model: nn.Module, state: Mapping[str, Tensor], name: str) -> str:
    """Put tensors into a model, in place, if all of them fit; else WeightsError lists the keys, and nothing is changed.

    If none of the names is the model's, the tensors under one prefix are taken (see `without_prefix`). Returns a line for
    the user on what was left out; empty if nothing was.
    """
    own = model.state_dict()
    state, others = without_prefix(state, own, name)
    counted = [key for key in own if key.endswith('num_batches_tracked')]  # older files lack it, and it has no effect
    missing = [key for key in own if key not in state and key not in counted]
    unexpected = [key for key in state if key not in own]
    other = [
        f'{key} {tuple(state[key].shape)}, in the model {tuple(own[key].shape)}'
        for key in own
        if key in state and tuple(state[key].shape) != tuple(own[key].shape)
    ]
    if missing or unexpected or other:
        parts = [('other shapes', other), ('missing in the file', missing), ('only in the file', unexpected)]
        lists = '\n'.join(_listed(title, keys) for title, keys in parts if keys)
        raise WeightsError(
            f'weights {name!r}: do not fit {type(model).__name__}, of whose {len(own)} keys '
            f'{len(own) - len(missing) - len(other)} fit:\n{lists}\n{_remedy(other, missing, own)}'
        )
    model.load_state_dict(dict(state), strict=False)
    if not others:
        return ''
    more = f' and {len(others) - _SHOWN} more' if len(others) > _SHOWN else ''
    return f'left out, not of the model: {", ".join(others[:_SHOWN])}{more}'


def _read_torch(file: Path, unpickle: bool) -> Any:
    import torch

    if not zipfile.is_zipfile(file) and _first_byte(file) != b'\x80':
        raise WeightsError(f'weights {str(file)!r}: is damaged, or not a file of torch.save; copy it again')
    try:
        return torch.load(file, map_location='cpu', weights_only=not unpickle)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f'weights {str(file)!r}: has more than tensors{_objects_in(error)}, and reading it runs code that the file '
            f'names; if you trust its source, add --unpickle; else save only the tensors, where the model is trained, and '
            f'give that file by --weights: torch.save(model.state_dict(), {str(file)!r})'
        ) from error
    except (AttributeError, ImportError) as error:
        raise WeightsError(
            f'weights {str(file)!r}: needs code that is not here ({first_line(error)}); install it, or start in the folder '
            'where it is'
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f'weights {str(file)!r}: is damaged, or not a file of torch.save ({truncated(first_line(error), 120)}); '
            'copy it again'
        ) from error


def _objects_in(error: BaseException) -> str:
    """Return the class that torch refused to load, from its message."""
    found = re.search(r'GLOBAL ([\w.]+)', str(error))
    return f' (an object of {found[1]}, such as a whole model)' if found else ', such as a whole model'


def _read_safetensors(file: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtraError(
            f"weights {str(file)!r}: needs a package: pip install 'nni-cafenet[safetensors]'"
        ) from error
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f'weights {str(file)!r}: is damaged ({first_line(error)}); copy it again') from error


def _listed(title: str, keys: list[str]) -> str:
    more = f'\n    and {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''
    return f'  {title} ({len(keys)}):\n    ' + '\n    '.join(keys[:_SHOWN]) + more


def _remedy(other: list[str], missing: list[str], own: Iterable[str]) -> str:
    last = [key.rpartition('.')[0] for key in own][-1:]
    if not missing and other and all(text.startswith(tuple(last)) for text in other):
        return 'Only the last layer differs: give the number of classes of the weights by --classes.'
    return 'Give the model of these weights: --model, and its arguments by --model-args or --classes.'


def _first_byte(file: Path) -> bytes:
    with file.open('rb') as opened:
        return opened.read(1)
