"""The slim model without this package: the lines that load it, and the file that they need."""

from __future__ import annotations

from pathlib import Path

from .. import slim
from ..utils import write_text

__all__ = ['loading_lines', 'write_loader']

_LOADER = 'load_slim'


def loading_lines(
    model: str, *, imports: str | None = None, factory: str | None = None, folder: str = '.'
) -> tuple[str, ...]:
    r"""
    Return lines of Python that load the slim model of a folder without this package.

    They need ``load_slim.py`` (`write_loader`), torch and the model's own code. The weights are plain tensors that
    ``torch.load(..., weights_only=True)`` reads: the lines work under other releases of torch and on any device, and give
    a module of the model's own classes, which can be trained on.

    Parameters
    ----------
    model
        What the model is called, for a reader who has to make it.
    imports
        The line that imports what makes the full model, such as ``'from torchvision.models import resnet18'``.
    factory
        What makes it, called without arguments, or an expression for the full model itself: ``'resnet18'``,
        ``'resnet18(num_classes=10)'``. Without, the lines leave a place for it: a live model does not tell how it was made.
    folder
        Folder of ``widths.json`` and ``slim.pt``, as seen from that of the report.

    Examples
    --------
    >>> print('\n'.join(loading_lines('Net', imports='from nets import Net', factory='Net(classes=10)')))
    from nets import Net
    from load_slim import load_slim
    model = load_slim(Net(classes=10), '.')  # widths.json and slim.pt
    model.eval()
    """
    lines = [] if imports is None else [imports]
    lines.append(f'from {_LOADER} import load_slim')
    if factory is None:
        lines.append(f'full = ...  # {" ".join(model.split())}, made by your own code as it was before it was pruned')
    return (*lines, f'model = load_slim({factory or "full"}, {folder!r})  # widths.json and slim.pt', 'model.eval()')


def write_loader(folder: str | Path) -> None:
    """Write ``load_slim.py`` into a folder: the function `nni_cafenet.load_slim`, in a file that needs torch alone."""
    source = Path(next(iter(slim.__path__))) / 'files.py'
    write_text(Path(folder) / f'{_LOADER}.py', source.read_text(encoding='utf-8'))
