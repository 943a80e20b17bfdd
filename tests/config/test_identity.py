"""Identity: what makes a run another run, another data order, another compiled program, and what does not."""

from __future__ import annotations

import pytest

from sweepkit.config import holdout, identity
from sweepkit.config.compose import compose
from sweepkit.plan.build import build
from sweepkit.plan.run_plan import RunPlan


def plan(*overrides: str) -> RunPlan:
    return build(compose(overrides))


def test_run_id_spells_depth_variant_and_seed() -> None:
    found = plan("model=d4", "seed=7")
    assert found.run_id == f"d4-{found.variant_id}-s7"
    assert len(found.variant_id) == 12


@pytest.mark.parametrize(
    "override",
    [
        "seed=2",
        "launcher=local",
        "launcher.plan_device=a100",
        "logging=offline",
        "trainer=eager",
        "trainer.keep_checkpoints=true",
        "trainer.attention=sdpa",
        "precision.fp8.min_size=256",  # read in fp8 only
        "ladder=gpt2",
        "dataset.name=other",
        "tokenizer.name=other",
        "evaluation.sample_prompt=Once",
        "horizon=param_data_ratio",
        "experiment=baseline",
    ],
)
def test_what_stays_out(override: str) -> None:
    assert plan(override).variant_id == plan().variant_id


@pytest.mark.parametrize(
    "override",
    [
        "model.depth=13",
        "model.aspect_ratio=32",
        "model.head_dim=64",
        "model.num_kv_heads=2",
        "model.mlp.ratio=3",
        "model.window_pattern=SL",
        "model.short_window=256",
        "model.value_embeddings=false",
        "model.value_gate_channels=32",
        "model.smear=false",
        "model.backout=false",
        "model.rope_base=10000",
        "model.logit_softcap=20",
        "model.embedding_init_std=1.0",
        "dataset=climbmix",
        "dataset=embedded_books",
        "tokenizer.vocab_size=16384",
        "tokenizer.max_digits=1",
        "packing=stream",
        "packing.buffer_docs=1000",
        "optimizer.matrix.lr=0.021",
        "optimizer.matrix.momentum=0.95",
        "optimizer.matrix.row_equilibration=false",
        "optimizer.x0.beta1=0.8",
        "optimizer.smear.weight_decay=0.1",
        "optimizer=adamw",
        "schedule.warmup_steps=41",
        "schedule.warmdown_ratio=0.5",
        "schedule.final_lr_frac=0",
        "schedule.weight_decay=constant",
        "precision=bf16",
        "precision=fp8",
        "horizon.target_param_data_ratio=10.5",
        "horizon.count=chinchilla",
        "horizon.num_steps=100",
        "horizon.total_batch_size=262144",
        "horizon.device_batch_size=16",
        "horizon.sequence_len=1024",
        "evaluation.every_steps=100",
    ],
)
def test_what_makes_another_run(override: str) -> None:
    assert plan(override).variant_id != plan().variant_id
    fewer = "evaluation.max_bytes=65536"  # than any text has: above its size, a text's size stands in the key
    assert plan(override, fewer).evaluation_key == plan(fewer).evaluation_key


@pytest.mark.parametrize("override", ["evaluation.max_bytes=100000", "evaluation.streams=[validation]"])
def test_what_is_measured_of_a_run_makes_no_other_run(override: str) -> None:
    other = plan(override)
    assert other.evaluation_key != plan().evaluation_key
    for key in ("run_id", "training_id", "pair_key", "compile_key"):
        assert getattr(other, key) == getattr(plan(), key)


def test_the_order_of_streams_is_none_of_what_is_measured() -> None:
    assert plan("evaluation.streams=[probe,validation]").evaluation_key == plan().evaluation_key


def test_more_bytes_than_the_text_has_are_the_text() -> None:
    sizes = {stream: holdout.num_bytes(compose([]), stream) for stream in holdout.EMBEDDED_BYTES}
    longest = max(size for size in sizes.values() if size)

    def key(*overrides: str) -> str:
        return plan(*overrides).evaluation_key

    whole = key(f"evaluation.max_bytes={longest}")
    assert (
        key("evaluation.max_bytes=4000000000") == key() == whole != key(f"evaluation.max_bytes={longest - 1}")
    )
    alone = "evaluation.streams=[validation]"
    assert key(alone, f"evaluation.max_bytes={sizes['validation']}") == key(alone)
    own = "dataset=climbmix"  # whose size only reading tells
    assert key(own) != key(own, f"evaluation.max_bytes={longest}")


def test_the_same_run_asked_for_in_other_words() -> None:
    """The identity is of what fields come out as."""
    first = plan()
    for overrides in (
        ["model.depth=12"],
        ["model.short_window=512"],
        ["model.num_kv_heads=6"],
        ["model.backout=true"],
        ["model.window_pattern=SSSLSSSLSSSS"],  # the last layer sees everything anyway
        ["horizon.total_batch_size=524288"],
        [f"horizon.num_steps={first.num_steps}"],
        [f"horizon.target_tokens={first.target_tokens}"],
        [f"schedule.warmup_ratio={40 / first.num_steps}"],
        ["optimizer.matrix.lr=2e-2"],
        ["dataset.sources=[]"],
    ):
        assert plan(*overrides).run_id == first.run_id, overrides
    assert plan("dataset.sources=[books,speeches]").run_id == plan("dataset.sources=[speeches,books]").run_id


