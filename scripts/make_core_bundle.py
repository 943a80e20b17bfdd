"""Make the evaluation bundle that ships inside the package: items of our own over the embedded text.

    python scripts/make_core_bundle.py
    python scripts/make_core_bundle.py --split probe --into sweeps/findings/neutral_items

Three tasks, one of each kind, over sentences of the first 64 KiB of the validation text, without its
encyclopedia (whose licence is its own): nobody trains on them, and no last rung holds that part back. An
ending to be told from three of other sentences (``endings``), the beginning that an ending follows from
(``beginnings``), the word that comes next (``next_word``). Everything is a function of the embedded corpus.
The second line asks the same of the probe, a text of none of the sources: what datasets are compared by.

Writes ``src/sweepkit/data/core``, laid out as bundles are (docs/core.md).
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sweepkit.data import embedded

OUTPUT = Path(__file__).resolve().parents[1] / "src" / "sweepkit" / "data" / "core"
TEXT_BYTES = 65_536
NUM_ITEMS = 80
ENDING_WORDS, SHORTEST, LONGEST = 4, 9, 45  # words of an ending; of a sentence
SEED = 20_261_130
#: Words that small models learn first; others would be right for none of them.
NEXT = ("the", "of", "and", "to", "a", "in", "his", "that", "with", "be")
TASKS = """\
# Items of sweepkit's own over its embedded text (scripts/make_core_bundle.py), for tests and demonstrations.
# None of these tasks is one of CORE's.
icl_tasks:
- label: endings
  dataset_uri: endings.jsonl
  num_fewshot: [0]
  icl_task_type: multiple_choice
  continuation_delimiter: " "
- label: beginnings
  dataset_uri: beginnings.jsonl
  num_fewshot: [0]
  icl_task_type: schema
  continuation_delimiter: " "
- label: next_word
  dataset_uri: next_word.jsonl
  num_fewshot: [1]
  icl_task_type: language_modeling
  continuation_delimiter: " "
"""
CHANCE = "Eval Task,Random baseline\nendings,25\nbeginnings,50\nnext_word,0\n"


def sentences(split: str) -> list[list[str]]:
    """The words of every sentence that is neither short nor long, in the order of the text."""
    encyclopedia = set(
        pq.read_table(embedded.CORPUS / "encyclopedia.parquet", columns=["text"]).column("text").to_pylist()
    )
    found: list[list[str]] = []
    num_bytes = 0
    for batch in embedded.files(split, ())[0].batches():
        for text in batch:
            num_bytes += len(text.encode())
            if num_bytes > TEXT_BYTES:
                return found
            if text not in encyclopedia:
                flat = " ".join(text.split())
                found += [sentence.split() for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z\"])", flat)]
    return found


def chosen(every: Iterable[list[str]]) -> list[list[str]]:
    """Those of a plain sentence's length, each once."""
    fitting = {" ".join(words): words for words in every if SHORTEST <= len(words) <= LONGEST}
    return [words for words in fitting.values() if words[-1][-1] in ".!?"]


def endings(every: list[list[str]], rng: random.Random) -> list[dict[str, Any]]:
    items = []
    for words in rng.sample(every, NUM_ITEMS):
        others = rng.sample([other for other in every if other is not words], 3)
        choices = [" ".join(other[-ENDING_WORDS:]) for other in others]
        gold = rng.randrange(4)
        choices.insert(gold, " ".join(words[-ENDING_WORDS:]))
        items.append({"query": " ".join(words[:-ENDING_WORDS]), "choices": choices, "gold": gold})
    return items


def beginnings(every: list[list[str]], rng: random.Random) -> list[dict[str, Any]]:
    items = []
    for words in rng.sample(every, NUM_ITEMS):
        other = rng.choice([other for other in every if other is not words])
        contexts = [" ".join(each[:-ENDING_WORDS]) for each in (words, other)]
        gold = rng.randrange(2)
        items.append(
            {
                "context_options": contexts if gold == 0 else contexts[::-1],
                "continuation": " ".join(words[-ENDING_WORDS:]),
                "gold": gold,
            }
        )
    return items


def next_words(every: list[list[str]], rng: random.Random) -> list[dict[str, Any]]:
    places = [(words, place) for words in every for place in range(5, len(words) - 1) if words[place] in NEXT]
    return [
        {"context": " ".join(words[:place]), "continuation": words[place]}
        for words, place in rng.sample(places, NUM_ITEMS)
    ]


def main() -> None:
    """Write the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=("validation", "probe"), default="validation")
    parser.add_argument("--into", type=Path, default=OUTPUT, metavar="DIR")
    args = parser.parse_args()
    for name, text in files(args.split).items():
        path = args.into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"{NUM_ITEMS} items a task in {args.into}")


def files(split: str) -> dict[str, str]:
    """What a bundle over the text of a split consists of: name → content."""
    every, rng = chosen(sentences(split)), random.Random(SEED)
    found = {"core.yaml": TASKS, "eval_meta_data.csv": CHANCE}
    for name, make in (("endings", endings), ("beginnings", beginnings), ("next_word", next_words)):
        lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in make(every, rng)]
        found[f"eval_data/{name}.jsonl"] = "".join(lines)
    return found


if __name__ == "__main__":
    main()
