"""The plugin's options: on the command line, in the ini file, as `Settings`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from prunebench.errors import ThresholdError
from prunebench.escaping import terminal
from prunebench.storage.files import BASELINES, RUN_FOLDER

if TYPE_CHECKING:
    from prunebench.gate import Thresholds


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options: a value on the command line, else in the ini file, else the default.

    Attributes:
        plots: where plots go; None for none.
        strict: fail where a record has no baseline, or a baseline no record.
        times: judge times where the machine is the baseline's.
        alpha, margin, seed_spread: of `prunebench.gate.thresholds.Thresholds`; None for its defaults.
    """

    baselines: Path
    records: Path
    plots: Path | None
    strict: bool
    alpha: float | None
    margin: float | None
    seed_spread: float | None
    times: bool

    def thresholds(self) -> Thresholds:
        """The gate's thresholds from these options. Raises `PrunebenchError` for a value out of range."""
        from prunebench.gate import Thresholds

        given = {"alpha": self.alpha, "margin": self.margin, "seed_spread": self.seed_spread}
        return Thresholds(**{name: value for name, value in given.items() if value is not None}, times=self.times)


def add_options(parser: pytest.Parser) -> None:
    """Add the options, each of which the ini file may have too."""
    group = parser.getgroup("prunebench", "prunebench: the gate for pruning")
    for name, metavar, about in (
        ("baselines", "PATH", f"folder of approved baselines (default: {BASELINES} in the root folder)"),
        ("records", "PATH", f"folder that new records are kept in (default: {RUN_FOLDER} in the root folder)"),
        ("alpha", "FLOAT", "chance of a false alarm over all cases of a workload and recipe (default: 0.01)"),
        ("margin", "FLOAT", "points of accuracy that the same weights may lose (default: 0.5)"),
        ("seed-spread", "FLOAT", "points more that one fine-tuning may lose, for its seed (default: by density)"),
    ):
        group.addoption(f"--prunebench-{name}", metavar=metavar, help=about)
        parser.addini(_ini(name), about)
    about = "folder that plots of what was handed to the gate are saved in, as SVG (default: none are)"
    group.addoption("--save-plots", dest=_ini("plots"), metavar="PATH", help=about)
    parser.addini(_ini("plots"), about)
    group.addoption(
        "--prunebench-device", metavar="NAME", help="where runs of a prunebench.toml compute: cpu (default), cuda, ..."
    )
    for name, default, about in (
        ("strict", False, "fail where a record has no baseline, or a baseline no record (default: no)"),
        ("times", True, "judge times too, where the machine is the baseline's (default: yes)"),
    ):
        group.addoption(f"--prunebench-{name}", choices=["yes", "no"], help=about)
        parser.addini(_ini(name), about, type="bool", default=default)


def settings_of(config: pytest.Config) -> Settings:
    """The settings of a session."""
    return Settings(
        baselines=_path(config, "baselines", BASELINES),
        records=_path(config, "records", RUN_FOLDER),
        plots=_path(config, "plots", Path()) if _given(config, "plots") else None,
        strict=_yes(config, "strict"),
        alpha=_number(config, "alpha"),
        margin=_number(config, "margin"),
        seed_spread=_number(config, "seed-spread"),
        times=_yes(config, "times"),
    )


def check_thresholds(settings: Settings) -> None:
    """Check thresholds before the first test, not after it; the defaults need no check, which would import torch."""
    if settings.alpha is settings.margin is settings.seed_spread is None:
        return
    try:
        settings.thresholds()
    except ThresholdError as error:
        raise pytest.UsageError(f"prunebench: {error}") from None


def _ini(name: str) -> str:
    return f"prunebench_{name.replace('-', '_')}"


def _given(config: pytest.Config, name: str) -> Any:
    return config.getoption(_ini(name)) or config.getini(_ini(name))


def _yes(config: pytest.Config, name: str) -> bool:
    given = config.getoption(_ini(name))
    return bool(config.getini(_ini(name))) if given is None else given == "yes"


def _path(config: pytest.Config, name: str, default: Path) -> Path:
    """The folder of an option: relative to where pytest was called if given there, else to the root folder."""
    if given := config.getoption(f"prunebench_{name}"):
        return config.invocation_params.dir / str(given)
    return config.rootpath / str(config.getini(f"prunebench_{name}") or default)


def _number(config: pytest.Config, name: str) -> float | None:
    given = _given(config, name)
    try:
        return float(given) if given else None
    except ValueError:
        raise pytest.UsageError(terminal(f"{_ini(name)} must be a number, got {given!r}")) from None
