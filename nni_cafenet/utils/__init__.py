"""Files, checks of options, units, tables, random states: used by every room, know nothing of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._doors import lazy_names

if TYPE_CHECKING:
    from .files import (
        is_leftover as is_leftover,
        json_text as json_text,
        remove_leftovers as remove_leftovers,
        whole_path as whole_path,
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
    from .links import inside as inside, unlinked as unlinked
    from .nested_tensors import map_tensors as map_tensors, tensors_in as tensors_in
    from .rng import (
        RandomnessOnResume as RandomnessOnResume,
        load_random_state as load_random_state,
        loader_generators as loader_generators,
        random_state as random_state,
        seeded as seeded,
    )
    from .signals import (
        TERMINATED as TERMINATED,
        interruptible as interruptible,
        resume_hint as resume_hint,
        terminations as terminations,
    )
    from .signing import refuse_unsigned as refuse_unsigned, signature as signature
    from .silence import quiet_torch as quiet_torch, quiet_training as quiet_training
    from .tables import as_html as as_html, as_markdown as as_markdown, as_table as as_table
    from .torch_files import check_end as check_end, load_torch as load_torch, save_torch as save_torch
    from .torch_internals import (
        BatchNorm as BatchNorm,
        ConvNd as ConvNd,
        StatisticsNorm as StatisticsNorm,
        checkpoint_generators as checkpoint_generators,
        copy_each as copy_each,
        draws_of as draws_of,
        is_in_backward as is_in_backward,
        is_transformed as is_transformed,
        persistent_iterator as persistent_iterator,
        put_persistent_iterator as put_persistent_iterator,
        storage_uses as storage_uses,
        version_of as version_of,
        zero_each as zero_each,
    )
    from .units import (
        format_count as format_count,
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
