"""The widths of a training step of the supernet."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..space import WidthSpace
from ..utils import check_whole_number

__all__ = ['Sandwich', 'UniformWidths', 'WidthSampling', 'uniform_widths']

Widths = dict[str, int]


class WidthSampling(ABC):
    """A rule that draws the widths of a training step.

    A step with several widths trains the mean of their losses on the same batch. Its logs and side effects are those of the
    first width.
    """

    @abstractmethod
    def draw(self, space: WidthSpace, rng: np.random.Generator) -> list[Widths]:
        """Draw the widths of a step, one or more; ``rng`` is the only source of randomness."""

    def check(self, space: WidthSpace) -> None:  # noqa: B027 - most rules fit every space
        """Raise ValueError if the rule does not fit a space."""

    def for_budget(self, budget: Any) -> WidthSampling:
        """Return the rule for a run with a budget, as the user gave it."""
        return self

    @property
    def begins_with_full(self) -> bool:
        """Whether each step starts with the full network."""
        return False


@dataclass(frozen=True)
class UniformWidths(WidthSampling):
    """Each group draws its width uniformly from its choices (Su et al. 2021).

    Parameters
    ----------
    per_step
        Widths per step.
    """

    per_step: int = 1

    def __post_init__(self) -> None:
        check_whole_number('per_step', self.per_step, 1)

    def draw(self, space: WidthSpace, rng: np.random.Generator) -> list[Widths]:
        """Draw the widths of a step."""
        return [uniform_widths(space, rng) for _ in range(self.per_step)]


@dataclass(frozen=True)
class Sandwich(WidthSampling):
    """The full network, the smallest one and some between them (the sandwich rule of US-Nets, Yu and Huang 2019).

    Parameters
    ----------
    between
        Number of other widths, drawn as by `UniformWidths`; 0 or more.
    """

    between: int = 2

    def __post_init__(self) -> None:
        check_whole_number('between', self.between, 0)

    def draw(self, space: WidthSpace, rng: np.random.Generator) -> list[Widths]:
        """Return the widths of a step, the full network first."""
        ends = [dict(space.full_widths), dict(space.smallest_widths)]
        return ends + [uniform_widths(space, rng) for _ in range(self.between)]

    @property
    def begins_with_full(self) -> bool:
        """True."""
        return True


def uniform_widths(space: WidthSpace, rng: np.random.Generator) -> Widths:
    """Draw a width of every label, uniformly from its choices."""
    return {label: widths[int(rng.integers(len(widths)))] for label, widths in space.choices.items()}
