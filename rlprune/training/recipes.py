"""Recipes: the numbers of each kind of training, apart from the trainers so that reading a suite imports no torch."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from rlprune.task import Recipe


class A2CRecipe(Recipe):
    """Advantage actor-critic with separate actor and critic networks, as Stable-Baselines3 defines it.

    Args:
        budget: environment steps over all parallel environments.
        environment: a Gymnasium id.
        max_episode_steps: time limit in steps; None keeps the environment's own.
        environments: parallel environments.
        rollout_steps: steps an environment between updates.
        widths: hidden layers of the actor and of the critic.
        activation: between hidden layers.
        learning_rate: at the start.
        annealing: ``linear`` to zero at the budget's end, or ``constant``.
        optimizer: RMSprop (PyTorch's), RMSprop as TensorFlow has it (epsilon inside the root, averages from one), Adam.
        discount: gamma.
        gae_lambda: 1 is the plain n-step advantage.
        entropy: coefficient of the entropy bonus.
        value_weight: coefficient of the value loss.
        clip: largest gradient norm, over both networks together.
        reward_scale: training rewards are multiplied by it; reported returns are not.
        scoring_steps: environment steps collected to score one pruning round.
        evaluation_games: games of the final evaluation, with fresh seeds.
    """

    environment: str
    max_episode_steps: int | None = Field(default=None, ge=1)
    environments: int = Field(default=16, ge=1)
    rollout_steps: int = Field(default=5, ge=1)
    widths: tuple[int, ...] = Field(default=(128, 128, 128), min_length=1, strict=False)
    activation: Literal["tanh", "relu"] = "tanh"
    learning_rate: float = Field(default=7e-4, gt=0)
    annealing: Literal["linear", "constant"] = "linear"
    optimizer: Literal["rmsprop", "rmsprop-tf", "adam"] = "rmsprop"
    discount: float = Field(default=0.99, gt=0, le=1)
    gae_lambda: float = Field(default=1.0, ge=0, le=1)
    entropy: float = Field(default=0.0, ge=0)
    value_weight: float = Field(default=0.5, ge=0)
    clip: float = Field(default=0.5, gt=0)
    reward_scale: float = Field(default=1.0, gt=0)
    scoring_steps: int = Field(default=2048, ge=1)
    evaluation_games: int = Field(default=100, ge=1)

    @property
    def iterations(self) -> int:
        """Rollouts, each followed by an update, in an epoch."""
        return max(1, round(self.budget / (self.epochs * self.rollout_steps * self.environments)))


class SupervisedRecipe(Recipe):
    """Training on batches; an epoch is one pass over the training data.

    Args:
        budget: epochs, dense phase included.
        epochs: the same number.
        batch_size: samples an optimizer step.
        micro_batch: samples whose activations are held at once, in training and in scoring; None is the whole batch.
        learning_rate: Adam's, at its peak.
        schedule: ``one-cycle`` over the epochs that remain, or ``constant``. It is held at its peak while a plan waits.
        weight_decay: L2, as PyTorch's Adam has it.
        clip: largest gradient norm.
        scoring_batches: batches that score one pruning round.
    """

    derived: ClassVar[frozenset[str]] = frozenset({"epochs"})
    batch_size: int = Field(default=256, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    weight_decay: float = Field(default=5e-5, ge=0)
    clip: float = Field(default=10.0, gt=0)
    scoring_batches: int = Field(default=5, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _an_epoch_is_a_pass(cls, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("epochs", given.get("budget")) != given.get("budget"):
            raise ValueError("an epoch is one pass over the data: set budget, and leave epochs out")
        return {**given, "epochs": given.get("budget")}

    @model_validator(mode="after")
    def _pieces_are_equal(self) -> "SupervisedRecipe":
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(f"micro_batch must divide batch_size, {self.batch_size}")
        return self


class ImageRecipe(SupervisedRecipe):
    """Classification of images.

    Args:
        data: name of the data set; ``shapes`` is made by the program, others are read from ``--data``.
        network: name of the network.
        train_images: how many training images to use, the classes as equal as they come; None is all.
        resize: side in pixels that images are brought to, after augmentation; None leaves them.
        crop: pixels of padding from which a random crop of the old size is taken.
        flip: mirror every other image.
        rotate: largest random rotation in degrees.
    """

    data: str = "shapes"
    network: str
    train_images: int | None = Field(default=None, ge=1)
    resize: int | None = Field(default=None, ge=8)
    crop: int = Field(default=0, ge=0)
    flip: bool = False
    rotate: float = Field(default=0.0, ge=0, le=180)

    @property
    def reads(self) -> str | None:
        return None if self.data == "shapes" else self.data


class LanguageRecipe(SupervisedRecipe):
    """The next word of a text; a sample is a chunk of it.

    Args:
        data: name of the text; ``prose`` is at hand, others are read from ``--data``.
        hidden: width of embedding and state.
        tokens: length of a chunk, words as far as the pointer sees.
        vocabulary: most words to know, the most frequent ones; all others are one word. None knows all of the training part.
        train_tokens: how many training words to use, the first ones; None is all.
    """

    data: str = "prose"
    hidden: int = Field(default=300, ge=1)
    tokens: int = Field(default=80, ge=2)
    vocabulary: int | None = Field(default=None, ge=3)
    train_tokens: int | None = Field(default=None, ge=3)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=0.25, gt=0)

    @property
    def reads(self) -> str | None:
        return None if self.data == "prose" else self.data
