"""A trainer of somebody else's: a random-feature regression by gradient descent, in numpy alone.

    python trainer.py --depth 2 --lr 0.3 --steps 200 --seed 1 --out FOLDER

Larger depths have more features. It logs ``metrics.jsonl``, writes ``result.json``, keeps a checkpoint every
20 steps and when it is asked to stop, and goes on from it.
"""

import argparse
import json
import signal
import time
from pathlib import Path

import numpy as np

EVERY = 20

parser = argparse.ArgumentParser()
parser.add_argument("--depth", type=int, default=2)
parser.add_argument("--lr", type=float, default=0.3)
parser.add_argument("--momentum", type=float, default=0.0)
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--pause-s", type=float, default=0.0, help="after every step")
parser.add_argument("--out", type=Path, required=True)
given = parser.parse_args()

stopped = []
signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))

truth = np.random.default_rng(0).normal(size=(16, 32 * given.depth))  # the task is one for all seeds
goal = np.random.default_rng(1).normal(size=32 * given.depth)
order = np.random.default_rng(given.seed)  # a seed is a data order, the same for all settings


def batch(generator, size):
    x = generator.normal(size=(size, 16))
    features = np.tanh(x @ truth)
    return features, features @ goal / np.sqrt(goal.size)


held_out = batch(np.random.default_rng(2), 512)
weights, speed, step = np.zeros_like(goal), np.zeros_like(goal), 0
checkpoint = given.out / "checkpoint.npz"
if checkpoint.exists():
    kept = np.load(checkpoint)
    weights, speed, step = kept["weights"], kept["speed"], int(kept["step"])
    print(f"resumed after step {step}")
for _ in range(step):
    batch(order, 64)  # the order goes on where it was


def save():
    part = given.out / "part.npz"
    np.savez(part, weights=weights, speed=speed, step=step)
    part.replace(checkpoint)


def loss_of(features, labels):
    return float(np.mean((features @ weights / np.sqrt(goal.size) - labels) ** 2))


started = time.monotonic()
with (given.out / "metrics.jsonl").open("a") as curve:
    while step < given.steps and not stopped:
        features, labels = batch(order, 64)
        loss = loss_of(features, labels)
        error = features @ weights / np.sqrt(goal.size) - labels
        gradient = 2 * features.T @ error / len(labels)
        speed = given.momentum * speed + gradient
        weights = weights - given.lr * speed
        step += 1
        if step % EVERY == 0 or step == given.steps:
            row = {"step": step, "train_loss": loss, "val_loss": loss_of(*held_out)}
            print(json.dumps(row), file=curve, flush=True)
            save()
        time.sleep(given.pause_s)
save()
if stopped and step < given.steps:
    raise SystemExit(f"stopped after step {step}")
val_loss = loss_of(*held_out)
print(f"val loss: {val_loss:.6f}")
result = {"val_loss": val_loss, "steps": step, "seconds": time.monotonic() - started}
(given.out / "result.json").write_text(json.dumps(result))
