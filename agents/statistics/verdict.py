"""What a search found and how sure one can be: figures, a grade, and what they say in words."""

from typing import Final, Literal

import msgspec

from agents.statistics.blocks import Interval
from agents.statistics.overfitting import Overfitting
from agents.statistics.scores import caution
from agents.statistics.words import annual, listed, percent, share

type Grade = Literal[
    "nothing found",
    "not distinguishable from luck",
    "worth a holdout",
    "holds on the holdout",
]

NOTHING: Final = "nothing found"
LUCK: Final = "not distinguishable from luck"
WORTH: Final = "worth a holdout"
HOLDS: Final = "holds on the holdout"
LEVEL: Final = 0.05


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline on the same periods.

    Attributes:
        sharpe: annualized; None of one that never traded.
        chance: probability of so large a lead over it without being better.
    """

    sharpe: float | None
    chance: float


class Holdout(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen, on time that no trial has seen.

    Attributes:
        sharpe: annualized.
        chance: probability of such a ratio without skill; a single trial.
        beside: baselines' annualized ratios, on the same periods.
        years: its length.
    """

    sharpe: Interval
    chance: float
    beside: dict[str, float | None]
    years: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found.

    Attributes:
        grade: the verdict.
        line: the verdict in one sentence.
        reasons: what it rests on, a sentence each.
        tried: trials that were begun, with those that failed or were stopped.
        records: trials with a record of returns.
        effective: independent trials that would be as lucky as those with a record.
        chosen: column of the best of them, or of the one that was chosen without these returns.
        sharpe: annualized, of that one.
        chance: probability that the best of `tried` without skill looks as good.
        luck_sharpe: annualized ratio that the best of `tried` without skill is expected to show.
        psr: probability that the true ratio exceeds 0, had there been no other trial.
        deflated: probability that the true ratio exceeds `luck_sharpe`.
        years: length of the record.
        min_years: length from which `deflated` would pass; None where no length would do.
        overfitting: what choosing by one half of time is worth on the other; None of one trial.
        beside: each baseline.
        holdout: None before it was touched.
        level: probability of an error that is allowed in each test.
        by_best: whether the best by these returns is judged, and not one that was chosen before.
    """

    grade: Grade
    line: str
    reasons: tuple[str, ...]
    tried: int
    records: int
    effective: float
    chosen: int
    sharpe: Interval
    chance: float
    luck_sharpe: float
    psr: float
    deflated: float
    years: float
    min_years: float | None
    overfitting: Overfitting | None
    beside: dict[str, Beside]
    holdout: Holdout | None
    level: float
    by_best: bool = True


def graded(v: Verdict, seeds: int | None = None) -> Verdict:
    """Return a verdict with grade, line and reasons by its figures; see `judge`."""
    better = [name for name, b in v.beside.items() if (b.sharpe or 0.0) >= v.sharpe.value]
    unsure = [name for name, b in v.beside.items() if b.chance > v.level and name not in better]
    trials = f"after {v.tried:,} trials, " if v.tried > 1 else ""
    luckily = f"a Sharpe ratio of {annual(v.sharpe.value)} is what luck gives in {share(v.chance)}"
    if v.sharpe.value <= 0.0 or better:
        grade: Grade = NOTHING
        below = f", no better than {listed(better)}" if v.sharpe.value > 0.0 else ""
        which = "" if v.tried == 1 else "best " if v.by_best else "chosen one's "
        line = f"{trials}the {which}Sharpe ratio is {annual(v.sharpe.value)}{below}: nothing found"
    elif v.chance > v.level or v.deflated < 1.0 - v.level or unsure:
        grade, line = LUCK, f"{trials}{luckily}"
        if v.chance <= v.level:
            line += f", but {_but(v, unsure)}: not distinguishable from luck"
    elif v.holdout is None:
        grade, line = WORTH, f"{trials}{luckily}: worth a holdout"
    else:
        h = v.holdout
        ahead = [name for name, ratio in h.beside.items() if (ratio or 0.0) >= h.sharpe.value]
        holds = h.chance <= v.level and h.sharpe.value > 0.0 and not ahead
        grade = HOLDS if holds else LUCK
        line = f"{trials}{luckily}; on the holdout it is {annual(h.sharpe.value)}, " + (
            f"luck in {share(h.chance)}: it holds"
            if holds
            else f"no better than {listed(ahead)}: it does not hold"
            if ahead
            else f"luck in {share(h.chance)}: it does not hold"
        )
    said = f"{line[0].upper()}{line[1:]}."
    return msgspec.structs.replace(v, grade=grade, line=said, reasons=_reasons(v, seeds))


def _but(v: Verdict, unsure: list[str]) -> str:
    if unsure:
        return f"a lead over {listed(unsure)} is not sure"
    if v.min_years is None:
        return f"luck is expected to give {annual(v.luck_sharpe)}"
    return f"{v.years:.2g} years are too short a record, {v.min_years:.2g} would do"


def _reasons(v: Verdict, seeds: int | None) -> tuple[str, ...]:
    low, high = v.sharpe.low, v.sharpe.high
    alone = ", had there been no other trial" if v.tried > 1 else ""
    said = [
        f"With 95 % confidence its true Sharpe ratio lies between {low:.2f} and {high:.2f} a year, "
        f"by a record of {v.years:.2g} years{alone}."
    ]
    if v.tried > 1:
        said.append(
            f"The best of {v.tried:,} trials without skill is expected to show "
            f"{annual(v.luck_sharpe)}; it exceeds that with a probability of {percent(v.deflated)} "
            "(deflated Sharpe ratio)."
        )
    if v.tried > v.records:
        said.append(
            f"{v.tried - v.records:,} of the trials left no record here, by failing or otherwise; "
            "they count."
        )
    if v.records > 1:
        said.append(
            f"The {v.records:,} trials with a record are as lucky as {v.effective:.0f} independent "
            "ones."
        )
    if v.min_years is not None and v.min_years > v.years:
        said.append(f"Such a ratio would need a record of {v.min_years:.2g} years.")
    if v.overfitting is not None:
        o = v.overfitting
        said.append(
            "The best on one half of the time is among the worse on the other half in "
            f"{percent(o.probability)} of {o.splits:,} splits, and loses there in "
            f"{percent(o.loss)} (probability of backtest overfitting)."
        )
    for name, b in v.beside.items():
        ratio = "never traded" if b.sharpe is None else f"has {annual(b.sharpe)}"
        if (b.sharpe or 0.0) >= v.sharpe.value:
            said.append(f"{name} {ratio} and did no worse.")
        else:
            said.append(f"{name} {ratio}; such a lead over it is luck in {share(b.chance)}.")
    if seeds is not None and (few := caution(seeds)):
        said.append(f"{few}.")
    return tuple(said)
