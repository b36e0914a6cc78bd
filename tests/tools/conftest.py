"""Scripts of tools/ are not in the package: their folder is put where Python finds it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools'))
