"""Prune a trained network by a configuration."""

from __future__ import annotations

from ...pruning import Pruned, PrunedFamily, prune
from .job_space import space_options
from .prepare import Prepared, search_of

__all__ = ['run_prune_job']


def run_prune_job(prepared: Prepared) -> Pruned | PrunedFamily:
    """Run or resume the job; see `nni_cafenet.prune`."""
    asked = prepared.configuration
    importance = asked['training.importance']
    return prune(
        prepared.model,
        asked['budget'],
        train=prepared.data.train,
        validate=prepared.data.validate,
        example_input=prepared.input,
        loss=prepared.loss,
        metric=prepared.metric,
        recipe=prepared.recipe,
        epochs=asked['training.epochs'],
        finetune_epochs=asked['training.finetune_epochs'],
        importance=None if importance == 'none' else importance,
        distill=asked['training.distill'],
        channel_sets_per_step=asked['search.channel_sets_per_step'],
        memory=asked['search.memory'],
        search=search_of(asked),
        score=asked['search.score'],
        temperature=asked['search.temperature'],
        headroom=asked['search.headroom'],
        holdout=asked['search.holdout'],
        statistics_batches=asked['search.statistics_batches'],
        finalists=asked['search.finalists'],
        baseline=asked['search.baseline'],
        seed=asked['seed'],
        directory=asked['output'],
        supernet_from=prepared.source,
        device=asked['device'],
        precision=asked['precision'],
        devices=asked['devices'],
        nodes=asked['nodes'],
        strategy=asked['strategy'],
        **space_options(asked),
    )
