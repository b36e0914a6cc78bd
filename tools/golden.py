"""Freeze what must stay the same to the bit while code moves, and compare: ``python tools/golden.py --help``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: sums over threads have another order

from golden_parts.options import parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Write hashes, or compare with those of a file; return the exit status."""
    options = parsed(arguments)
    warnings.filterwarnings('ignore')
    import torch

    from golden_parts.golden import compare, record

    torch.set_num_threads(1)
    try:
        if options.compare is None:
            record(options)
            return 0
        return 1 if compare(options) else 0
    except KeyboardInterrupt:
        print('\nInterrupted. The same command does the rest.', file=sys.stderr)
        return 130
    except ValueError as error:
        print(f'golden.py: {error}', file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
