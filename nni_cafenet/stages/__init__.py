"""The stages of a run: train the supernet, score widths, train finalists."""

from .captured_results import CapturedResults, reports_may_fail, taken_reports
from .context import StageContext, named
from .default_sizes import MOST_FINALISTS, Workload, training_batches
from .equal_cost import EqualCost, default_drawn, one_batch
from .evaluator_factory import EvaluatorFactory
from .finalist_results import TrainedModel, finalists_table, short_trainings_table, widths_table
from .finalist_selection import read_choice, with_folders, write_choice, write_trainings
from .finalists import BASELINE, Finalist, TrainedFinalist, finalist_name, trainings_title
from .finite_outputs import computes_numbers
from .first_seeds import restore_first_seeds
from .folder import JOB_RECORD, RunFolder, check_checkpoint, keep_settings, new_run_path
from .folder_lock import locked_folder
from .in_process import InProcess, Stages
from .latency_table import check_directory, table_of_run
from .limits import within_duration
from .metrics_monitor import MetricsMonitor, check_loggers
from .nni_space import width_space_of
from .options import MOST_STATISTICS_BATCHES, RunOptions
from .overtraining_check import evaluating, overtraining
from .preflight import check_before_training
from .presets import with_preset
from .progress_bar import EpochBar
from .ranking_metric import Metric
from .ranks_agree import check_ranks, check_shared
from .resume_check import check_supernet, read_stages, stages_record
from .run_copy import check_source, copy_run
from .step_clock import StepClock, StepTime
from .time_left import TimeLeft, Work
from .train_finalists import read_result, train_finalist
from .train_supernet import SupernetStage
from .training_curves import read_curves

__all__ = [
    'BASELINE',
    'JOB_RECORD',
    'MOST_FINALISTS',
    'MOST_STATISTICS_BATCHES',
    'CapturedResults',
    'EpochBar',
    'EqualCost',
    'EvaluatorFactory',
    'Finalist',
    'InProcess',
    'Metric',
    'MetricsMonitor',
    'RunFolder',
    'RunOptions',
    'StageContext',
    'Stages',
    'StepClock',
    'StepTime',
    'SupernetStage',
    'TimeLeft',
    'TrainedFinalist',
    'TrainedModel',
    'Work',
    'Workload',
    'check_before_training',
    'check_checkpoint',
    'check_directory',
    'check_loggers',
    'check_ranks',
    'check_shared',
    'check_source',
    'check_supernet',
    'computes_numbers',
    'copy_run',
    'default_drawn',
    'evaluating',
    'finalist_name',
    'finalists_table',
    'keep_settings',
    'locked_folder',
    'named',
    'new_run_path',
    'one_batch',
    'overtraining',
    'read_choice',
    'read_curves',
    'read_result',
    'read_stages',
    'reports_may_fail',
    'restore_first_seeds',
    'short_trainings_table',
    'stages_record',
    'table_of_run',
    'taken_reports',
    'train_finalist',
    'training_batches',
    'trainings_title',
    'width_space_of',
    'widths_table',
    'with_folders',
    'with_preset',
    'within_duration',
    'write_choice',
    'write_trainings',
]
