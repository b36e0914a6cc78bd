"""A pruner with the interface of NNI's pruners: ``config_list``, evaluators, masks."""