@pytest.mark.parametrize(
    "overrides",
    [
        ["tokenizer=shared", "tokenizer.name=bpe"],
        ["dataset.sources=[books,speeches,factbook,encyclopedia]", "tokenizer=shared"],
        ["tokenizer.max_train_bytes=3000000000"],
        ["tokenizer.max_train_bytes=8000000"],  # the corpus has 7.8 MB
    ],
)
def test_a_tokenizer_of_the_same_text_is_the_same(overrides: list[str]) -> None:
    assert plan(*overrides).run_id == plan().run_id


def test_a_tokenizer_of_other_text_is_another() -> None:
    books = plan("dataset=embedded_books")
    assert plan("dataset=embedded_books", "tokenizer=shared").run_id != books.run_id
    assert plan("dataset=embedded_books", "tokenizer.max_train_bytes=3000000").run_id == books.run_id
    for limit in (2_000_000, 7_000_000):
        shared = plan("dataset=embedded_books", "tokenizer=shared", f"tokenizer.max_train_bytes={limit}")
        assert shared.run_id != plan("dataset=embedded_books", "tokenizer=shared").run_id


def test_what_backout_reads_is_read_without_smear() -> None:
    """The λ of backout is in the optimizer's group smear."""
    for key in ("optimizer.smear.lr=0.3", "optimizer.smear.beta1=0.7"):
        assert plan("model.smear=false", key).training_id != plan("model.smear=false").training_id
        neither = ("model.smear=false", "model.backout=false")
        assert plan(*neither, key).run_id == plan(*neither).run_id


def test_a_hub_dataset_is_its_repository_commit_and_shards() -> None:
    here = plan("dataset=climbmix").variant_id
    for override in (
        "repo=a/b",
        f"revision={'a' * 40}",
        "shard_pattern=x",
        "num_train_shards=3",
        "validation_shards=2",
    ):
        assert plan("dataset=climbmix", f"dataset.{override}").variant_id != here


def test_pair_key_follows_the_data_order_alone() -> None:
    here = plan().pair_key
    for same in ("optimizer.matrix.lr=0.03", "model.logit_softcap=20", "evaluation.max_bytes=1000000"):
        assert plan(same).pair_key == here
    # B is 2^19 from d10 to d16
    assert plan("model=d16").pair_key == here
    for other in (
        "seed=2",
        "dataset=climbmix",
        "tokenizer.vocab_size=16384",
        "packing=stream",
        "horizon.total_batch_size=262144",
        "horizon.sequence_len=1024",
    ):
        assert plan(other).pair_key != here


def test_compile_key_covers_what_is_traced() -> None:
    here = plan().compile_key
    for same in (
        "seed=2",
        "optimizer.matrix.lr=0.03",
        "optimizer.matrix.beta2=0.8",
        "optimizer.matrix.momentum=0.9",
        "optimizer.x0.beta1=0.8",
        "optimizer.embedding.weight_decay=0.1",
        "schedule.warmdown_ratio=0.3",
        "schedule.weight_decay=constant",
        "horizon.num_steps=10",
        "horizon.total_batch_size=131072",
        "model.embedding_init_std=1.0",
        "model.x0_lambda_first=0.1",
        "dataset=climbmix",
        "evaluation.max_bytes=1000000",
        "model.short_window=512",
    ):
        assert plan(same).compile_key == here, same
    for other in (
        "model.depth=13",
        "model.short_window=256",
        "model.qk_scale=1.0",
        "model.logit_softcap=20",
        "model.smear=false",
        "model.value_gate_scale=2",
        "tokenizer.vocab_size=32767",  # the same tables, cropped otherwise
        "horizon.device_batch_size=16",
        "horizon.sequence_len=1024",
        "precision=fp32",
        "precision=fp8",
        "trainer.attention=sdpa",
        "optimizer=adamw",
        "optimizer.matrix.num_iterations=4",
        "optimizer.matrix.frobenius_reset=false",
        "trainer=eager",
    ):
        assert plan(other).compile_key != here, other


def test_which_layers_are_in_fp8_counts_and_a_permission_does_not() -> None:
    here = plan("precision=fp8")
    for other in ("precision.fp8.min_size=256", "precision.fp8.backend=emulated"):
        assert plan("precision=fp8", other).variant_id != here.variant_id
        assert plan("precision=fp8", other).compile_key != here.compile_key
    assert plan("precision=fp8", "precision.fp8.allow_eager=true").variant_id == here.variant_id


def test_the_last_bits_of_a_float_do_not_matter() -> None:
    assert identity._plain({"lr": 0.1 + 0.2, "n": 2.0}) == identity._plain({"lr": 0.3, "n": 2})


def test_other_weights_are_another_run_of_the_same_variant_and_data() -> None:
    """init_seed decides initialisation alone; unset, or equal to the seed, it changes nothing."""
    neutral = plan("seed=3")
    assert plan("seed=3", "init_seed=3").run_id == neutral.run_id == f"d12-{neutral.variant_id}-s3"
    other = plan("seed=3", "init_seed=7")
    assert other.run_id == f"{neutral.run_id}-i7"
    assert (other.seed, other.init_seed, neutral.init_seed) == (3, 7, 3)
    assert (other.variant_id, other.pair_key, other.compile_key) == (
        neutral.variant_id,
        neutral.pair_key,
        neutral.compile_key,
    )
