"""Identity is content: what makes two runs the same run, the same data order, the same compiled code.

Every key is a hash of fields by their dotted names, and which of the fields is said where they are defined
(``facts.py``): there is no list of them here. A field that says nothing is inside; one that nothing reads
under the values of others is in no key. What the plan resolves (the width that depth gives, the scaled rates)
stands as what it comes out as, so that two ways of asking for the same run find each other, and a text as
what is in it (``plan/text.py``). What is measured of a trained model is in a key of its own. Code is no part:
records say which sources made them (``config/sources.py``). Floats are hashed to 12 significant digits: the
last bit of a power differs between C libraries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from typing import Any, cast

from sweepkit import fsio
from sweepkit.config.facts import Facts, Field, Identity, fields_of
from sweepkit.config.schema import RunConfig

_ID_DIGITS = 12
_AS_THEY_ARE = frozenset({int, str, bool, type(None)})
_VARIANT, _TRAINING, _EVALUATION = "variant_id", "training_id", "evaluation_key"
_PAIR, _COMPILE = "pair_key", "compile_key"


@dataclass(frozen=True)
class Keys:
    """12 hex digits each.

    Attributes:
        variant_id: names a run up to its seed.
        training_id: of the training alone: equal where runs of one seed come out alike but for rounding,
            however they are evaluated, whenever they count as diverged, however a step is cut. Whoever has
            seen one of these runs has seen the others.
        evaluation_key: names what the trained model is measured on.
        pair_key: equal for runs that see the same tokens in the same order.
        compile_key: equal for runs that one compiled program serves: shapes, dtypes, switches, traced Python
            scalars. Rates, betas, momentum, decay, schedules and the number of steps reach compiled code as
            tensors, and initial values are no code.
    """

    variant_id: str
    training_id: str
    evaluation_key: str
    pair_key: str
    compile_key: str


def run_id(depth: int, variant: str, seed: int, init_seed: int | None = None) -> str:
    """The name of a run's folder; an ``init_seed`` that is the seed, or None, is not told."""
    own_init = "" if init_seed in (None, seed) else f"-i{init_seed}"
    return f"d{depth}-{variant}-s{seed}{own_init}"


def keys(config: RunConfig, resolved: Mapping[str, Any]) -> Keys:
    """The keys of a run.

    Args:
        config: its type is the schema.
        resolved: dotted name → what it comes out as (``plan/resolution.py``).
    """

    def value_of(key: str) -> Any:
        return resolved[key] if key in resolved else attrgetter(key)(config)

    contents: dict[str, dict[str, object]] = {
        key: {} for key in (_VARIANT, _TRAINING, _EVALUATION, _PAIR, _COMPILE)
    }
    for field, get, members in _members(cast(type, type(config))):
        if not field.facts.when or field.is_read(value_of):
            for name, value in _stand_for(field, get, config, resolved):
                plain = _plain(value)
                for key in members:
                    contents[key][name] = plain
    return Keys(**{key: fsio.digest(content)[:_ID_DIGITS] for key, content in contents.items()})


def _stand_for(
    field: Field, get: attrgetter[Any], config: RunConfig, resolved: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """What stands for a field: its value, or what the plan made of it."""
    for name in (field.key, *field.facts.comes_out_as):
        if name in resolved:
            yield name, resolved[name]
    if field.facts.identity is not Identity.resolved and field.key not in resolved:
        yield field.key, get(config)


@lru_cache(maxsize=16)
def _members(schema: type) -> list[tuple[Field, attrgetter[Any], tuple[str, ...]]]:
    """Every field that is in some key, with its getter and those keys."""
    found = [
        (field, attrgetter(key), tuple(_keys_of(field.facts))) for key, field in fields_of(schema).items()
    ]
    return [item for item in found if item[-1]]


def _keys_of(facts: Facts) -> Iterator[str]:
    is_trained = facts.identity in (Identity.configured, Identity.resolved)
    if is_trained:
        yield _VARIANT
    if facts.identity is Identity.evaluation:
        yield _EVALUATION
    if is_trained and not facts.same_training:
        yield _TRAINING
    if facts.data:
        yield _PAIR
    if facts.traced:
        yield _COMPILE


def _plain(value: Any) -> Any:
    """For JSON; floats to 12 significant digits, and a whole one is the integer: 1 and 1.0 are one value."""
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, float):
        short = float(f"{value:.12g}")
        return int(short) if short.is_integer() and abs(short) < 2**53 else short
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
