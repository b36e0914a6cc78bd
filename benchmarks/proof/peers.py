"""CafeNet's peers on the front-heavy network: other tools' widths, trained from scratch as those of the proof are."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tqdm import tqdm

from nni_cafenet.errors import first_line

from .case import SUPERNET, UNIFORM, Case
from .figures import mean_and_spread
from .peer_tools import PRUNING_STEPS, RE_ESTIMATED, auto_nas, fast_nas, nni_one_shot, torch_pruning

ONE_SHOT = 'NNI RandomOneShot'
AUTO_NAS = 'ModelOpt AutoNAS'
FAST_NAS = 'ModelOpt FastNAS'
PRUNING = 'Torch-Pruning'
PACKAGES = {PRUNING: 'torch_pruning', 'ModelOpt': 'modelopt'}
ITERATIONS = 2
"""Iterations of AutoNAS for each width that the other searches score: it scores those alone that are near the budget."""


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


class Peers(Case):
    """Widths of other tools."""

    headers = (*Case.headers, 'processor time (s)')

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._failed: dict[str, str] = {}

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), 'iterations': ITERATIONS, 'pruning steps': PRUNING_STEPS}

    @functools.cached_property
    def _missing(self) -> list[str]:
        return [name for name, package in PACKAGES.items() if not is_installed(package)]

    @property
    def arms(self) -> list[str]:
        """What is compared to uniform: CafeNet, and the tools that are installed."""
        arms = [SUPERNET, ONE_SHOT, f'{ONE_SHOT}, {RE_ESTIMATED}', FAST_NAS, AUTO_NAS]
        arms += [f'{PRUNING} by magnitude', f'{PRUNING} by Taylor']
        return [arm for arm in arms if not any(arm.startswith(name) for name in self._missing)]

    def run(self) -> None:
        """Do what has not been done; a tool that fails is left out from there on, and tried again the next time."""
        jobs = [(seed, arm) for seed in range(self.options.supernet_seeds) for arm in (UNIFORM, *self.arms)]
        for seed, arm in tqdm(jobs, desc=self.task.name, mininterval=5):
            if arm in self._failed:
                continue
            try:
                self.widths(arm, seed)
            except Exception as error:  # noqa: BLE001 - any error is the finding
                self._failed[arm] = f'failed, seed {seed}: {type(error).__name__}: {first_line(error)}'
                continue
            for number in range(self.options.training_seeds):
                self.accuracy(self.widths(arm, seed), 1000 * (seed + 1) + number)

    def widths(self, arm: str, seed: int) -> dict[str, int]:
        """Return the network of an arm."""
        if arm == f'{ONE_SHOT}, {RE_ESTIMATED}':
            return self.search(ONE_SHOT, seed)['best_at'][RE_ESTIMATED]
        return super().widths(arm, seed)

    def search(self, arm: str, seed: int) -> Mapping[str, Any]:
        """Return the record of a search."""
        if arm == SUPERNET:
            return super().search(arm, seed)
        return self._searches.get_or_run({'arm': arm, 'seed': seed}, lambda: self._checked(self._tool(arm)(seed)))

    def _tool(self, arm: str) -> Callable[[int], dict[str, Any]]:
        task, count = self.task, self.options.widths
        if arm == ONE_SHOT:
            return lambda seed: nni_one_shot(task, seed, self.folder / f'one-shot-{seed}', count)
        if arm == AUTO_NAS:
            return lambda seed: auto_nas(task, seed, ITERATIONS * count)
        if arm == FAST_NAS:
            return lambda seed: fast_nas(task, seed)
        return lambda seed: torch_pruning(task, seed, arm.rpartition(' ')[2])

    def _checked(self, record: dict[str, Any]) -> dict[str, Any]:
        """Refuse widths that are none of the space, or exceed the budget."""
        macs, limit = self.space.macs(record['widths']), self.space.macs(self.uniform)
        if macs > limit:
            raise ValueError(f'{macs:,} MACs, more than the {limit:,} of the budget')
        return {**record, 'macs': macs}

    # --- the table --------------------------------------------------------------------------------

    def _result(self, arm: str, base: Any) -> dict[str, Any]:
        if arm in self._failed:
            return {'failed': self._failed[arm]}
        seeds = range(self.options.supernet_seeds)
        seconds = [] if arm == UNIFORM else [self.search(arm.partition(',')[0], seed)['seconds'] for seed in seeds]
        return {**super()._result(arm, base), 'seconds': seconds}

    def _cells(self, arm: str, result: Mapping[str, Any]) -> list[str]:
        if arm in self._failed:
            return [arm, self._failed[arm], *['-'] * (len(self.headers) - 2)]
        return [*super()._cells(arm, result), mean_and_spread(result['seconds'])]

    def _facts(self) -> Iterator[str]:
        yield from self._settings_facts()
        if AUTO_NAS in self.arms and AUTO_NAS not in self._failed:
            scored = [self.search(AUTO_NAS, seed)['scored'] for seed in range(self.options.supernet_seeds)]
            count = ITERATIONS * self.options.widths
            yield f'- {AUTO_NAS}: {count} iterations, {mean_and_spread(scored)} within 85 to 100 % of the budget'
        if self._missing:
            yield f"- not installed: {', '.join(self._missing)} (pip install '.[bench]')"
