"""One tool on one model in a process of its own, which may run out of time or memory without harm to the others."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from nni_cafenet.utils.files import write_json

MODULES = {'ours': 'nni_cafenet', 'torch-pruning': 'torch_pruning', 'modelopt': 'modelopt'}
"""The tools, and what of each is imported."""
_PATIENCE = 10  # a peer's process may take so many times its limit: with checks, and on a busy machine


BUILD_ONLY = -1


def installed_tools() -> list[str]:
    """Return the tools that can be imported here."""
    return [tool for tool, module in MODULES.items() if importlib.util.find_spec(module) is not None]


def row_of(tool: str, model: str, *, draws: int, seconds: float, memory: float) -> dict[str, Any]:
    """Start a process that measures one model, wait for it, and return its row.

    Parameters
    ----------
    tool
        A key of `MODULES`.
    model
        Name of the model.
    draws
        Random widths to check; `BUILD_ONLY`: of ours nothing is checked.
    seconds
        Time limit: of the whole process for ours, of the tool's own work, in processor time, for peers.
    memory
        Memory limit in GiB; 0 for none.
    """
    limit = seconds if tool == 'ours' else _PATIENCE * seconds
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder, 'row.json'), Path(folder, 'log')
        command = [sys.executable, '-m', 'zoo.process', tool, model, str(draws), str(seconds), str(memory), str(result)]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get('PYTHONPATH')]))
        with log.open('wb') as file:
            try:
                process = subprocess.run(
                    command,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    timeout=limit,
                    env={**os.environ, 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'PYTHONPATH': path},
                )
            except subprocess.TimeoutExpired:
                return {'tool': tool, 'model': model, 'verdict': 'out of time', 'why': f'more than {limit:g} s'}
        if result.exists():
            return json.loads(result.read_text())
        last = (log.read_text(errors='replace').strip().splitlines() or [''])[-1][:160]
        return {'tool': tool, 'model': model, 'verdict': 'failed', 'why': f'exit {process.returncode}: {last}'}


def measure(tool: str, model: str, *, draws: int, seconds: float, memory: float) -> dict[str, Any]:
    """Measure one model in this process; return its row, whatever happens."""
    import torch

    from .measures import OutOfTimeError, first_line, limit_memory
    from .models import cases

    logging.getLogger('nni').setLevel(logging.ERROR)
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # its products are seen by no counter
    limit_memory(memory)
    case = cases()[model]
    row: dict[str, Any] = {'tool': tool, 'model': model, 'family': case.family, 'shape': list(case.shape)}
    row.update(python=sys.version.split()[0], torch=torch.__version__)
    try:
        if tool == 'ours':
            from . import ours

            ours.warm_up()
            return {**row, **(ours.build(case)[1] if draws == BUILD_ONLY else ours.measure(case, draws))}
        if tool == 'torch-pruning':
            from . import with_torch_pruning as peer
        else:
            from . import with_modelopt as peer  # type: ignore[no-redef]
        peer.warm_up()
        return {**row, **peer.measure(case, seconds)}
    except OutOfTimeError as error:
        return {**row, 'verdict': 'out of time', 'why': str(error)}
    except Exception as error:  # noqa: BLE001 - one model must not end the run; its row says what happened
        return {**row, 'verdict': 'failed', 'why': first_line(error)}


if __name__ == '__main__':
    _tool, _model, _draws, _seconds, _memory, _result = sys.argv[1:]
    write_json(
        _result,
        measure(_tool, _model, draws=int(_draws), seconds=float(_seconds), memory=float(_memory)),
    )
