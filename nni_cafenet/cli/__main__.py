"""``python -m nni_cafenet.cli``: the same as ``nni-cafenet``."""

import sys

from . import main

sys.exit(main())
