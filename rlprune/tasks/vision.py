"""Vision: the paper's classifiers, and small ones for machines without a GPU."""

from rlprune.api import ImageRecipe, Measure, Task

TOP1 = Measure("top1", "top-1 accuracy", "%", span=100)
TOP5 = Measure("top5", "top-5 accuracy", "%")

# Images that the program draws, and networks small enough for two cores.
RESNET_SMALL_SHAPES = Task(
    "resnet-small-shapes",
    title="small ResNet, drawn shapes",
    recipe=ImageRecipe(budget=12, batch_size=64, network="resnet-small", crop=2),
    anchors={"random": 10.0},
    metric=TOP1,
    also=(TOP5,),
)
VGG_SMALL_SHAPES = Task(
    "vgg-small-shapes",
    title="small VGG, drawn shapes",
    recipe=ImageRecipe(budget=12, batch_size=64, network="vgg-small", crop=2),
    anchors={"random": 10.0},
    metric=TOP1,
    also=(TOP5,),
)
VGG_SMALL_PLAIN_SHAPES = Task(
    "vgg-small-plain-shapes",
    title="small VGG without BatchNorm, drawn shapes",
    recipe=ImageRecipe(budget=12, batch_size=64, network="vgg-small-plain", crop=2),
    anchors={"random": 10.0},
    metric=TOP1,
    also=(TOP5,),
)
RESNET_SMALL_CIFAR10 = Task(
    "resnet-small-cifar10",
    title="small ResNet, CIFAR-10",
    recipe=ImageRecipe(budget=10, batch_size=64, network="resnet-small", data="cifar10", crop=4, flip=True),
    anchors={"random": 10.0},
    metric=TOP1,
    also=(TOP5,),
)
VGG_SMALL_CIFAR10 = Task(
    "vgg-small-cifar10",
    title="small VGG, CIFAR-10",
    recipe=ImageRecipe(budget=10, batch_size=64, network="vgg-small", data="cifar10", crop=4, flip=True),
    anchors={"random": 10.0},
    metric=TOP1,
    also=(TOP5,),
)

RESNEXT_SMALL_SHAPES = Task(
    "resnext-small-shapes",
    title="small ResNeXt, drawn shapes",
    recipe=ImageRecipe(budget=12, batch_size=64, network="resnext-small", crop=2, score_on_cpu=True),
    anchors={"random": 10.0},
    metric=TOP1,
    also=(TOP5,),
)

# The paper's, section 5 and appendix A. Anchors: tables 1, 2, 5, 6 and 7, dense.
RESNET18_CIFAR10 = Task(
    "resnet18-cifar10",
    title="ResNet18, CIFAR-10",
    recipe=ImageRecipe(budget=80, network="resnet18", data="cifar10", crop=4, flip=True, resize=64),
    anchors={"random": 10.0, "dense": 91.5},
    metric=TOP1,
    also=(TOP5,),
)
VGG16_CIFAR10 = Task(
    "vgg16-cifar10",
    title="VGG16, CIFAR-10",
    recipe=ImageRecipe(budget=80, network="vgg16", data="cifar10", crop=4, flip=True, resize=64),
    anchors={"random": 10.0, "dense": 90.2},
    metric=TOP1,
    also=(TOP5,),
)
VGG16_CIFAR100 = Task(
    "vgg16-cifar100",
    title="VGG16, CIFAR-100",
    recipe=ImageRecipe(budget=80, network="vgg16", data="cifar100", crop=4, flip=True, rotate=15.0),
    anchors={"random": 1.0, "dense": 62.1},
    metric=TOP1,
    also=(TOP5,),
)
RESNET18_TINY_IMAGENET = Task(
    "resnet18-tiny-imagenet",
    title="ResNet18, Tiny-ImageNet",
    recipe=ImageRecipe(budget=80, batch_size=128, network="resnet18", data="tiny-imagenet", flip=True, resize=224),
    anchors={"random": 0.5, "dense": 51.3},
    metric=TOP1,
    also=(TOP5,),
)
VGG16_IMAGENET = Task(
    "vgg16-imagenet",
    title="VGG16, ImageNet",
    recipe=ImageRecipe(budget=26, network="vgg16", data="imagenet", crop=16, flip=True, resize=224),
    anchors={"random": 0.1, "dense": 58.8},
    metric=TOP1,
    also=(TOP5,),
)
RESNET50_CIFAR10 = Task(
    "resnet50-cifar10",
    title="ResNet50, CIFAR-10",
    recipe=ImageRecipe(budget=80, network="resnet50", data="cifar10", crop=4, flip=True),  # figure 2
    anchors={"random": 10.0},
    metric=TOP1,
    also=(TOP5,),
)

# Table 3: a network too large to train, cut on the CPU, and the largest that is trained whole.
RESNEXT101_32X48D_CIFAR10 = Task(
    "resnext101-32x48d-cifar10",
    title="ResNeXt101 32x48d, CIFAR-10",
    recipe=ImageRecipe(
        budget=30,
        scoring_micro_batch=2,  # keeps the peak of scoring below 12 GB
        network="resnext101-32x48d",
        data="cifar10",
        crop=4,
        flip=True,
        resize=64,
        scoring_batches=1,
        score_on_cpu=True,
    ),
    anchors={"random": 10.0, "dense": 92.4},
    metric=TOP1,
    also=(TOP5,),
)
RESNEXT101_32X16D_CIFAR10 = Task(
    "resnext101-32x16d-cifar10",
    title="ResNeXt101 32x16d, CIFAR-10",
    recipe=ImageRecipe(budget=30, micro_batch=64, network="resnext101-32x16d", data="cifar10", crop=4, flip=True, resize=64),
    anchors={"random": 10.0, "dense": 92.1},
    metric=TOP1,
    also=(TOP5,),
)
