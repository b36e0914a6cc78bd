"""The NNI strategies: CafeNet, its equal-compute rival, and budgets for the multi-trial strategies of NNI."""
