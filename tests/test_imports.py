"""What importing this package brings with it: nothing that a process would have to wait for without using it."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


@pytest.mark.sweep  # NNI takes long to import
def test_public_names_import_little_that_nni_has_not():
    loaded = loaded_by('from nni_cafenet import *', NNI)
    assert 'nni_cafenet' in loaded
    assert loaded.isdisjoint(NOT_OURS)
