"""``results/calibration.json``: what was measured of the noise, for verdicts and for planning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from sweepkit import fsio, sealed
from sweepkit.analysis.calibration import KEY, Calibration
from sweepkit.config import typed
from sweepkit.errors import ConfigError, DamagedError

NAME = "calibration.json"
SCHEMA_VERSION = 1
_REMEDY = "delete it and run sweepkit calibrate again (finished runs are kept)"


def read(results_dir: Path) -> list[Calibration]:
    """All measurements; none where there is no file.

    Raises:
        SweepkitError: the file is damaged, or of a newer version.
    """
    path = results_dir / NAME
    try:
        content = fsio.read_json(path)
        sealed.check_version(path, content, SCHEMA_VERSION)
        return typed.load(list[Calibration], content["calibrations"])
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DamagedError(path, f"{type(error).__name__}: {error}", _REMEDY) from error
    except DamagedError as error:
        raise DamagedError(path, error.why, _REMEDY) from error


def add(results_dir: Path, measured: Sequence[Calibration]) -> None:
    """Keep measurements. Earlier ones stay, for what was decided with them must come out the same again."""
    kept = {_place(item): item for item in [*read(results_dir), *measured]}
    content = typed.dump(sorted(kept.values(), key=astuple))
    fsio.write_json(results_dir / NAME, {"schema_version": SCHEMA_VERSION, "calibrations": content})


def _place(item: Calibration) -> tuple[object, ...]:
    place = (item.metric, item.of, item.measured_at, item.sources)
    return (*place, *(getattr(item, name) for name in KEY))
