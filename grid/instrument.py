"""What is traded, declared in TOML: enough to build the engine's own instrument, without it."""

import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from grid import config

Precision = Annotated[int, msgspec.Meta(ge=0, le=12)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
InstrumentId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^\s.]+(\.[^\s.]+)*\.[^\s.]+$", description="SYMBOL.VENUE, as in EUR/USD.SIM"
    ),
]


class _Instrument(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """What all instruments have.

    Attributes:
        id: symbol and venue, as in `EUR/USD.SIM`.
        price_precision: decimals of a price.
        size_precision: decimals of a quantity.
        tick_size: smallest step of a price; 0 means one unit of the last decimal.
        lot_size: smallest step of an order's quantity; 0 means one unit of the last decimal.
        margin_init: initial margin as a share of notional.
        margin_maint: maintenance margin as a share of notional.
    """

    id: InstrumentId
    price_precision: Precision
    size_precision: Precision = 0
    tick_size: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    lot_size: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    margin_init: Rate = 0.03
    margin_maint: Rate = 0.03

    @property
    def symbol(self) -> str:
        """The id without its venue."""
        return self.id.rpartition(".")[0]

    @property
    def venue(self) -> str:
        """The venue's name."""
        return self.id.rpartition(".")[2]

    @property
    def tick(self) -> float:
        """Smallest step of a price."""
        return self.tick_size or 10.0**-self.price_precision

    @property
    def lot(self) -> float:
        """Smallest step of a quantity."""
        return self.lot_size or 10.0**-self.size_precision

    def whole_lots(self, qty: float) -> float:
        """Round a signed quantity towards zero to whole lots."""
        lots = math.trunc(round(qty / self.lot, 6))
        return round(lots * self.lot, self.size_precision)


class CurrencyPair(_Instrument, frozen=True, tag="currency_pair"):
    """Spot foreign exchange, or one crypto currency against another."""

    base_currency: str
    quote_currency: str

    @property
    def currency(self) -> str:
        """The currency in which profit, fees and balances are counted."""
        return self.quote_currency

    @property
    def multiplier(self) -> float:
        """Notional of one unit at a price of one."""
        return 1.0


class CryptoPerpetual(_Instrument, frozen=True, tag="crypto_perpetual"):
    """A linear perpetual future, settled in the quote currency."""

    base_currency: str
    quote_currency: str

    @property
    def currency(self) -> str:
        """The currency in which profit, fees and balances are counted."""
        return self.quote_currency

    @property
    def multiplier(self) -> float:
        """Notional of one unit at a price of one."""
        return 1.0


class Future(_Instrument, frozen=True, tag="future"):
    """A dated future; `contract_size` is its multiplier, 50 for the E-mini S&P 500."""

    quote_currency: str
    underlying: str
    contract_size: Positive
    asset_class: Literal[
        "FX", "EQUITY", "COMMODITY", "DEBT", "INDEX", "CRYPTOCURRENCY", "ALTERNATIVE"
    ] = "INDEX"
    expires: str = "2100-01-01"

    @property
    def currency(self) -> str:
        """The currency in which profit, fees and balances are counted."""
        return self.quote_currency

    @property
    def multiplier(self) -> float:
        """Notional of one contract at a price of one."""
        return self.contract_size


class Equity(_Instrument, frozen=True, tag="equity"):
    """A share."""

    quote_currency: str

    @property
    def currency(self) -> str:
        """The currency in which profit, fees and balances are counted."""
        return self.quote_currency

    @property
    def multiplier(self) -> float:
        """Notional of one share at a price of one."""
        return 1.0


type Instrument = CurrencyPair | CryptoPerpetual | Future | Equity


def load(path: Path) -> Instrument:
    """Read an instrument from a TOML file.

    Raises:
        ConfigError: a key is missing, unknown or wrong.
    """
    return config.load(path, Instrument)  # type: ignore[arg-type]
