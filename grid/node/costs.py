"""The simulated venue's costs, as the engine takes them: one reading for env and paper trading."""

from decimal import Decimal

from nautilus_trader.execution import MakerTakerFeeModel

from grid.venue import Venue


def fee_model(venue: Venue) -> MakerTakerFeeModel:
    """Return the venue's fees."""
    return MakerTakerFeeModel(
        Decimal(str(venue.maker_fee_bps)) / 10_000, Decimal(str(venue.taker_fee_bps)) / 10_000
    )
