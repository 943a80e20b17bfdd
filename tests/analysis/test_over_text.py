"""Effects over documents: against a jackknife, a bootstrap, loops, and documents planted to carry one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from sweepkit.analysis import gain_by_document, over_text
from sweepkit.analysis.effects import Effect
from sweepkit.results.document_losses import Classes, DocumentLosses, ScoredText, blocks

LN2 = math.log(2)


def made_up(
    rng: np.random.Generator, num_docs: int = 60, tokenizer: str = "t", kinds: int = 3
) -> tuple[ScoredText, np.ndarray]:
    """A text, and how hard each of its documents is, in nats a byte."""
    sizes = rng.lognormal(7, 1, num_docs).astype(np.int64) + 10
    share = rng.dirichlet(np.ones(kinds), num_docs)
    by_kind = np.floor(share * sizes[:, None]).astype(np.int64)
    by_kind[:, -1] += sizes - by_kind.sum(axis=1)
    classes = {"kind": Classes([f"k{place}" for place in range(kinds)], by_kind)}
    source = rng.integers(0, 2, num_docs).astype(np.uint8)
    text = ScoredText("f", tokenizer, ["a", "b"], source, sizes, sizes, classes)
    return text, rng.normal(1.0, 0.1, num_docs)


def run_of(text: ScoredText, rate: np.ndarray) -> DocumentLosses:
    nats_GC = rate[:, None] * text.classes["kind"].bytes_GC
    return DocumentLosses(text, nats_GC.sum(axis=1), {"kind": nats_GC})


def test_the_error_over_text_is_the_jackknifes_and_the_bootstraps() -> None:
    rng = np.random.default_rng(1)
    text, _ = made_up(rng, 200)
    nats = rng.normal(-0.01, 0.05, 200) * text.bytes_N
    size = text.bytes_N.astype(np.float64)
    (effect,), (se,) = over_text.ratio(nats[:, None], size[:, None])
    assert effect == pytest.approx(nats.sum() / size.sum() / LN2)
    without = [(nats.sum() - n) / (size.sum() - b) / LN2 for n, b in zip(nats, size, strict=True)]
    jackknife = math.sqrt(199 / 200 * float(((np.array(without) - np.mean(without)) ** 2).sum()))
    assert se == pytest.approx(jackknife, rel=0.05)
    drawn = stats.bootstrap(
        (nats, size),
        lambda n, b, axis: n.sum(axis=axis) / b.sum(axis=axis) / LN2,
        paired=True, vectorized=True, n_resamples=2_000, random_state=2, method="basic",
    )  # fmt: skip
    assert se == pytest.approx(float(drawn.standard_error), rel=0.1)


def test_intervals_over_seeds_and_text_cover_as_they_say() -> None:
    """Documents and seeds are drawn anew; the truth is the mean over all documents that could be drawn."""
    rng, hits, worlds = np.random.default_rng(3), 0, 400
    for _ in range(worlds):
        num_docs, num_seeds, truth = 80, 4, -0.02
        size = rng.lognormal(7, 0.5, num_docs)
        of_doc, of_seed = rng.normal(0, 0.05, num_docs), rng.normal(0, 0.004, num_seeds)
        nats_SN = (
            truth * LN2 + of_doc + of_seed[:, None] + rng.normal(0, 0.02, (num_seeds, num_docs))
        ) * size
        seeds_S = nats_SN.sum(axis=1) / size.sum() / LN2
        effect_C, se_C = over_text.ratio(nats_SN.mean(axis=0)[:, None], size[:, None])
        of_seeds = (float(seeds_S.std(ddof=1)) / math.sqrt(num_seeds), num_seeds - 1.0)
        found = over_text.both(float(effect_C[0]), of_seeds, (float(se_C[0]), num_docs - 1.0), 0.9)
        assert found is not None
        hits += found.low <= truth <= found.high
    assert stats.binomtest(hits, worlds, 0.9, alternative="less").pvalue > 0.01
    assert hits < worlds


def plainly_fewest(nats: np.ndarray, size: np.ndarray) -> tuple[int, float] | None:
    """The best choice among all sets of documents: how many have to go, and what is left."""
    effect = nats.sum() / size.sum()
    for number in range(1, len(nats)):
        best = min(
            (1 if effect > 0 else -1)
            * (nats.sum() - nats[list(gone)].sum())
            / (size.sum() - size[list(gone)].sum())
            for gone in itertools.combinations(range(len(nats)), number)
        )
        if best <= 0.5 * abs(effect):
            return number, math.copysign(1, effect) * best / LN2
    return None


def test_the_fewest_documents_are_those_that_a_search_over_all_sets_finds() -> None:
    rng, compared = np.random.default_rng(4), 0
    for sign in (1, -1) * 10:
        size = rng.lognormal(5, 0.3, 9)
        nats = sign * rng.normal(0.05, 0.2, 9) * size
        expected, found = plainly_fewest(nats, size), over_text.fewest(nats, size)
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert found.documents == expected[0]
            assert found.left == pytest.approx(expected[1]) or found.documents > 1
            compared += 1
    assert compared > 10
    assert over_text.fewest(np.zeros(5), np.ones(5)) is None
    assert over_text.fewest(np.ones(1), np.ones(1)) is None


def test_a_planted_effect_of_one_document_is_told_and_one_of_all_is_not() -> None:
    rng = np.random.default_rng(5)
    size = np.full(150, 1_000.0)
    everywhere = -5.0 + rng.normal(0, 1, 150)
    assert over_text.fewest(everywhere, size) is None or not over_text.fewest(everywhere, size).are_few  # type: ignore[union-attr]
    planted = rng.normal(0, 0.1, 150)
    planted[17] = -200.0
    found = over_text.fewest(planted, size)
    assert found is not None and found.are_few and found.documents == 1
    assert found.left == pytest.approx((planted.sum() + 200) / (size.sum() - 1_000) / LN2)
    assert found.bytes_frac == pytest.approx(1 / 150)
    planted[18:40] = -200.0
    assert not over_text.fewest(planted, size).are_few  # type: ignore[union-attr]


def test_parts_sum_to_the_effect_and_each_is_its_own_ratio() -> None:
    rng = np.random.default_rng(6)
    text, hard = made_up(rng)
    pairs = [
        (run_of(text, hard - 0.01 + rng.normal(0, 0.01, 60)), run_of(text, hard + rng.normal(0, 0.01, 60)))
        for _ in range(3)
    ]
    seeds = Effect("v", 3, -0.014, 0.001, 2.0, None, None, 0.9, None, None, "pooled")
    whole = gain_by_document.gain(pairs, seeds, 0.9)
    plain = [(own.nats_N.sum() - base.nats_N.sum()) / (LN2 * text.bytes_N.sum()) for own, base in pairs]
    assert whole.effect == pytest.approx(np.mean(plain), abs=1e-12) and (whole.n, whole.documents) == (3, 60)
    assert whole.text is not None and whole.seeds is not None and whole.both is not None
    widths = [it.high - it.low for it in (whole.text, whole.seeds, whole.both)]
    assert widths[2] > widths[0] and whole.both.se == pytest.approx(math.hypot(whole.text.se, 0.001))
    found = gain_by_document.parts(pairs)
    assert list(dict.fromkeys(part.by for part in found)) == ["source", "length", "kind"]
    for by in ("source", "length", "kind"):
        of_it = [part for part in found if part.by == by]
        assert sum(part.adds for part in of_it) == pytest.approx(whole.effect, abs=1e-12)
        assert sum(part.bytes_frac for part in of_it) == pytest.approx(1)
    (of_b,) = (part for part in found if (part.by, part.part) == ("source", "b"))
    is_b = text.source_N == 1
    by_pair = [
        (own.nats_N[is_b].sum() - base.nats_N[is_b].sum()) / (LN2 * text.bytes_N[is_b].sum())
        for own, base in pairs
    ]
    assert of_b.effect == pytest.approx(np.mean(by_pair))
    assert of_b.se_seeds == pytest.approx(stats.sem(by_pair))
    other, _ = made_up(rng, tokenizer="another")
    mixed = [(pairs[0][0], run_of(ScoredText(**{**vars(text), "tokenizer": "another"}), hard))]
    assert {part.by for part in gain_by_document.parts(mixed)} == {"source", "length"}
    assert other.tokenizer != text.tokenizer


def test_noise_of_other_runs_and_documents_that_nobody_scored_count_nothing() -> None:
    text, hard = made_up(np.random.default_rng(7))
    seeds = Effect("v", 3, -0.014, 0.001, 2.0, None, None, 0.9, None, None, "pooled")
    pair = (run_of(text, hard), run_of(text, hard + 0.1))
    alone = gain_by_document.gain([pair], seeds, 0.9)
    assert alone.seeds is None and alone.both is None, "two of three runs have no losses by document"
    none = np.zeros((40, 3), dtype=np.int64)
    blank = Classes(text.classes["kind"].names, np.concatenate([text.classes["kind"].bytes_GC, none]))
    sizes, sources = (np.concatenate([column, none[:, 0]]) for column in (text.bytes_N, text.source_N))
    longer = ScoredText("f", "t", ["a", "b"], sources, sizes, sizes, {"kind": blank})
    rate = np.concatenate([hard, np.ones(40)])
    assert gain_by_document.gain([(run_of(longer, rate), run_of(longer, rate + 0.1))], None, 0.9) == alone


def test_one_run_has_no_interval_over_seeds_and_one_document_none_over_text() -> None:
    text, hard = made_up(np.random.default_rng(7))
    alone = gain_by_document.gain([(run_of(text, hard), run_of(text, hard + 0.1))], None, 0.9)
    assert alone.seeds is None and alone.both is None and alone.text is not None
    text, hard = made_up(np.random.default_rng(7), num_docs=1)
    single = gain_by_document.gain([(run_of(text, hard), run_of(text, hard + 0.1))], None, 0.9)
    assert single.text is None and single.fewest is None
    assert all(
        part.se_text is None for part in gain_by_document.parts([(run_of(text, hard), run_of(text, hard))])
    )


def test_blocks_are_neighbours_of_about_equal_numbers() -> None:
    for num in (1, 5, 256, 257, 1_000):
        found = blocks(num)
        sizes = np.bincount(found)
        assert len(found) == num and (np.diff(found) >= 0).all() and len(sizes) == min(num, 256)
        assert sizes.max() - sizes.min() <= 1
