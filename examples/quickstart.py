"""
Search the widths of a network: a first tour
============================================

How many channels should each layer of a network have, for the best accuracy within a FLOPs budget? This tour
takes a small residual network and scikit-learn's digits (real images, no download), and finds a network of
half the multiply-accumulates (MACs). Run it with ``python examples/quickstart.py``; it takes about two minutes.

``nni-cafenet quickstart`` does the same job from a shell, and adds baselines that are trained from scratch.
"""

# %%
# From a model to a space
# -----------------------
# Any model becomes a *width space*: its operators are followed to find out which channels must change together.
# Each such *channel group* is one decision. Here the model is a factory with its arguments; a live
# ``torch.nn.Module`` works as well.

import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.experiment import NasExperiment

from nni_cafenet import CafeNet, Evolution, FlopsSensitiveBins, LocallyFree, WidthMutator
from nni_cafenet.testing import SmallResNet, digits

torch.manual_seed(0)
space = WidthMutator(bins=FlopsSensitiveBins(min_bin=1, max_bin=4)).mutate(
    SmallResNet, width=8, example_input=(1, 1, 8, 8)
)
print(space.graph.groups)
print(space.graph.fixed)
print(space.describe())

# %%
# What a width costs is known exactly, before anything is trained:

half = space.uniform_widths(0.5)
print(f'half of every width: {space.macs(half):,} MACs, {space.params(half):,} parameters')

# %%
# An evaluator
# ------------
# The recipe is the user's own: any NNI evaluator made of Lightning. The validation data below is not touched by
# the search, which holds out a part of the *training* data for its scores.

evaluator = Classification(
    num_classes=10,
    learning_rate=3e-3,
    train_dataloaders=DataLoader(digits('train'), batch_size=64, shuffle=True),
    val_dataloaders=DataLoader(digits('test'), batch_size=64),
    max_epochs=30,
    accelerator='cpu',
    logger=False,
    enable_checkpointing=False,
    enable_model_summary=False,
)

# %%
# The search
# ----------
# One strategy trains the supernet (min-min, locally free weight sharing) and then searches widths on it. The
# state is kept in ``directory``: if this script is killed, it continues from there.

strategy = CafeNet(
    budget='50%',
    sharing=LocallyFree(offset=1),
    channel_sets_per_step=2,
    search=Evolution(population=20, generations=8),
    holdout=0.2,
    seed=0,
    directory='cafenet-example',
)
experiment = NasExperiment(space, evaluator, strategy)
experiment.run()

# %%
# The results, best first: widths, and really smaller networks with the supernet's weights.

for widths in experiment.export_top_models(3, formatter='dict'):
    print(f'{space.macs(widths):,} MACs: {widths}')
slim = experiment.export_top_models(formatter='instance')[0]

images, labels = digits('test').tensors
slim.eval()
with torch.no_grad():
    accuracy = (slim(images).argmax(1) == labels).float().mean()
print(f'the best one, with inherited weights: {100 * accuracy:.1f} % of the test images')

# %%
# It is a plain network of its own class, free of this package. Train it on, or from scratch as the paper does
# (``space.slim(widths, weights=False)``).

print(slim)
