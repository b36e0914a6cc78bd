"""Kill small runs at every k-th file operation, resume them, and compare: ``python tools/kill_campaign.py --help``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch: processes are forked, which threads would not survive

from campaign.options import parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign, or what is left of it; return the exit status."""
    options = parsed(arguments)
    warnings.filterwarnings('ignore')
    import torch

    from campaign.campaign import Campaign, tables

    torch.set_num_threads(1)
    campaign = Campaign(options)
    try:
        campaign.run()
    except KeyboardInterrupt:
        print(f'\nInterrupted. The same command does the rest. So far: {options.output}', file=sys.stderr)
        return 130
    print(tables(campaign.records))
    return 1 if campaign.failures else 0


if __name__ == '__main__':
    sys.exit(main())
