"""The simulated venue's costs, as the engine takes them: one reading for env and paper trading."""

from decimal import Decimal

from nautilus_trader.execution import DefaultFillModel, MakerTakerFeeModel

from grid.venue import Venue


def fee_model(venue: Venue) -> MakerTakerFeeModel:
    """Return the venue's fees."""
    return MakerTakerFeeModel(
        Decimal(str(venue.maker_fee_bps)) / 10_000, Decimal(str(venue.taker_fee_bps)) / 10_000
    )


def fill_model(venue: Venue, seed: int) -> DefaultFillModel:
    """Return the chances of the venue's fills, drawn from `seed`."""
    return DefaultFillModel(venue.limit_fill_prob, venue.slippage_prob, seed)
