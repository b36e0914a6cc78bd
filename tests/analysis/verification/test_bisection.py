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
