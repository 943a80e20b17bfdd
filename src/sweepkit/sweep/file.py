"""A sweep file: one question, its axes and levels, and how it will be decided.

    question: Does x0_beta1 above 0.8 help, and does it still help at target scale?
    base: [experiment=baseline]
    axes:
      x0_beta1: {b80: [optimizer.x0.beta1=0.80], b96: [optimizer.x0.beta1=0.96]}   # long form
      optimizer.matrix.lr: [0.02, 0.025]                                           # short form
      norm: {dyt: {code: ideas/dyt.patch}, mine: {code: origin/mine, overrides: [...]}}       # code_levels.py
    reference: {x0_beta1: b80}   # an axis without one has an implicit reference: no overrides
    combine: 1                   # 1: one axis at a time; 2: all pairs too; [3, 4]: by threes and fours alone;
                                 # all: the full product
    seeds: [1, 2, 3]
    decision: {metric: val_bpb, alpha: 0.05, min_effect: 0.0003}
    ladder: gpt2                 # left out: every run at the depth that base sets
    reference_horizons: [0.5, 2] # the reference at these multiples too; left out: as the ladder says
    reference_replicates: auto   # its runs a seed: a number, or √variants; left out: as the ladder says
    tune: {optimizer.matrix.lr: [0.5x, 2x]}  # every variant takes its best first (tuning.py)
    search: {space: {...}}       # instead of axes or beside them: Optuna proposes points (search_spec.py)

With ``command`` its runs are those of any trainer, and axes and rungs set its parameters (command_runs.py):

    command: [python, train.py, --lr, "{lr}", --seed, "{seed}", --out, "{run_dir}"]
    params: {lr: 0.02}                       # the reference
    metric: {name: val_bpb, read: result.json}

A level may be a multiple of what the reference has (``optimizer.matrix.lr: [0.5x, 2x]``, relative.py). A
round of a campaign also says ``after:`` and may take its axes from rounds before it (``moved:``, campaign/).

``load`` looks for NAME.yaml in ./sweeps, then among the shipped ones; a path is taken as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]

from sweepkit import errors
from sweepkit.code.planner import Trees
from sweepkit.config import paths, typed, yaml_words
from sweepkit.config.facts import REQUIRED, block, fact, spelled
from sweepkit.config.ranges import Range, at_least
from sweepkit.plan.command_plan import MetricRead, Value
from sweepkit.sweep import command_keys, labels, set_fields, sizes_of_budgets
from sweepkit.sweep import decision as deciding
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.search_spec import SearchSpec

#: ``combine: all``, the full product.
ALL: Literal["all"] = "all"
#: ``seeds: auto``, as many as the power asks for; ``reference_replicates: auto``, the root of the variants.
AUTO = "auto"
_MAX_REPLICATES = 32
_MAX_NAME_LENGTH = 128  # a file system takes 255 bytes, and files are named after it
_RESERVED = frozenset({"runs", "all"})  # results/runs holds the run directories, "all" means every run
NAME = Range(
    lambda name: labels.is_name(name) and name not in _RESERVED and len(name) <= _MAX_NAME_LENGTH,
    f"be at most {_MAX_NAME_LENGTH} letters, digits and _ . + - (and not 'runs' or 'all')",
    "rename the sweep file",
)
_SEEDS = Range(
    lambda seeds: len(set(seeds)) == len(seeds) and all(seed >= 0 for seed in seeds),
    "be a list of whole numbers, 0 or more, that holds every seed once",
    "write [1, 2, 3]",
)
_SIZES = Range(
    lambda given: not isinstance(given, tuple) or (list(given) == sorted({*given}) != [] and given[0] >= 1),
    "be 1, 2, all, or growing numbers of axes",
    "write [3, 4]",
)
MULTIPLES = Range(
    lambda given: len(set(given)) == len(given) and all(0 < item <= 16 and item != 1 for item in given),
    "be a list of distinct multiples of the horizon, above 0, at most 16 and not 1",
    "write [0.5, 2], or [] for none",
)
REPLICATES = Range(
    lambda given: given == AUTO or 1 <= given <= _MAX_REPLICATES,
    f"be auto or a whole number from 1 to {_MAX_REPLICATES}, of the reference's runs a seed",
    "leave it out for the ladder's, which is 1 unless it says more",
)


def _seeds(value: Any) -> Any:
    """``auto`` is none, until the noise has decided."""
    return () if value == AUTO else value


def _long_form(value: Any) -> Any:
    """Axes whose levels are a list of values, with a level and its override for each."""
    if not isinstance(value, Mapping):
        return {} if value is None else value
    return {axis: _levels(f"axes.{axis}", axis, given) for axis, given in value.items()}


def _levels(where: str, axis: object, given: Any) -> Mapping[Any, Any]:
    if not isinstance(given, list | Mapping) or not given:
        raise errors.invalid(
            where, given, "be a list of values or map level names to overrides", "write [0.02, 0.03]"
        )
    if isinstance(given, Mapping):
        return {level: _with_code(f"{where}.{level}", item) for level, item in given.items()}
    if any(isinstance(value, Mapping) for value in given):
        raise errors.invalid(
            where, given, "hold plain values in the short form", "use {level: [overrides]} instead"
        )
    texts = [spelled(value) for value in given]
    names = [_name(text) for text in texts]
    for name in names:
        if names.count(name) > 1:
            raise errors.invalid(where, given, f"hold {name} only once", "delete one, or name the levels")
    return {name: (f"{axis}={text}",) for name, text in zip(names, texts, strict=True)}


def _with_code(where: str, given: Any) -> Any:
    """``{code: REF, overrides: [...]}`` as the overrides that it is."""
    if not isinstance(given, Mapping):
        return given
    code, overrides = given.get("code"), given.get("overrides") or []
    if set(given) - {"code", "overrides"} or not isinstance(code, str) or not isinstance(overrides, list):
        contract = "be a list of overrides, or name code with what it sets beside"
        raise errors.invalid(where, given, contract, "write {code: '4803e27', overrides: [...]}, in quotes")
    return [f"code='{code}'" if "'" not in code else f'code="{code}"', *overrides]


def _values(value: Any) -> Any:
    """Fields whose values are a list, as they are spelled."""
    if not isinstance(value, Mapping):
        return {} if value is None else value
    return {name: _spelled_list(f"tune.{name}", given) for name, given in value.items()}


def _spelled_list(where: str, given: Any) -> list[str]:
    if not isinstance(given, list) or not given or any(isinstance(item, Mapping | list) for item in given):
        raise errors.invalid(where, given, "be a list of values", "write [0.5x, 2x]")
    return [spelled(item) for item in given]


def _name(text: str) -> str:
    """Of a level: a value, or what can be read in a column of it (``lr/hot``, ``${optimizer.x0.lr}``)."""
    return text if labels.is_level(text) else labels.cleaned(text)


def _spelled(value: Any) -> Any:
    """Levels by the names that the short form gives them."""
    if not isinstance(value, Mapping):
        return value
    return {
        axis: level if isinstance(level, Mapping) else _name(spelled(level)) for axis, level in value.items()
    }


@dataclass(frozen=True)
class SweepFile:
    """The typed content of a sweep file, long form."""

    name: str = fact(REQUIRED, "of the sweep and its folder: that of its file", NAME)
    question: str = fact("", "what the sweep is to answer, in a sentence")
    base: tuple[str, ...] = fact((), "overrides of every run", example="[experiment=baseline]")
    axes: dict[str, dict[str, tuple[str, ...]]] = fact(
        {}, "axis → level → its overrides, or a field → a list of its values", read=_long_form
    )
    reference: dict[str, str] = fact(
        {}, "axis → the level the reference has; an axis left out has an implicit one", read=_spelled
    )
    combine: Literal[1, 2, "all"] | tuple[int, ...] = fact(
        1,
        "how many axes may differ from the reference at once; a list: exactly so many; all: the full product",
        _SIZES,
    )
    seeds: tuple[int, ...] = fact(
        (1,),
        "replicates of every variant, paired across variants; auto: as many as the last rung needs",
        _SEEDS,
        read=_seeds,
    )
    decision: DecisionRule = block(DecisionRule, "how it is decided", read=deciding.as_written)
    ladder: str | dict[str, dict[str, Value]] | None = fact(
        None,
        "a choice of the ladder group; left out: every run at the depth that base sets. Of command: rung → "
        "its parameters, lowest first",
        example="gpt2",
        read=lambda value: None if value == "none" else value,
    )
    isoflop: sizes_of_budgets.IsoflopSpec | None = fact(None, "budgets × sizes, as the levels of an axis")
    search: SearchSpec | None = fact(None, "what Optuna searches, instead of axes or beside them")
    reference_horizons: tuple[float, ...] | None = fact(
        None, "the reference runs at these multiples of a rung's horizon too; null: the ladder's", MULTIPLES
    )
    reference_replicates: int | Literal["auto"] | None = fact(
        None,
        "runs of the reference a seed; auto: about the root of the variants; null: the ladder's",
        REPLICATES,
    )
    command: tuple[str, ...] = fact(
        (),
        "any trainer instead of this package's: its words, with parameters, {seed} and {run_dir} in braces",
        example="[python, train.py, --lr, '{lr}', --seed, '{seed}', --out, '{run_dir}']",
    )
    params: dict[str, Value] = fact({}, "of command: its parameters, as the reference has them")
    metric: MetricRead | None = fact(None, "of command: what its runs are compared by, and where it says it")
    folder: str = fact(".", "of command: where it is started; the files of its program are digested")
    inputs: tuple[str, ...] = fact((), "of command: files and folders that decide a number too; digested")
    resume: bool = fact(False, "of command: started again, it goes on from what it left in {run_dir}")
    seeds_mean: Literal["shared", "independent"] = fact(
        "shared",
        "of command: whether a seed is one data order for all variants; written as seeds: shared or "
        "independent, or seeds: {independent: [1, 2, 3]}",
    )
    tune: dict[str, tuple[str, ...]] = fact(
        {},
        "field → values or multiples that every variant, the reference too, tries beside its own on "
        "selection seeds of the lowest rung, before it is compared with its best",
        example="{optimizer.matrix.lr: [0.5x, 2x]}",
        read=_values,
    )
    tune_seeds: int = fact(2, "selection seeds of tune, behind those that the rungs use", at_least(1))
    tuned: dict[str, tuple[str, ...]] = fact(
        {}, "variant → what it sets beside its levels; found by tune and frozen, or by hand"
    )
    after: tuple[str, ...] = fact(
        (),
        "of a round: the rounds of its campaign whose verdicts it builds on",
        read=lambda value: (value,) if isinstance(value, str) else value,
    )
    moved: int | None = fact(
        None,
        "of a round: instead of axes, so many levels of those rounds, the largest shrunken gains first",
        at_least(2),
    )
    replaced_seeds: Mapping[int, int] = fact(
        {}, "seed → the fresh one in its place, which freezing finds", is_written=False
    )
    trees: Trees | None = fact(None, "the frozen code of its levels", is_written=False)
    is_typed: bool = fact(False, "it was typed behind -m, and there is no file", is_written=False)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SweepFile:
        """A sweep from the content of its file plus ``name``; checks every key, type and reference.

        Raises:
            ConfigError: names the key, what it is, what it must be and what to do.
        """
        value = command_keys.as_written(value)
        is_empty = not value.get("axes") and not value.get("search") and value.get("moved") is None
        if is_empty and set(value) <= set(cls.__dataclass_fields__):  # else a key that is no key says more
            raise errors.invalid(
                "axes",
                value.get("axes"),
                "name at least one axis",
                "add one, as optimizer.matrix.lr: [0.02, 0.03]",
            )
        if value.get("seeds") == []:
            raise errors.invalid("seeds", [], "hold a seed", "write [1, 2, 3], or auto")
        return typed.load(cls, value, is_referenced=True)

    def __post_init__(self) -> None:
        set_fields.check("base", self.base)
        for axis, levels in self.axes.items():
            labels.check(f"axes.{axis}", axis, "axis")
            for level, overrides in levels.items():
                labels.check(f"axes.{axis}", level, "level")
                set_fields.check(f"axes.{axis}.{level}", overrides)
        if self.tune and self.search:
            contract = "be left out where points are searched, which tunes the fields of its space"
            raise errors.invalid("tune", dict(self.tune), contract, "add these fields to search.space")
        for variant, overrides in self.tuned.items():
            set_fields.check(f"tuned.{variant}", overrides)
        for axis, level in self.reference.items():
            known = self.axes.get(axis)
            if known is None:
                raise errors.invalid("reference", axis, "name an axis", errors.did_you_mean(axis, self.axes))
            if level not in known:
                raise errors.invalid(
                    f"reference.{axis}", level, "name a level of that axis", errors.did_you_mean(level, known)
                )


def load(name_or_path: str | Path) -> SweepFile:
    """Read and check one sweep file.

    Args:
        name_or_path: a name, looked up as ``./sweeps/NAME.yaml`` and then among the shipped sweeps; or a
            path ending in .yaml.

    Raises:
        ConfigError: there is none of that name, it is not YAML, or its content breaks the contract.
    """
    path = find(str(name_or_path))
    try:
        content = yaml_words.read(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise errors.invalid(
            "sweep file", str(path), f"be valid YAML ({detail})", "correct that line"
        ) from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise errors.invalid("sweep file", str(path), "map keys to values", "start from a shipped sweep file")
    if "name" in content:
        raise errors.invalid(
            "name", content["name"], "be left out", "a sweep is named by its file; rename the file instead"
        )
    if content.get("tune") and content.get("tuned"):
        contract = "be left out beside tune, which finds it"
        raise errors.invalid("tuned", content["tuned"], contract, "put it into the levels, or leave out tune")
    return SweepFile.from_json(sizes_of_budgets.expanded(content) | {"name": path.stem})


def find(name_or_path: str) -> Path:
    """The file of a sweep. Raises ConfigError with a list of what there is."""
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if path.is_file():
            return path
    else:
        for folder in _folders():
            path = folder / f"{name_or_path}.yaml"
            if path.is_file():
                return path
    remedy = errors.did_you_mean(name_or_path, available()) if available() else "write one first"
    if (paths.results_dir() / name_or_path / "frozen.json").is_file():  # of train -m, or its file is gone
        remedy = f"sweepkit resume {name_or_path} goes on with the one in {paths.results_dir()}"
    where = " or ".join(str(folder) for folder in _folders())
    raise errors.invalid("sweep", name_or_path, f"be a file or a sweep in {where}", remedy)


def available() -> list[str]:
    """Names of the sweeps that ``load`` would find."""
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml") if path.is_file()})


def how_to_start(name: str, started: Collection[str]) -> str:
    """The remedy where a sweep was named that was not started: what runs it, or which one was meant.

    Args:
        started: names of sweeps that were.
    """
    elsewhere = "or name another results folder in SWEEPKIT_RESULTS_DIR"
    if name in available():
        return f"sweepkit promote {name} runs it (sweepkit sweep {name}: its first rung alone), {elsewhere}"
    if started:
        return errors.did_you_mean(name, started)
    return f"none was started yet: sweepkit sweep NAME starts one, {elsewhere}"


def _folders() -> tuple[Path, Path]:
    return Path("sweeps"), paths.sweeps_dir()
