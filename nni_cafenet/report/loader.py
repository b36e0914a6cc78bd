"""Code that loads a slim model without this package."""

from __future__ import annotations

from pathlib import Path

from ..slim import joined_loader
from ..utils import write_text

__all__ = ['loading_lines', 'write_loader']

_LOADER = 'load_slim'


def loading_lines(
    model: str, *, imports: str | None = None, factory: str | None = None, folder: str = '.'
) -> tuple[str, ...]:
    r"""Return lines of Python that load a slim model without this package.

    They need ``load_slim.py`` (see `write_loader`), torch and the model's own code. The weights are plain tensors for
    ``torch.load(..., weights_only=True)``, so the lines work with other releases of torch and on any device. The result
    is a trainable module of the model's own classes.

    ``factory`` is called without arguments, or an expression for the full model: ``'resnet18(num_classes=10)'``; by
    default a placeholder, since a model object does not record its constructor call. ``folder`` is relative to that of
    the report.

    >>> print('\n'.join(loading_lines('Net', imports='from nets import Net', factory='Net(classes=10)')))
    from nets import Net
    from load_slim import load_slim
    model = load_slim(Net(classes=10), '.')  # widths.json and slim.pt
    model.eval()
    """
    lines = [] if imports is None else [imports]
    lines.append(f'from {_LOADER} import load_slim')
    if factory is None:
        lines.append(f'full = ...  # {" ".join(model.split())} as before pruning, created by your own code')
    return (*lines, f'model = load_slim({factory or "full"}, {folder!r})  # widths.json and slim.pt', 'model.eval()')


def write_loader(folder: str | Path) -> None:
    """Write ``load_slim.py``, a file with `nni_cafenet.load_slim` that needs torch only, into a folder."""
    write_text(Path(folder) / f'{_LOADER}.py', joined_loader())
