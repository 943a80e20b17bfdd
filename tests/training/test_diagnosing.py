"""What runs measure of their inside, and what `diagnose` says of it: healthy ones, and faults put in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from training_runs import MANY_PARTS, folder, losses, run, tiny

import sample
from sweepkit.analysis import diagnosis
from sweepkit.analysis.diagnosis import Diagnosis
from sweepkit.analysis.diagnosis_case import Case
from sweepkit.analysis.diagnosis_limits import LIMITS
from sweepkit.cli.main import main
from sweepkit.model import init
from sweepkit.optim.adamw import AdamWGroup
from sweepkit.optim.lion import LionGroup
from sweepkit.optim.muon_stack import MuonStack
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import diagnosed
from sweepkit.results.diagnosed import FIRST_EDGE, Histogram
from sweepkit.training import activations
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.session import Session

EVERY = "logging.diagnostics_every_steps=4"


def looked_at(session: Session, results: Path, *overrides: str) -> tuple[RunPlan, Diagnosis]:
    plan = tiny(EVERY, *overrides)
    run(session, plan, results)
    return plan, diagnosis.of(folder(plan, results), plan)


def engine_of(plan: RunPlan) -> Engine:
    engine = Engine(plan, EngineKey(plan.compile_key, torch.device("cpu"), torch.float32, 1, False))
    engine.renew(plan)
    return engine


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("seed=2", "horizon.num_steps=40"),
        ("seed=3", "model=d4", "horizon.device_batch_size=4"),
        ("horizon.num_steps=3",),
        ("optimizer=adamw", "horizon.num_steps=24"),
        ("optimizer=lion", "horizon.num_steps=24"),
        (*MANY_PARTS, "horizon.num_steps=24"),
        ("precision.dtype=bf16", "horizon.num_steps=24"),
        ("precision.dtype=fp16", "horizon.num_steps=24"),
    ],
    ids=" ".join,
)
def test_a_healthy_run_is_not_accused(session: Session, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    plan, found = looked_at(session, tmp_path, *overrides)
    assert found.findings == []
    is_split = plan.total_batch_size > plan.device_batch_size * plan.sequence_len
    assert any("noise scale" in line for line in found.missing) != is_split


@pytest.mark.slow
def test_diagnostics_change_no_number_and_leave_nothing_when_off(session: Session, tmp_path: Path) -> None:
    parts = ("horizon.device_batch_size=4", *MANY_PARTS[:3])
    with_them, without = tiny(EVERY, *parts), tiny(*parts)
    for plan, results in ((with_them, tmp_path / "on"), (without, tmp_path / "off")):
        run(session, plan, results)
    assert losses(with_them, tmp_path / "on") == losses(without, tmp_path / "off")
    assert not (folder(without, tmp_path / "off").path / diagnosed.FILE).exists()
    rows = diagnosed.read(folder(with_them, tmp_path / "on"))
    assert [row.step for row in rows] == [1, 4, 8, 12]
    measured = {name for row in rows for name in (*row.layers, *row.whole)}
    assert measured == {*diagnosed.LAYER_MEASURES, *diagnosed.WHOLE_MEASURES}
    off = diagnosis.of(folder(without, tmp_path / "off"), without)
    assert any("logging.diagnostics_every_steps=0" in line for line in off.missing) and not off.findings


def zeros_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = init.initialize

    def lost(model: nn.Module, *rest: Any) -> None:
        begin(model, *rest)
        with torch.no_grad():
            model.get_parameter("blocks.1.mlp.down.weight").fill_(0.01)

    monkeypatch.setattr(init, "initialize", lost)


def units_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = init.initialize

    def dead(model: nn.Module, *rest: Any) -> None:
        begin(model, *rest)
        with torch.no_grad():
            units = model.get_parameter("blocks.0.mlp.up.weight")
            units[: len(units) // 2] = 0.0

    monkeypatch.setattr(init, "initialize", dead)


def embedding_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    step = AdamWGroup.step
    monkeypatch.setattr(AdamWGroup, "step", lambda self: None if "wte.weight" in self.names else step(self))


def matrices_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    for rule in (MuonStack, LionGroup):
        monkeypatch.setattr(rule, "step", lambda self: None)


def nan_at_7(monkeypatch: pytest.MonkeyPatch) -> None:
    backward, calls = Engine.backward, iter(range(1_000))

    def broken(self: Engine, *given: Any, **named: Any) -> torch.Tensor:
        loss = backward(self, *given, **named)
        return loss * math.nan if next(calls) == 7 else loss  # the first call is the warm-up's

    monkeypatch.setattr(Engine, "backward", broken)


def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


FAULTS: list[Any] = [
    (nothing, ("optimizer.matrix.lr=0.6",), "update_too_large", "matrix.*optimizer.matrix.lr=0.6"),
    (
        nothing,
        ("optimizer=adamw", "optimizer.matrix.lr=0.03"),
        "update_too_large",
        "optimizer.matrix.lr=0.03",
    ),
    (
        nothing,
        ("optimizer=lion", "optimizer.matrix.lr=0.009"),
        "update_too_large",
        "optimizer.matrix.lr=0.009",
    ),
    (nothing, ("optimizer.x0.lr=30", "seed=2"), "weights_run_away", "x0_lambdas.*optimizer.x0.lr=30"),
    (nothing, ("optimizer.embedding.lr=9",), "update_too_large", "embedding.*optimizer.embedding.lr=9"),
    (nothing, ("optimizer.resid.lr=0.15",), "update_too_large", "resid.*optimizer.resid.lr=0.15, 30×"),
    (
        nothing,
        ("optimizer.x0.lr=30",),
        "weights_run_away",
        "x0_lambdas has grown to .* stream.*optimizer.x0.lr=30",
    ),
    (
        nothing,
        ("optimizer.value_embedding.lr=4.5",),
        "weights_run_away",
        r"value_embeds.*× the embedding.*lr=4.5",
    ),
    (
        nothing,
        ("model.bigram.table_ratio=2", "optimizer.bigram.lr=9"),
        "weights_run_away",
        r"bigram.*× the embedding.*lr=9",
    ),
    (matrices_frozen, (), "frozen", "^group matrix has gradients and does not move"),
    (matrices_frozen, ("optimizer=lion",), "frozen", "^group matrix has gradients and does not move"),
    (nothing, ("optimizer.unembedding.lr=0.96",), "diverged", "unembedding.lr=0.96, 120× the default"),
    (nothing, ("optimizer.matrix.lr=1e-7",), "update_too_small", "matrix.*too low.*1e-07"),
    (nothing, ("model.logit_softcap=0.01",), "softcap_pinned", "pinned at the softcap.*low cap"),
    (nothing, ("model.value_gate_scale=0",), "no_gradient", "group value_embedding gets no gradient"),
    (zeros_lost, (), "zero_init_lost", r"blocks\.1\.mlp\.down\.weight began at 0\.01"),
    (units_dead, (), "mlp_dead", r"50% of the MLP units of layer 0 are dead over 64 tokens"),
    (embedding_frozen, (), "frozen", r"group embedding has gradients and does not move"),
    (nan_at_7, (), "diverged", r"nan at step 7;.*optimizer\.\w+\.lr"),
]
AT_D4 = FAULTS if sample.is_full() else [item for item in FAULTS if item[0] is units_dead]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "overrides", "symptom", "words"),
    [*FAULTS, *((fault, ("model=d4", *overrides), *rest) for fault, overrides, *rest in AT_D4)],
)
def test_a_fault_is_named(
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    overrides: tuple[str, ...],
    symptom: str,
    words: str,
) -> None:
    fault(monkeypatch)
    _, found = looked_at(session, tmp_path, "horizon.num_steps=24", *overrides)
    named = {item.symptom: f"{item.said}; {item.cause}" for item in found.findings}
    assert symptom in named, named
    assert any(re.search(words, f"{item.said}; {item.cause}") for item in found.findings), named
    assert fault is not matrices_frozen or not any("blocks" in item.where for item in found.findings)


def test_only_rates_above_their_default_are_suspects() -> None:
    """Of the same rule: AdamW's and Lion's matrix rates are no part of Muon's."""

    def suspects(*overrides: str) -> list[str]:
        return Case(tiny(*overrides), None, [], []).far_rates()

    assert suspects() == [], "mini's smear rate is a tenth of the default"
    assert suspects("optimizer.matrix.lr=0.2") == ["optimizer.matrix.lr=0.2, 10× the default"]
    assert suspects("optimizer=adamw") == ["optimizer.matrix.lr=0.001"]
    assert suspects("optimizer=lion", "optimizer.resid.lr=0.5")[1:] == [
        "optimizer.resid.lr=0.5, 100× the default"
    ]


