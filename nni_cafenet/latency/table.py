"""The predicted latency of any widths of a space on one device."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import DamagedFileError, first_line
from ..space import WidthSpace, check_array, check_widths
from ..utils import read_record, write_record
from .build import Share, measure_terms
from .calibration import Calibration, PredictionError, fit, prediction_error
from .interpolation import Term, summed
from .runtimes import Runtime
from .space_identity import differences, identity
from .summary import described

__all__ = ['LatencyTable', 'measure_table']

IntArray = NDArray[np.int64]
_Path = str | os.PathLike[str]

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """Predicts how long a network of any widths takes on a device. Made by `measure` or `load`.

    The operators were measured one by one, at some sizes, and a few whole networks were timed to scale each kind of
    operator, and their sum. `error` is that of the prediction on other networks. Predictions never fall when a width grows.

    Parameters
    ----------
    space
        The space of the table: groups and their widths, cost, input (`identity`).
    device, runtime, batch
        Device and runtime of whole networks, and number of samples at a time.
    environment
        Processor, threads and versions.
    constant
        Scaled time of the operators that are the same at all widths, ns.
    terms
        Scaled times of the others.
    calibration
        Maps the sum of the operators to the time of a network.
    error
        Error of the prediction, at random widths.
    shares
        The share of each kind of operator in the full network.

    Examples
    --------
    >>> table = LatencyTable.measure(space, device='cpu', batch=1)
    >>> table.latency(space.full_widths)
    64893210
    >>> table.save('lat.json')
    >>> CafeNet(budget={'latency': '30ms', 'table': 'lat.json'})
    """

    space: dict[str, Any]
    device: str
    runtime: str
    batch: int
    environment: str
    constant: int
    terms: tuple[Term, ...] = field(repr=False)
    calibration: Calibration
    error: PredictionError
    shares: tuple[Share, ...] = field(default=(), repr=False)

    @classmethod
    def measure(
        cls,
        space: WidthSpace,
        *,
        device: Any = 'cpu',
        batch: int = 1,
        threads: int | None = None,
        runtime: Runtime = 'torch',
        points: int = 5,
        rounds: int = 3,
        networks: int = 8,
        held_out: int = 6,
        seed: int = 0,
        cache: _Path | None = None,
        progress: bool = True,
    ) -> LatencyTable:
        """Measure the operators of a space, and some of its networks.

        Parameters
        ----------
        space
            The space. Its weights do not matter; it and the random generators are unchanged.
        device
            ``'cpu'``, ``'cuda'`` or another device of torch. The space need not be on it.
        batch
            Samples at a time.
        threads
            Threads of torch on the CPU; None: as many as torch has now.
        runtime
            Where whole networks are timed: ``'torch'``, ``'onnxruntime'``, ``'onnxruntime:PROVIDER'``, or a function
            ``(model, example) -> seconds`` (see `time_model`). Operators alone are timed in torch on the CPU.
        points
            Sizes at which an operator is measured, 2 or more, along each sum of widths that it follows.
        rounds
            Number of measurements, each in another order, of which the median counts.
        networks
            Random networks timed for the calibration, besides the full, the half and the smallest one.
        held_out
            Further ones, 2 or more, to estimate the error of the prediction.
        seed
            Seed of the random networks and the order.
        cache
            A file of measured times, which are not repeated on the same device with the same threads and
            version of torch, whatever the model; new ones are added. Without it, a killed measurement starts
            again.
        progress
            Show a progress bar.

        Raises
        ------
        ValueError
            If an option is out of range, device or runtime are unavailable, or the model is on the meta device.
        nni_cafenet.errors.MissingExtraError
            If onnxruntime is asked for and not installed.
        """
        return measure_table(
            space,
            device=device,
            batch=batch,
            threads=threads,
            runtime=runtime,
            points=points,
            rounds=rounds,
            networks=networks,
            held_out=held_out,
            seed=seed,
            cache=cache,
            progress=progress,
        )

    # --- predictions ------------------------------------------------------------------------------

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the channel groups: the columns of arrays of widths."""
        return tuple(self.space['full'])

    @overload
    def latency(self, widths: Mapping[str, int]) -> int: ...
    @overload
    def latency(self, widths: IntArray) -> IntArray: ...

    def latency(self, widths: Any) -> Any:
        """Predict the latency of networks.

        Parameters
        ----------
        widths
            ``{label: channels}`` of the channel groups (``space.group_widths(widths)``, if the space was made of an NNI
            space), or an integer array of shape (N, groups) with one column per label. Below the smallest widths of the
            measured space, these count.

        Returns
        -------
        ns: an int for a dict, an int64 array of shape (N,) for an array.

        Raises
        ------
        ValueError
            If labels are missing or unknown, or a width is out of range.
        """
        times = self.calibration(self._operators(self._array(widths)))
        return int(times[0]) if isinstance(widths, Mapping) else times

    def _array(self, widths: Any) -> IntArray:
        if not isinstance(widths, Mapping):
            return check_array(widths, self.space['full'])
        checked = check_widths(widths, self.space['full'])
        return np.array([[checked[label] for label in self.labels]], np.int64)

    def _operators(self, rows: IntArray) -> IntArray:
        """Summed times of the operators at widths (N, groups), ns, shape (N,)."""
        return summed(self.constant, self.terms, dict(zip(self.labels, rows.T)), len(rows))

    def fingerprint(self) -> str:
        """Return a short string that differs between tables with different predictions."""
        record = self.to_json()
        parts = {
            key: record[key] for key in ('space', 'device', 'runtime', 'batch', 'constant', 'terms', 'calibration')
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, LatencyTable) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __str__(self) -> str:
        return described(self)

    # --- checks -----------------------------------------------------------------------------------

    def check(self, space: WidthSpace, name: str = 'table') -> None:
        """Raise if the space is not the measured one.

        Raises
        ------
        ValueError
            If groups, costs, input or number format differ, or the space has widths below those that were measured.
        """
        here = identity(space)
        different = list(differences(self.space, here))
        if different:
            raise ValueError(
                f'{name} was measured for another space ({"; ".join(different)}). Measure this one: '
                'LatencyTable.measure(space, ...).'
            )

    # --- on disk ----------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the table as JSON values."""
        return {
            'format': _FORMAT,
            'kind': 'nni_cafenet latency table',
            'environment': self.environment,
            'device': self.device,
            'runtime': self.runtime,
            'batch': self.batch,
            'error': asdict(self.error),
            'calibration': asdict(self.calibration),
            'shares': [asdict(share) for share in self.shares],
            'space': self.space,
            'constant': self.constant,
            'terms': [term.to_json() for term in self.terms],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LatencyTable:
        """Read what `to_json` wrote."""
        if record['format'] != _FORMAT:
            raise ValueError(f'its format is {record["format"]!r}, this version reads {_FORMAT}')
        return cls(
            space=dict(record['space']),
            device=str(record['device']),
            runtime=str(record['runtime']),
            batch=int(record['batch']),
            environment=str(record['environment']),
            constant=int(record['constant']),
            terms=tuple(Term.from_json(term) for term in record['terms']),
            calibration=Calibration(**record['calibration']),
            error=PredictionError(**record['error']),
            shares=tuple(Share(**share) for share in record['shares']),
        )

    def save(self, path: _Path) -> None:
        """Write the table as JSON, atomically."""
        write_record(path, self.to_json())

    @classmethod
    def load(cls, path: _Path) -> LatencyTable:
        """Read a table that `save` wrote.

        Raises
        ------
        ValueError
            If there is no such file, or it is not a table.
        """
        where = os.fspath(path)
        try:
            remedy = f'measure one: LatencyTable.measure(space, ...).save({where!r})'
            return cls.from_json(read_record(where, remedy=remedy))
        except DamagedFileError:
            raise
        except OSError as error:
            raise ValueError(f'The latency table {where!r} cannot be read: {first_line(error)}.') from error
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise ValueError(
                f'{where!r} is not a latency table ({type(error).__name__}: {first_line(error, 120)}). Measure one: '
                f'LatencyTable.measure(space, ...).save({where!r}).'
            ) from error


def measure_table(space: WidthSpace, **options: Any) -> LatencyTable:
    """Measure a table; see `LatencyTable.measure`, and `measure_terms`, which takes the options."""
    found = measure_terms(space, **options)
    table = LatencyTable(
        space=identity(space),
        device=found.device,
        runtime=found.runtime,
        batch=found.batch,
        environment=found.environment,
        constant=found.constant,
        terms=found.terms,
        calibration=Calibration(),
        error=PredictionError(0.0, 0.0, 1.0, 0),
        shares=found.shares,
    )
    table = replace(table, calibration=fit(table.latency(found.fitted).tolist(), found.fitted_times))
    return replace(table, error=prediction_error(table.latency(found.held).tolist(), found.held_times))
