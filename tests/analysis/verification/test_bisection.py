from __future__ import annotations

import itertools

from nni_cafenet.analysis.verification.bisection import failing_groups

LABELS = list('abcdefgh')


def never(labels):
    return False


def test_failing_groups_are_found_with_their_reasons():
    bad = {'b': 'b is wrong', 'g': 'g is wrong'}
    found = failing_groups(LABELS, lambda labels: next((bad[label] for label in labels if label in bad), None), never)
    assert found == bad


def test_of_two_groups_that_fail_together_one_is_enough():
    found = failing_groups(LABELS, lambda labels: 'both' if {'a', 'h'} <= set(labels) else None, never)
    assert found == {'h': 'both'}


def test_what_a_repair_mends_is_no_failure():
    repaired = set()

    def failure(labels):
        return 'd is wrong' if 'd' in labels and not repaired else None

    def repair(labels):
        repaired.update({'d'} & set(labels))
        return bool(repaired)

    assert failing_groups(LABELS, failure, repair) == {}


def test_after_a_few_searches_without_a_result_all_groups_fail():
    calls = itertools.count()

    def every_other_time(labels):
        return 'now and then' if labels and next(calls) % 2 == 0 else None

    assert failing_groups(LABELS, every_other_time, never) == dict.fromkeys(LABELS, 'now and then')


BLOCKS = [f'stages.{stage}.{block}.{layer}' for stage in range(4) for block in range(8) for layer in ('conv1', 'fc')]


def counted(fails):
    calls = []

    def failure(labels):
        calls.append(labels)
        return next((f'{label} is wrong' for label in labels if fails(label)), None)

    return failure, calls


def test_groups_of_one_kind_that_all_fail_are_found_at_once():
    failure, calls = counted(lambda label: label.endswith('conv1'))
    assert set(failing_groups(BLOCKS, failure, never)) == {label for label in BLOCKS if label.endswith('conv1')}
    assert len(calls) < 12


def test_of_one_kind_only_those_that_fail():
    bad = {'stages.0.3.conv1', 'stages.3.7.fc'}
    failure, _ = counted(bad.__contains__)
    assert set(failing_groups(BLOCKS, failure, never)) == bad


def test_suspects_are_looked_at_first():
    failure, calls = counted('stages.2.1.fc'.__eq__)
    assert set(failing_groups(BLOCKS, failure, never, lambda: ['stages.0.0.fc'])) == {'stages.2.1.fc'}
    assert all('stages.0.0.conv1' in labels for labels in calls if labels)  # accepted together at first, not searched


def test_the_number_of_checks_is_bounded():
    labels = [f'layer{name}' for name in range(1000)]
    failure, calls = counted(lambda label: hash(label) % 3 == 0)
    found = failing_groups(labels, failure, never, most=40)
    assert {label for label in labels if hash(label) % 3 == 0} <= set(found)
    assert len(calls) < 60
