"""``python -m campaign RUN FOLDER FAULT``: one run in a fresh process, for `children.run_child`."""

import json
import sys
from pathlib import Path

import torch

from .children import run_here
from .faults import Fault

if __name__ == '__main__':
    torch.set_num_threads(1)
    given = json.loads(sys.argv[3])
    run_here(sys.argv[1], Path(sys.argv[2]), None if given is None else Fault(**given))
