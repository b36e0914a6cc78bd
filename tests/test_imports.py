"""What importing this package brings with it: nothing that a process would have to wait for without using it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nni_cafenet

NOT_OURS = ('matplotlib', 'sklearn', 'onnx', 'onnxruntime', 'onnxscript', 'pandas', 'scipy', 'torchvision', 'IPython')
NNI = 'import torch, nni.nas.evaluator.pytorch, nni.nas.experiment, nni.nas.nn.pytorch, nni.nas.strategy\n'


def loaded_by(code: str, before: str = '') -> set[str]:
    """Top-level packages that code imports in a fresh process, beyond those that other code has imported before."""
    program = f'import sys\n{before}\nknown = set(sys.modules)\n{code}\nprint(*set(sys.modules) - known)'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], capture_output=True, text=True, check=True)
    return {name.partition('.')[0] for name in done.stdout.splitlines()[-1].split()}


def test_the_package_itself_imports_nothing_heavy():
    loaded = loaded_by('import nni_cafenet')
    assert 'nni_cafenet' in loaded
    assert loaded.isdisjoint({'torch', 'nni', 'numpy', 'pytorch_lightning', *NOT_OURS})


def test_nni_does_not_warn_of_what_is_newer_than_itself():
    code = """
import warnings
import nni_cafenet
warnings.simplefilter('error', UserWarning)
warnings.warn("<class 'new'> is found to be not a nn.Module, which is unexpected.", RuntimeWarning)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stderr == ''


@pytest.mark.sweep  # NNI takes long to import
def test_public_names_import_little_that_nni_has_not():
    loaded = loaded_by('from nni_cafenet import *', NNI)
    assert 'nni_cafenet' in loaded
    assert loaded.isdisjoint(NOT_OURS)


# --- NNI's one-shot strategies --------------------------------------------------------------------

PACKAGE = Path(nni_cafenet.__file__).parent
MODULES = sorted(
    '.'.join(path.relative_to(PACKAGE.parent).with_suffix('').parts).removesuffix('.__init__')
    for path in PACKAGE.rglob('*.py')
)
FIRST = """
import nni.nas.strategy as public, nni.nas.oneshot.pytorch.strategy as own
for name in 'DARTS ENAS GumbelDARTS Proxyless RandomOneShot'.split():
    assert getattr(public, name) is getattr(own, name), name
"""
EACH_FIRST = """
import importlib, os, sys
import numpy, pytorch_lightning, torch, torchvision
assert 'nni' not in sys.modules
for name in sys.argv[1:]:
    module, _, attribute = name.partition(':')
    if os.fork():
        assert os.wait()[1] == 0, name
    else:
        loaded = importlib.import_module(module)
        attribute and getattr(loaded, attribute)
        if 'nni' in sys.modules:
            exec(FIRST)
        os._exit(0)
"""


def imported(path: Path) -> list[str]:
    """Return the modules that the top level of a file imports, in its order."""
    names: list[str] = []
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module or '')
    return names


def test_nni_is_imported_in_the_order_that_keeps_its_one_shot_strategies():
    """NNI imports in a circle: whoever imports `nni.nas.oneshot` first loses the strategies in it."""
    users = 0
    for path in PACKAGE.rglob('*.py'):
        names = imported(path)
        first = next((at for at, name in enumerate(names) if name.startswith('nni.nas.oneshot')), None)
        if first is not None:
            users += 1
            assert 'nni.nas.strategy' in names[:first], path
    assert users


def test_nnis_one_shot_strategies_after_ours():
    subprocess.run([sys.executable, '-W', 'ignore', '-c', f'from nni_cafenet import CafeNet\n{FIRST}'], check=True)


@pytest.mark.sweep
@pytest.mark.timeout(3000)
def test_nnis_one_shot_strategies_after_any_first_import():
    names = MODULES + [f'nni_cafenet:{name}' for name in nni_cafenet.__all__]
    subprocess.run([sys.executable, '-W', 'ignore', '-c', f'FIRST = {FIRST!r}\n{EACH_FIRST}', *names], check=True)
