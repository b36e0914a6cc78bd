"""Patches of NNI's experiments, one fault per file, in this process only; correct behavior is unchanged."""

from __future__ import annotations

from .commands import read_commands_as_data
from .credentials import give_tokens_to_experiments
from .durations import give_durations_to_sequential_engines
from .foreign_trials import read_foreign_trials
from .interruptions import raise_interruptions
from .limits import give_limits_to_resumed_experiments
from .loaders import tell_loaders_of_batches
from .manager_process import start_managers_guarded
from .messages import mark_only_what_is_traced, read_whole_messages
from .naming import name_experiments
from .resuming import load_checkpoints_of_strategies
from .starting import wait_for_managers
from .viewing import leave_no_search_space

__all__ = ['patch_nni', 'tell_loaders_of_batches']


def patch_nni() -> None:
    """Apply all patches; idempotent."""
    read_whole_messages()
    mark_only_what_is_traced()
    start_managers_guarded()
    give_tokens_to_experiments()
    read_foreign_trials()
    wait_for_managers()
    read_commands_as_data()
    load_checkpoints_of_strategies()
    give_limits_to_resumed_experiments()
    give_durations_to_sequential_engines()
    leave_no_search_space()
    raise_interruptions()
    name_experiments()
