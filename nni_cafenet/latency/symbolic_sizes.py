"""Operator sizes as linear functions of widths, inferred from runs at a few widths."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recorded_ops import Operator, form, sizes, tensor_sizes, with_sizes

__all__ = ['SymbolicOp', 'find_symbolic_ops', 'probes']

Array = NDArray[np.int64]
Run = Callable[[Array], Sequence[Operator]]
"""Runs the model at widths of shape (groups,), and returns its operators."""


@dataclass(frozen=True)
class SymbolicOp:
    """An operator whose whole numbers (sizes of tensors, and others) are ``fixed + weights @ widths``.

    ``arguments`` are decoded, at any widths; ``fixed`` has shape (numbers,), ``weights`` (numbers, groups).
    """

    name: str
    arguments: Any
    fixed: Array
    weights: Array

    def at(self, widths: Array) -> Operator:
        """Return the operator as it runs at widths of shape (groups,)."""
        return self.of((self.fixed + self.weights @ widths).tolist())

    def of(self, numbers: Sequence[int]) -> Operator:
        """Return the operator with these whole numbers."""
        return Operator(self.name, json.dumps(with_sizes(self.arguments, numbers)))

    def tensors(self) -> list[list[int]]:
        """Return the positions of each tensor's sizes among the numbers."""
        return tensor_sizes(with_sizes(self.arguments, range(len(self.fixed))))


def probes(smallest: Array, full: Array) -> list[Array]:
    """Return the widths to run a model at: the smallest, all full, and each group full by itself."""
    alone = [np.where(np.arange(len(full)) == group, full, smallest) for group in range(len(full))]
    return [smallest, full, *alone]


def find_symbolic_ops(run: Run, smallest: Array, full: Array) -> tuple[list[SymbolicOp], list[Operator]]:
    """Find the operators of a model that are known at every width between the smallest and the full ones (groups,).

    Returns those whose sizes are sums of widths, in order, and the others as they ran at full width: those whose sizes
    depend on values, or that do not run at every width.
    """
    base, whole, *alone = [run(widths) for widths in probes(smallest, full)]
    rows = [_Row(operator, [operator]) for operator in whole]
    for runs in [base, *alone]:
        _match(rows, runs)
    followers, others = [], []
    for row in rows:
        follower = _symbolic_op(row, smallest, full) if len(row.found) == len(alone) + 2 else None
        others.append(row.whole) if follower is None else followers.append(follower)
    return followers, others


@dataclass
class _Row:
    """One operator through all runs: at full width, then at the smallest, then with each group full by itself."""

    whole: Operator
    found: list[Operator]


def _match(rows: list[_Row], run: Sequence[Operator]) -> None:
    """Add the operators of a run to those of the full network."""
    names, others = [row.whole.name for row in rows], [operator.name for operator in run]
    if names == others:
        for row, operator in zip(rows, run):
            row.found.append(operator)
        return
    for start, other, size in difflib.SequenceMatcher(None, names, others, autojunk=False).get_matching_blocks():
        for index in range(size):
            rows[start + index].found.append(run[other + index])


def _symbolic_op(row: _Row, smallest: Array, full: Array) -> SymbolicOp | None:
    """Return an operator as a function of widths; None if unknown."""
    if any(not operator.arguments for operator in row.found):
        return None
    whole, base, *alone = [json.loads(operator.arguments) for operator in row.found]
    if any(form(arguments) != form(whole) for arguments in (base, *alone)):
        return None
    least = np.array(sizes(base), np.int64)
    steps = full - smallest
    grown = np.array([sizes(arguments) for arguments in alone], np.int64).reshape(len(full), len(least)) - least
    weights: Array = (grown // np.maximum(steps, 1)[:, None]).T
    fixed = least - weights @ smallest
    exact = bool((weights * steps == grown.T).all()) and (fixed + weights @ full).tolist() == sizes(whole)
    return SymbolicOp(row.whole.name, whole, fixed, weights) if exact else None
