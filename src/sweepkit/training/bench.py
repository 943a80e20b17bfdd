"""What a session keeps between runs: one engine, compiled, and the data that most of its runs share.

The engine (model, optimizer, compiled code) stays while the compile key does. Only one is held: when another
shape is asked for, the compiler's memory is emptied too, so that no run depends on what ran before; compiled
code comes back from the cache folder on disk, which all workers share.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch

from sweepkit.config.choices import AttentionBackend
from sweepkit.config.schema import RunConfig
from sweepkit.data.prepare import PreparedData, prepare
from sweepkit.distributed.ranks import Ranks
from sweepkit.model import attend
from sweepkit.plan import text
from sweepkit.plan.run_plan import RunPlan
from sweepkit.precision.policy import Precision, refuse_slow_fp8, resolve
from sweepkit.training import compile_lock, failure
from sweepkit.training import device as devices
from sweepkit.training.engine import Engine, EngineKey, cannot_compile, is_compile_error
from sweepkit.training.journal import Journal


@dataclass(frozen=True)
class Chosen:
    """What the node makes of a plan."""

    device: torch.device
    precision: Precision
    attention: AttentionBackend
    attention_reason: str

    @classmethod
    def of(cls, plan: RunPlan, config: RunConfig, ranks: Ranks) -> Chosen:
        """Raises ConfigError where the node cannot do what the plan asks for."""
        device = devices.choose(config.trainer.device, ranks)
        precision = resolve(config.precision, device)
        dtype, head_dim = precision.compute_dtype, plan.head_dim
        return cls(device, precision, *attend.choose(config.trainer.attention, device, dtype, head_dim))


class Bench:
    """Engine and data; see the module's docstring."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        compile_lock.use_folder()
        self.engine: Engine | None = None
        self._is_warm = False  # has compiled what training takes, not evaluation alone
        self._no_compile: str | None = None  # why compiling failed in this process
        self._data: tuple[str, PreparedData] | None = None

    def forget(self) -> None:
        """Drop the engine and its memory."""
        compiled = self.engine is not None and self.engine.key.compile
        self.engine = None
        if compiled:  # imports the compiler, which takes a second
            torch.compiler.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def data(self, plan: RunPlan, config: RunConfig, journal: Journal) -> PreparedData:
        """The data of ``config``; the last one is kept, most runs of a session share it.

        Raises:
            DataError: the text is not the one that the plan is named by.
        """
        text.check(plan)
        key = text.recipe(plan)
        if self._data is None or self._data[0] != key:
            self._data = None
            journal.progress("preparing data", force=True)
            self._data = key, prepare(config)
        return self._data[1]

    def no_compile_reason(self, config: RunConfig, device: torch.device) -> str | None:
        if not config.trainer.compile:
            return "trainer.compile=false"
        return self._no_compile or cannot_compile(device)

    def ready_engine(
        self,
        plan: RunPlan,
        config: RunConfig,
        chosen: Chosen,
        journal: Journal,
        should_stop: Callable[[], bool],
        trains: bool = True,
    ) -> Engine:
        """An engine that has compiled all it will need; eager where compiling does not work.

        Args:
            trains: False where it is to evaluate alone.
        """
        no_compile = self.no_compile_reason(config, chosen.device)
        refuse_slow_fp8(chosen.precision, config.precision.fp8, no_compile)
        use = no_compile is None
        key = EngineKey(
            plan.compile_key,
            chosen.device,
            chosen.precision.compute_dtype,
            torch.get_num_threads(),
            use,
            chosen.precision.fp8,
            chosen.attention,
        )
        if self.engine is not None and self.engine.key == key and (self._is_warm or not trains):
            return self.engine
        self.forget()
        journal.progress("compiling" if use else "starting", force=True)
        engine = Engine(plan, key, self._ranks)
        try:
            # One rank that stopped here would leave the others waiting.
            with compile_lock.compiling(key, should_stop if self._ranks.size == 1 else lambda: False):
                if trains:
                    engine.warm_up(plan)
                else:
                    engine.warm_up_evaluation(plan)
        except Exception as error:
            if not use or failure.is_out_of_memory(error) or not is_compile_error(error):
                raise
            self._no_compile = f"torch.compile failed: {type(error).__name__}: {str(error).splitlines()[0]}"
            journal.note(f"{self._no_compile}; running eagerly")
            del engine
            return self.ready_engine(plan, config, chosen, journal, should_stop, trains)
        self.engine, self._is_warm = engine, trains
        return engine
