"""``python -m nni_cafenet``: the command line, also for launchers such as torchrun."""

from .cli import main

if __name__ == '__main__':
    raise SystemExit(main())
