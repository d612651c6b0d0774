"""Depth: the paper's FCRN on NYU Depth v2, and a small one for machines without a GPU."""

from rlprune.task import Metric, Task
from rlprune.training.recipes import DepthRecipe

TRAINER = "rlprune.training.depth:DepthTrainer"
RMSE = Metric("rmse", "RMSE (m)", better="lower")
LOSS = Metric("loss_train", "training loss (reverse Huber)", better="lower")

ROOMS_FCRN_SMALL = Task(
    "rooms-fcrn-small",
    title="small FCRN, rendered rooms",
    trainer=TRAINER,
    recipe=DepthRecipe(budget=15, batch_size=16, network="fcrn-small"),
    metric=RMSE,
    curve=LOSS,
    unit="epochs",
    gpu=True,
    anchors={"random": 1.32},  # the best constant
)
NYU_FCRN_SMALL = Task(
    "nyu-fcrn-small",
    title="small FCRN, NYU Depth v2",
    trainer=TRAINER,
    recipe=DepthRecipe(budget=15, batch_size=16, network="fcrn-small", data="nyu", height=72, width=96),
    metric=RMSE,
    curve=LOSS,
    unit="epochs",
    gpu=True,
    anchors={"random": 1.36},
)
# Section 5 of the paper; it begins at random weights here, for nothing is downloaded.
NYU_FCRN = Task(
    "nyu-fcrn",
    title="FCRN, NYU Depth v2",
    trainer=TRAINER,
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
    metric=RMSE,
    curve=LOSS,
    unit="epochs",
    gpu=True,
    anchors={"random": 1.36},
)