def test_a_command_says_it_in_words_and_as_json(
    session: Session, own_results_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, found = looked_at(session, own_results_dir, "optimizer.matrix.lr=0.6")
    assert main(["diagnose", plan.run_id]) == 0
    out = capsys.readouterr().out
    for finding in found.findings:
        assert f"  {finding.said}\n    usually: {finding.cause}\n" in out
    assert main(["diagnose", plan.run_id, "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert [item["symptom"] for item in entry["findings"]] == [item.symptom for item in found.findings]
    assert main(["diagnose", "nothing"]) == 2


def test_a_run_that_has_not_started_or_lost_its_rows_is_not_called_well(tmp_path: Path) -> None:
    plan = tiny(EVERY)
    found = diagnosis.of(folder(plan, tmp_path), plan)
    assert (found.state, found.findings) == ("planned", []) and "not started" in found.missing[0]


@pytest.mark.slow
def test_parameters_and_histograms_are_those_of_the_gradient(session: Session, tmp_path: Path) -> None:
    """The first step's row against gradients and weights taken here."""
    plan = tiny(EVERY)
    run(session, plan, tmp_path)
    row = diagnosed.read(folder(plan, tmp_path))[0]
    engine = engine_of(plan)
    batch = torch.from_numpy(
        session._bench.data(plan, plan.config, None)  # type: ignore[arg-type]
        .train(plan.seed, plan.total_batch_size, plan.sequence_len)
        .batch(0)
        .astype(np.int64)
    )
    engine.backward(batch[:, :-1].contiguous(), batch[:, 1:].contiguous(), 1.0)
    engine.gradients.finish()
    counts: dict[str, np.ndarray[Any, Any]] = {}
    for role, named in engine.roles.items():
        for name, parameter in named:
            grad = parameter.grad.double().numpy()
            found = row.parameters[name]
            assert found.weight == pytest.approx(np.sqrt((parameter.detach().double().numpy() ** 2).mean()))
            assert found.grad == pytest.approx(np.sqrt((grad**2).mean()), rel=1e-4)
            edges = [-np.inf, *Histogram.edges()[1:-1], np.inf]
            inside = np.histogram(np.log10(np.abs(grad[grad != 0])), edges)[0]
            counts[role] = counts.get(role, 0) + np.append(inside, (grad == 0).sum())
    for role, histogram in row.groups.items():
        assert histogram.not_finite == 0 and sum(counts[role]) == sum(histogram.counts) + histogram.zeros
        off = np.abs(counts[role] - [*histogram.counts, histogram.zeros]).sum()
        assert off <= 0.01 * sum(counts[role]) + 2, "rounding moves few across an edge"
    assert Histogram.edges()[0] == FIRST_EDGE


@pytest.mark.slow
def test_the_noise_scale_is_that_of_gradients_of_known_noise(session: Session, tmp_path: Path) -> None:
    """|G|² and tr Σ from two batch sizes, against the definition over all micro-batches of the step."""
    plan = tiny(EVERY, "horizon.device_batch_size=1")
    run(session, plan, tmp_path)
    row = diagnosed.read(folder(plan, tmp_path))[0]
    engine = engine_of(plan)
    batch = (
        session._bench.data(plan, plan.config, None)  # type: ignore[arg-type]
        .train(plan.seed, plan.total_batch_size, plan.sequence_len)
        .batch(0)
    )
    gradients = []
    for one in torch.from_numpy(batch.astype(np.int64)):
        engine.optimizer.zero_grad()
        engine.backward(one[None, :-1].contiguous(), one[None, 1:].contiguous(), 1.0)
        gradients.append(torch.cat([p.grad.double().flatten() for p in engine.model.parameters()]))
    small, large = gradients[0].square().sum(), torch.stack(gradients).mean(dim=0).square().sum()
    tokens, total = plan.sequence_len, plan.total_batch_size
    square = (total * large - tokens * small) / (total - tokens)
    trace = (small - large) / (1 / tokens - 1 / total)
    assert row.whole["gradient_square"] == pytest.approx(square.item(), rel=1e-3)
    assert row.whole["noise_trace"] == pytest.approx(trace.item(), rel=1e-3)


def test_activations_are_those_of_a_plain_pass() -> None:
    """Entropy against scipy; what is dead, pinned and how large, against the layers taken apart."""
    plan = tiny("model.head_dim=8")
    engine = engine_of(plan)
    model = engine.model
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
        model.get_parameter("blocks.1.mlp.up.weight")[:16] = 0.0
    inputs_BT = torch.randint(0, 500, (2, 64), generator=torch.Generator().manual_seed(6))
    logits_BTV = model(inputs_BT)
    layers, whole = activations.measure(model, inputs_BT)
    assert torch.equal(model(inputs_BT), logits_BTV), "no hook is left"
    pinned_BTV = logits_BTV.abs() > 0.97 * plan.config.model.logit_softcap
    assert whole["softcap_pinned"] == pytest.approx(pinned_BTV.float().mean().item())
    assert layers["mlp_dead"][1] is not None and layers["mlp_dead"][1] >= 16 / 128
    assert layers["value_gate_low"][0] is None and layers["value_gate_low"][1] is not None
    q_BHTK, k_BGTK = torch.randn(2, 2, 4, 20, 8, generator=torch.Generator().manual_seed(7)).unbind()
    for window in (20, 3):
        found = activations._entropy(q_BHTK, k_BGTK, window)
        expected = []
        for head in range(4):
            for query in torch.linspace(10, 19, 16).long().tolist():
                keys = k_BGTK[0, head, max(0, query - window) : query + 1]
                weights = (keys @ q_BHTK[0, head, query] / 8**0.5).softmax(0).numpy()
                expected.append(stats.entropy(weights) / math.log(len(weights)))
        assert found.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_page_has_every_limit_as_it_is() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "diagnostics.md").read_text()
    for name, limit in LIMITS.items():
        meaning = limit.meaning.replace("|", "\\|")
        assert f"| {name} | {limit.value:g} | {meaning} | {limit.source} |" in page
