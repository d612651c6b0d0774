"""Language: the paper's pointer sentinel mixture model on Penn Treebank, and small ones for machines without a GPU."""

from rlprune.api import LanguageRecipe, Measure, Task

METRIC = Measure("log_perplexity", "log perplexity", "nats per word", better="lower")
UNIGRAM = Measure("unigram", "unigram model", "nats per word", better="lower")
FIVEGRAM = Measure("fivegram", "5-gram model", "nats per word", better="lower")

# Anchors: ``random`` is what word frequencies of the same training part reach on the test part (measure ``unigram``).
PROSE_SMALL = Task(
    "prose-psmm-small",
    title="small PSMM, Python's own prose",
    recipe=LanguageRecipe(budget=10, batch_size=16, learning_rate=1e-2, hidden=64, tokens=40, vocabulary=2000),
    anchors={"random": 5.35},
    metric=METRIC,
    also=(UNIGRAM, FIVEGRAM),
    chance=UNIGRAM.name,
)
PTB_SMALL = Task(
    "ptb-psmm-small",
    title="small PSMM, Penn Treebank, 2,000 words",
    recipe=LanguageRecipe(
        budget=4, batch_size=32, learning_rate=8e-3, data="ptb", hidden=100, tokens=40, vocabulary=2000, train_tokens=300_000
    ),
    anchors={"random": 5.29},
    metric=METRIC,
    also=(UNIGRAM, FIVEGRAM),
    chance=UNIGRAM.name,
)

# The paper's, section 5: the small network of Merity et al., 2017; 6.82 million parameters.
PTB = Task(
    "ptb-psmm",
    title="PSMM, Penn Treebank",
    recipe=LanguageRecipe(budget=30, micro_batch=32, data="ptb"),
    anchors={"random": 6.46},
    metric=METRIC,
    also=(UNIGRAM, FIVEGRAM),
    chance=UNIGRAM.name,
)
