"""Whole jobs from a configuration: prune a trained network, search one from scratch, train the networks found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._doors import lazy_names

if TYPE_CHECKING:
    from .absolute_paths import with_whole_paths as with_whole_paths
    from .comparison import (
        Compared as Compared,
        compared_networks as compared_networks,
        comparison_table as comparison_table,
        other_networks as other_networks,
    )
    from .dry_run import prepare_dry_run as prepare_dry_run, resolved_lines as resolved_lines
    from .job_devices import batch_text as batch_text, devices_text as devices_text, start_devices as start_devices
    from .job_folder import QUESTIONS as QUESTIONS, JobFolder as JobFolder, JobRecord as JobRecord
    from .job_report import named_report as named_report, report_of as report_of
    from .job_space import space_options as space_options
    from .prepare import Prepared as Prepared, prepare_job as prepare_job, trainer_of as trainer_of
    from .prune_job import run_prune_job as run_prune_job
    from .saved_network import SavedNetwork as SavedNetwork
    from .search_job import run_search_job as run_search_job
    from .train_slim import run_slim_training as run_slim_training, trainings_table as trainings_table

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
