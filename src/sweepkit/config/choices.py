"""What fields of the schema choose from: one Enum a choice, written by its names."""

from __future__ import annotations

from enum import Enum


class DatasetKind(Enum):
    embedded = "embedded"
    files = "files"
    hub = "hub"


class TxtDocument(Enum):
    """What a document is in plain text: the file, or what lies between blank lines."""

    auto = "auto"
    file = "file"
    paragraph = "paragraph"


class TokenizerCorpus(Enum):
    """What the BPE is trained on: the run's own dataset, or the embedded corpus for all."""

    dataset = "dataset"
    embedded = "embedded"


class PackingAlgorithm(Enum):
    best_fit = "best_fit"
    greedy_crop = "greedy_crop"
    stream = "stream"


class MlpKind(Enum):
    """What the MLP does to its hidden layer (model/mlp.py)."""

    relu2 = "relu2"
    swiglu = "swiglu"
    geglu = "geglu"
    gelu = "gelu"
    leaky_relu2 = "leaky_relu2"


class MlpMatch(Enum):
    """In what an MLP costs what a ReLU² MLP of the configured ratio costs."""

    params = "params"
    flops = "flops"


class FurtherHeads(Enum):
    """What predicts further tokens: the head of the next one, or a head of each's own."""

    shared = "shared"
    own = "own"


class FurtherSchedule(Enum):
    """Whether the weights of further tokens stay, or fade one after the other, the furthest first."""

    constant = "constant"
    staged = "staged"


class ExpertBalance(Enum):
    """What keeps the load of experts even: a bias of the choice, a loss, or nothing."""

    bias = "bias"
    loss = "loss"
    none = "none"


class MatrixOptimizer(Enum):
    muon = "muon"
    adamw = "adamw"
    lion = "lion"


class WeightDecaySchedule(Enum):
    cosine = "cosine"
    constant = "constant"


class Dtype(Enum):
    auto = "auto"
    bf16 = "bf16"
    fp16 = "fp16"
    fp32 = "fp32"
    fp8 = "fp8"  # bf16 with the large matrix products in FP8


class Fp8Backend(Enum):
    """What multiplies FP8: the device's own units, or fp32 after rounding to FP8 (same errors, no speed)."""

    auto = "auto"
    native = "native"
    emulated = "emulated"


class Fp8Scaling(Enum):
    """What shares a scale: all of an operand, or what is summed into one number of the product."""

    tensorwise = "tensorwise"
    rowwise = "rowwise"


class Fp8Layers(Enum):
    """Which of the layers that are large enough multiply in FP8: all, or the vocabulary projection alone."""

    all = "all"
    projection = "projection"


class AttentionBackend(Enum):
    """Which kernel attends (model/attend.py); all compute the same."""

    auto = "auto"
    flash3 = "flash3"
    banded = "banded"
    sdpa = "sdpa"


class ParameterCount(Enum):
    """Which parameters the tokens:params ratio counts (methodology, Kaplan or Chinchilla style)."""

    kaplan = "kaplan"
    chinchilla = "chinchilla"
    transformer_only = "transformer_only"
    kaplan_active = "kaplan_active"


class LauncherKind(Enum):
    inline = "inline"
    local = "local"
    slurm = "slurm"


class WandbMode(Enum):
    disabled = "disabled"
    offline = "offline"
    online = "online"


class Device(Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"
