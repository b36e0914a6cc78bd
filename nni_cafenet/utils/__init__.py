"""Files, option checks, units, tables and RNG states, independent of the rest of the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._doors import lazy_names

if TYPE_CHECKING:
    from .callers_errors import pass_on as pass_on
    from .contained import (
        Keys as Keys,
        contained_numbers as contained_numbers,
        replace_contained as replace_contained,
    )
    from .files import (
        absolute_path as absolute_path,
        check_not_removed as check_not_removed,
        is_temporary_file as is_temporary_file,
        json_text as json_text,
        remove_temporary_files as remove_temporary_files,
        write_bytes as write_bytes,
        write_json as write_json,
        write_text as write_text,
    )
    from .json_records import (
        RecordReader as RecordReader,
        append_record as append_record,
        read_record as read_record,
        read_records as read_records,
        write_record as write_record,
    )
    from .late_progress import LateProgress as LateProgress
    from .links import FilePath as FilePath, child_path as child_path, resolve_link as resolve_link
    from .nested_tensors import (
        map_tensors as map_tensors,
        named_tensors_in as named_tensors_in,
        tensors_in as tensors_in,
    )
    from .rng import (
        RandomnessOnResume as RandomnessOnResume,
        load_random_state as load_random_state,
        loader_generators as loader_generators,
        random_state as random_state,
        restart_workers as restart_workers,
        seeded as seeded,
    )
    from .signals import (
        TERMINATED as TERMINATED,
        interruptible as interruptible,
        resume_hint as resume_hint,
        sigterm_as_interrupt as sigterm_as_interrupt,
    )
    from .signing import require_signature as require_signature, signature as signature
    from .silence import (
        suppress_torch_output as suppress_torch_output,
        suppress_training_logs as suppress_training_logs,
    )
    from .tables import as_html as as_html, as_markdown as as_markdown, as_table as as_table
    from .torch_files import (
        check_not_truncated as check_not_truncated,
        load_torch as load_torch,
        save_torch as save_torch,
    )
    from .torch_internals import (
        BatchNorm as BatchNorm,
        ConvNd as ConvNd,
        StatisticsNorm as StatisticsNorm,
        checkpoint_generators as checkpoint_generators,
        copy_each as copy_each,
        draws_of as draws_of,
        is_in_backward as is_in_backward,
        is_transformed as is_transformed,
        put_flat_weights as put_flat_weights,
        put_persistent_iterator as put_persistent_iterator,
        storage_uses as storage_uses,
        version_of as version_of,
        zero_each as zero_each,
    )
    from .units import (
        format_count as format_count,
        format_duration as format_duration,
        format_time as format_time,
        parse_count as parse_count,
        parse_time as parse_time,
    )
    from .validation import (
        LARGEST_SEED as LARGEST_SEED,
        check_flag as check_flag,
        check_instance as check_instance,
        check_name as check_name,
        check_number as check_number,
        check_path as check_path,
        check_seed as check_seed,
        check_whole_number as check_whole_number,
        nearest as nearest,
        shown_value as shown_value,
    )

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
