"""From `grid.instrument` to the engine's own instruments; the one place."""

from decimal import Decimal
from typing import Any

from nautilus_trader import model

from grid import instrument as declared
from grid.dataset import to_ns
from grid.errors import ConfigError

type EngineInstrument = (
    model.CurrencyPair | model.CryptoPerpetual | model.FuturesContract | model.Equity
)


def to_engine(instrument: declared.Instrument) -> EngineInstrument:
    """Return the engine's instrument for a declared one.

    Raises:
        ConfigError: the engine cannot represent it, as with a tick that has more decimals than
            the price.
    """
    _check(instrument)
    common: dict[str, Any] = {
        "instrument_id": model.InstrumentId.from_str(instrument.id),
        "raw_symbol": model.Symbol(instrument.symbol),
        "price_precision": instrument.price_precision,
        "price_increment": model.Price(instrument.tick, instrument.price_precision),
        "margin_init": Decimal(str(instrument.margin_init)),
        "margin_maint": Decimal(str(instrument.margin_maint)),
        "ts_event": 0,
        "ts_init": 0,
    }
    lot = model.Quantity(instrument.lot, instrument.size_precision)
    sizes: dict[str, Any] = {"size_precision": instrument.size_precision, "size_increment": lot}
    currency = model.Currency.from_str(instrument.quote_currency)
    match instrument:
        case declared.CurrencyPair():
            return model.CurrencyPair(
                base_currency=model.Currency.from_str(instrument.base_currency),
                quote_currency=currency,
                **sizes,
                **common,
            )
        case declared.CryptoPerpetual():
            return model.CryptoPerpetual(
                base_currency=model.Currency.from_str(instrument.base_currency),
                quote_currency=currency,
                settlement_currency=currency,
                is_inverse=False,
                **sizes,
                **common,
            )
        case declared.Future():
            return model.FuturesContract(
                asset_class=model.AssetClass.from_str(instrument.asset_class),
                underlying=instrument.underlying,
                activation_ns=0,
                expiration_ns=to_ns(instrument.expires),
                currency=currency,
                multiplier=_multiplier(instrument),
                lot_size=lot,
                **common,
            )
        case declared.Equity():
            return model.Equity(currency=currency, lot_size=lot, **common)


def bar_type(instrument_id: str, bar: str) -> model.BarType:
    """Return the engine's type of bars that come from outside, as in `1-HOUR-ASK`.

    Raises:
        ConfigError: the engine knows no such bars.
    """
    try:
        return model.BarType.from_str(f"{instrument_id}-{bar}-EXTERNAL")
    except ValueError as e:
        raise ConfigError(f"bars {bar!r} of {instrument_id}: the engine has none such: {e}") from e


def _check(instrument: declared.Instrument) -> None:
    for name, step, precision in (
        ("tick_size", instrument.tick, instrument.price_precision),
        ("lot_size", instrument.lot, instrument.size_precision),
    ):
        if abs(round(step, precision) - step) > 1e-9 * step:
            raise ConfigError(
                f"instrument {instrument.id}: {name} {step} expected to have at most "
                f"{precision} decimals, as its precision says"
            )
    whole = isinstance(instrument, declared.Future | declared.Equity)
    if whole and instrument.size_precision:
        raise ConfigError(
            f"instrument {instrument.id}: size_precision 0 expected, as futures and equities "
            f"trade in whole units, found {instrument.size_precision}"
        )


def _multiplier(future: declared.Future) -> model.Quantity:
    text = format(Decimal(str(future.contract_size)).normalize(), "f")
    return model.Quantity.from_str(text)
