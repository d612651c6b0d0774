"""GLUE with BERT: table 8's tasks, and one that the program makes, for machines without data or a GPU."""

from rlprune.api import GlueRecipe, Measure, Task

ACCURACY = Measure("accuracy", "accuracy on dev", "%")
F1 = Measure("f1", "F1 on dev", "%")
MATTHEWS = Measure("matthews", "Matthews correlation on dev", "× 100")
PEARSON = Measure("pearson", "Pearson correlation on dev", "× 100")

PAIRS_BERT_SMALL = Task(
    "pairs-bert-small",
    title="small BERT, order of pieces",
    recipe=GlueRecipe(budget=12, batch_size=64, learning_rate=1e-3, weight_decay=0.0, clip=1.0, heads=8),
    metric=Measure("accuracy", "accuracy", "%"),
    anchors={"random": 50.0},
)


# BERT's own recipe for fine-tuning (Devlin et al., 2019): 3 epochs, batches of 32, gradient norm 1. Anchors: the commonest
# class of the dev part, or no correlation.
def _recipe(data: str, max_tokens: int = 128) -> GlueRecipe:
    return GlueRecipe(
        budget=3,
        batch_size=32,
        learning_rate=5e-5,
        weight_decay=0.0,
        clip=1.0,
        data=data,
        checkpoint="bert-base-uncased",
        max_tokens=max_tokens,
    )


GLUE_COLA = Task(
    "glue-cola",
    title="BERT, CoLA",
    recipe=_recipe("cola", max_tokens=64),
    metric=MATTHEWS,
    also=(ACCURACY,),
    anchors={"random": 0.0},
)
GLUE_SST2 = Task(
    "glue-sst2",
    title="BERT, SST-2",
    recipe=_recipe("sst2", max_tokens=64),
    metric=ACCURACY,
    anchors={"random": 50.9},
)
GLUE_MRPC = Task(
    "glue-mrpc",
    title="BERT, MRPC",
    recipe=_recipe("mrpc"),
    metric=F1,
    also=(ACCURACY,),
    anchors={"random": 81.2},
)
GLUE_QQP = Task(
    "glue-qqp",
    title="BERT, QQP",
    recipe=_recipe("qqp"),
    metric=ACCURACY,
    anchors={"random": 63.2},
)
GLUE_STSB = Task(
    "glue-stsb",
    title="BERT, STS-B",
    recipe=_recipe("stsb"),
    metric=PEARSON,
    anchors={"random": 0.0},
)
GLUE_MNLI = Task(
    "glue-mnli",
    title="BERT, MNLI (matched)",
    recipe=_recipe("mnli"),
    metric=ACCURACY,
    anchors={"random": 35.4},
)
GLUE_QNLI = Task(
    "glue-qnli",
    title="BERT, QNLI",
    recipe=_recipe("qnli"),
    metric=ACCURACY,
    anchors={"random": 50.5},
)
GLUE_RTE = Task(
    "glue-rte",
    title="BERT, RTE",
    recipe=_recipe("rte"),
    metric=ACCURACY,
    anchors={"random": 52.7},
)
GLUE_WNLI = Task(
    "glue-wnli",
    title="BERT, WNLI",
    recipe=_recipe("wnli"),
    metric=ACCURACY,
    anchors={"random": 56.3},
)
