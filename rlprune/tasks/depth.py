"""Depth: the paper's FCRN on NYU Depth v2, and a small one for machines without a GPU."""

from rlprune.api import DepthRecipe, Measure, Task

RMSE = Measure("rmse", "RMSE", "m", better="lower")
REL = Measure("rel", "relative error", better="lower")
DELTA = Measure("delta1", "share of pixels within a factor of 1.25")
CONSTANT = Measure("rmse_constant", "RMSE of a constant", "m", better="lower")

ROOMS_FCRN_SMALL = Task(
    "rooms-fcrn-small",
    title="small FCRN, rendered rooms",
    recipe=DepthRecipe(budget=15, batch_size=16, network="fcrn-small"),
    anchors={"random": 1.32},  # the best constant
    metric=RMSE,
    also=(REL, DELTA, CONSTANT),
    chance=CONSTANT.name,
)
NYU_FCRN_SMALL = Task(
    "nyu-fcrn-small",
    title="small FCRN, NYU Depth v2",
    recipe=DepthRecipe(budget=15, batch_size=16, network="fcrn-small", data="nyu", height=72, width=96),
    anchors={"random": 1.36},
    metric=RMSE,
    also=(REL, DELTA, CONSTANT),
    chance=CONSTANT.name,
)
# Section 5 of the paper; it begins at random weights here, for nothing is downloaded.
NYU_FCRN = Task(
    "nyu-fcrn",
    title="FCRN, NYU Depth v2",
    recipe=DepthRecipe(
        budget=10,
        batch_size=8,
        learning_rate=1e-5,
        schedule="constant",
        weight_decay=0.0,
        network="fcrn",
        data="nyu",
        height=228,
        width=304,
    ),
    anchors={"random": 1.36},
    metric=RMSE,
    also=(REL, DELTA, CONSTANT),
    chance=CONSTANT.name,
)
