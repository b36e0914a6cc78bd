"""Named recipes of published experiments, as data, and the networks that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._doors import lazy_names

if TYPE_CHECKING:
    from .catalog import (
        NETWORKS as NETWORKS,
        Published as Published,
        Recipe as Recipe,
        all_recipes as all_recipes,
        recipe_names as recipe_names,
    )
    from .networks import (
        MobileNetV1 as MobileNetV1,
        Vgg19 as Vgg19,
        efficientnet_b0 as efficientnet_b0,
        mobilenet_v1 as mobilenet_v1,
        mobilenet_v2_cifar as mobilenet_v2_cifar,
        vgg19_cifar as vgg19_cifar,
    )

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
