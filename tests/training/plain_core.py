"""The metric of CORE written out: one item at a time, one choice at a time, loops over tokens.

Nothing here is shared with the package but the tokenizer and the model's logits.
"""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

Encode = Callable[[str], list[int]]
Logits = Callable[[Tensor], Tensor]  # [B, T] → [B, T, V]


def texts(item: dict[str, Any], kind: str, delimiter: str, shots: list[dict[str, Any]]) -> list[str]:
    shown = []
    for shot in shots:
        if kind == "multiple_choice":
            shown.append(shot["query"] + delimiter + shot["choices"][shot["gold"]])
        elif kind == "schema":
            shown.append(shot["context_options"][shot["gold"]] + delimiter + shot["continuation"])
        else:
            shown.append(shot["context"].strip() + delimiter + shot["continuation"])
    found = []
    if kind == "multiple_choice":
        for choice in item["choices"]:
            found.append("\n\n".join([*shown, item["query"] + delimiter + choice]))
    elif kind == "schema":
        for context in item["context_options"]:
            found.append("\n\n".join([*shown, context + delimiter + item["continuation"]]))
    else:
        head = "\n\n".join([*shown, item["context"].strip() + delimiter])
        found = [head.strip(), head + item["continuation"]]
    return found


def spans(kind: str, tokens: list[list[int]]) -> tuple[list[list[int]], list[int]]:
    if kind == "language_modeling":
        alone, whole = tokens
        assert whole[: len(alone)] == alone and len(alone) < len(whole)
        return [whole], [len(alone)]
    shortest = min(len(sequence) for sequence in tokens)
    same = 0
    for step in range(shortest):
        place = step if kind == "multiple_choice" else -1 - step
        if any(sequence[place] != tokens[0][place] for sequence in tokens):
            break
        same += 1
    starts = [same if kind == "multiple_choice" else len(sequence) - same for sequence in tokens]
    return tokens, starts


def is_right(
    items: list[dict[str, Any]],
    index: int,
    task: dict[str, Any],
    encode: Encode,
    bos: int,
    model: Logits,
    most: int,
) -> tuple[bool, int]:
    """Whether item ``index`` is answered rightly, and the choice."""
    kind, num_shots = task["icl_task_type"], task["num_fewshot"][0]
    others = [place for place in range(len(items)) if place != index]
    drawn = random.Random(1234 + index).sample(others, num_shots)
    prompts = texts(items[index], kind, task.get("continuation_delimiter", " "), [items[i] for i in drawn])
    tokens, starts = spans(kind, [[bos, *encode(prompt)] for prompt in prompts])
    for place, sequence in enumerate(tokens):
        if len(sequence) > most:
            starts[place] -= len(sequence) - most
            tokens[place] = sequence[-most:]
            assert starts[place] > 0
    longest = max(map(len, tokens))
    # row by row: in one batch equal choices may differ by a last bit, and are no tie then
    rows = [torch.tensor([sequence + [bos] * (longest - len(sequence))]) for sequence in tokens]
    logits = torch.cat([model(row) for row in rows])
    if kind == "language_modeling":
        wanted = range(starts[0], len(tokens[0]))
        return all(int(logits[0, place - 1].argmax()) == tokens[0][place] for place in wanted), 0
    means = []
    for row, sequence in enumerate(tokens):
        if starts[row] == 0:
            means.append(math.nan)
            continue
        losses = [
            float(-logits[row, place - 1].log_softmax(0)[sequence[place]])
            for place in range(starts[row], len(sequence))
        ]
        means.append(sum(losses) / len(losses) if losses else math.nan)
    best = means.index(min(means))
    return best == items[index]["gold"], best


def evaluate(
    folder: Path, encode: Encode, bos: int, model: Logits, most: int, max_per_task: int = -1
) -> tuple[float, dict[str, list[tuple[bool, int]]], dict[str, float]]:
    """The mean of centred accuracies; every item's outcome, and the centred accuracy, by task."""
    tasks = yaml.safe_load((folder / "core.yaml").read_text())["icl_tasks"]
    with (folder / "eval_meta_data.csv").open() as file:
        chance = {row["Eval Task"]: float(row["Random baseline"]) for row in csv.DictReader(file)}
    outcomes, centred = {}, {}
    for task in tasks:
        with (folder / "eval_data" / task["dataset_uri"]).open(encoding="utf-8") as file:
            items = [json.loads(line) for line in file]
        random.Random(1337).shuffle(items)
        if max_per_task > 0:
            items = items[:max_per_task]
        label = task["label"]
        outcomes[label] = [
            is_right(items, index, task, encode, bos, model, most) for index in range(len(items))
        ]
        accuracy = sum(right for right, _ in outcomes[label]) / len(items)
        centred[label] = (accuracy - 0.01 * chance[label]) / (1 - 0.01 * chance[label])
    return sum(centred.values()) / len(centred), outcomes, centred
