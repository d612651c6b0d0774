"""Language: the paper's pointer sentinel mixture model on Penn Treebank, and small ones for machines without a GPU."""

from rlprune.task import Metric, Task
from rlprune.training.recipes import LanguageRecipe

TRAINER = "rlprune.training.language:LanguageTrainer"
METRIC = Metric("log_perplexity", "log perplexity (nats per word)", better="lower")
LOSS = Metric("loss_train", "training loss (nats per word)", better="lower")

# Anchors: ``random`` is what word frequencies of the same training part reach on the test part (measure ``unigram``).
PROSE_SMALL = Task(
    "prose-psmm-small",
    title="small PSMM, Python's own prose",
    trainer=TRAINER,
    recipe=LanguageRecipe(budget=10, batch_size=16, learning_rate=1e-2, hidden=64, tokens=40, vocabulary=2000),
    metric=METRIC,
    curve=LOSS,
    unit="epochs",
    gpu=True,
    anchors={"random": 5.35},
)
PTB_SMALL = Task(
    "ptb-psmm-small",
    title="small PSMM, Penn Treebank, 2,000 words",
    trainer=TRAINER,
    recipe=LanguageRecipe(
        budget=6, batch_size=32, learning_rate=1e-2, data="ptb", hidden=64, tokens=40, vocabulary=2000, train_tokens=200_000
    ),
    metric=METRIC,
    curve=LOSS,
    unit="epochs",
    gpu=True,
    anchors={"random": 5.30},
)

# The paper's, section 5: the small network of Merity et al., 2017; 6.82 million parameters.
PTB = Task(
    "ptb-psmm",
    title="PSMM, Penn Treebank",
    trainer=TRAINER,
    recipe=LanguageRecipe(budget=30, micro_batch=32, data="ptb"),
    metric=METRIC,
    curve=LOSS,
    unit="epochs",
    gpu=True,
    anchors={"random": 6.46},
)
