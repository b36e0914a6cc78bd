"""What NNI's execution engine decides: in which process stages run, the space, and the default folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nni.nas.execution import SequentialExecutionEngine, TrainingServiceExecutionEngine
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace

from ..stages import StageContext, new_run_path, width_space_of

__all__ = ['default_directory', 'is_sequential', 'live_space', 'width_space']


def is_sequential(engine: Any) -> bool:
    """Whether stages run in this process; else they are trials of a training service."""
    return isinstance(engine, SequentialExecutionEngine)


def live_space(model_space: Any, engine: Any) -> Any:
    """Return the space that the user gave the experiment."""
    if is_sequential(engine) and isinstance(model_space, RawFormatModelSpace):
        return model_space.model_space
    formats = (RawFormatModelSpace, SimplifiedModelSpace)
    if isinstance(engine, TrainingServiceExecutionEngine) and isinstance(model_space, formats):
        return engine.nodejs_binding.model_space
    raise TypeError(
        "Width searches run in NNI's sequential engine, on the raw model format (leave the experiment's config out, or use "
        "NasExperimentConfig('sequential', 'raw', 'local')), or as trials of a training service: "
        "NasExperimentConfig('ts', 'simplified', 'local')."
    )


def width_space(model_space: Any, engine: Any) -> Any:
    """Return the space that the user gave the experiment; of an NNI space with choices, its width space."""
    space = live_space(model_space, engine)
    return width_space_of(space, model_space.evaluator, travels=not is_sequential(engine))


def default_directory(engine: Any, context: StageContext) -> Path:
    """Return the folder of a run without a ``directory``."""
    if is_sequential(engine):
        return new_run_path(context.supernet.trainer.default_root_dir)
    experiment = engine.nodejs_binding
    return Path(experiment.config.canonical_copy().experiment_working_directory) / experiment.id / 'cafenet'
