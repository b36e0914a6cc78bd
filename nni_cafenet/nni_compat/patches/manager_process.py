"""NNI's manager is started guarded: it listens on loopback, checks access, and ends with its parent.

Fault in NNI: the web server of its manager, a Node program inside NNI's wheel, listens on all addresses, requires no
token, accepts requests of any web page and serves any file; and it survives when the main process is killed during the
start. It is started here with ``manager.js``, which patches it in memory before anything listens. If that does not
succeed, with another build of NNI, it does not start.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import nni.experiment.launcher as launcher
from nni.tools.nnictl.constants import NNI_HOME_DIR

from ...errors import UnprotectedManagerError
from .credentials import address, split

__all__ = ['start_managers_guarded']

SCRIPT = Path(__file__).with_name('manager.js')

_SETTINGS = 'NNI_CAFENET_MANAGER'
_REMEDY = (
    'Its web server is never started unprotected. If this is another build of NNI than 3.0, install that one '
    "(pip install nni==3.0); or run in this process, with NasExperimentConfig('sequential', 'raw', 'local')."
)


def start_managers_guarded() -> None:
    """Make NNI start its managers with these patches."""
    if getattr(launcher._start_rest_server, 'is_guarded', False):
        return
    check = launcher._check_rest_server
    started: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(nni_manager_args: Any, run_mode: Any) -> subprocess.Popen[bytes]:
        refusal = _folder_of_logs(nni_manager_args) / 'refusal.txt'
        process = _start(nni_manager_args, run_mode, refusal)
        started[:] = [(process, refusal)]
        return process

    @functools.wraps(check)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return check(*args, **kwargs)
        except Exception:
            for process, refusal in started:
                if process.poll() is not None and refusal.exists():
                    why = refusal.read_text(encoding='utf-8')
                    raise UnprotectedManagerError(f'The NNI manager does not start: {why}. {_REMEDY}') from None
            raise

    start.is_guarded = True  # type: ignore[attr-defined]
    launcher._start_rest_server, launcher._check_rest_server = start, checked


def _start(nni_manager_args: Any, run_mode: Any, refusal: Path) -> subprocess.Popen[bytes]:
    """Start a manager as NNI does, with ``manager.js``."""
    prefix, token = split(nni_manager_args.url_prefix)
    if token is None:
        raise UnprotectedManagerError(
            'The NNI manager was to be started without a token in url_prefix. Start experiments by their run, resume and '
            'view, as NNI does.'
        )
    folder = _node_folder()
    log = _folder_of_logs(nni_manager_args)
    _make_private(log.parent)
    log.mkdir(exist_ok=True)
    refusal.unlink(missing_ok=True)
    nni_manager_args.url_prefix = prefix or None  # all users can read the arguments of a process
    if nni_manager_args.tuner_command_channel is not None:
        channel = '/'.join(filter(None, ['ws://localhost:%d', prefix, 'tuner'])) % nni_manager_args.port
        nni_manager_args.tuner_command_channel = channel
    settings = {
        'token': token,
        'prefix': prefix,
        'address': address.get(),
        'port': nni_manager_args.port,
        'parent': None if run_mode.value == 'detach' else os.getpid(),
        'refusal': str(refusal),
    }
    command = [
        str(folder / ('node.exe' if sys.platform == 'win32' else 'node')),
        '--max-old-space-size=4096',
        '--trace-uncaught',
        '--require',
        str(SCRIPT),
        str(folder / 'main.js'),
        *nni_manager_args.to_command_line_args(),
    ]
    options: dict[str, Any] = {'cwd': folder, 'env': {**os.environ, _SETTINGS: json.dumps(settings)}}
    if sys.platform == 'win32':
        options['creationflags'] = subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options['preexec_fn'] = os.setpgrp  # as NNI does: Ctrl-C does not reach it
    if run_mode.value != 'detach':
        return subprocess.Popen(command, **options)
    with (log / 'nnictl_stdout.log').open('a') as out, (log / 'nnictl_stderr.log').open('a') as errors:
        for file in (out, errors):
            line = '-' * 80
            file.write(f'{line}\nExperiment {nni_manager_args.experiment_id} start: {datetime.now()}\n{line}\n')
            file.flush()
        return subprocess.Popen(command, stdout=out, stderr=errors, **options)


def _folder_of_logs(nni_manager_args: Any) -> Path:
    return Path(nni_manager_args.experiments_directory, nni_manager_args.experiment_id, 'log')


def _node_folder() -> Path:
    import nni_node

    folder = Path(next(iter(nni_node.__path__)))
    if not (folder / 'main.js').is_file():
        raise UnprotectedManagerError(f'The NNI manager does not start: {folder} has no main.js. {_REMEDY}')
    return folder


def _make_private(experiment: Path) -> None:
    """Make the folder of an experiment and NNI's list of experiments private to this user: both contain tokens."""
    experiment.mkdir(parents=True, exist_ok=True)
    listed = Path(NNI_HOME_DIR, '.experiment')
    listed.parent.mkdir(parents=True, exist_ok=True)
    if not listed.exists():
        listed.write_text('{}', encoding='utf-8')
    if os.name == 'posix':
        experiment.chmod(0o700)
        listed.chmod(0o600)
