"""The rule on positions: what the fills say, the account says, to the last bit."""

from itertools import accumulate

import msgspec

from grid import wire
from grid.instrument import Instrument
from grid.node.ledger import Ledger
from grid.proof.evidence import Evidence, Run, Seen
from grid.proof.violation import Finding
from grid.spec import Spec


def positions(evidence: Evidence) -> Finding:
    """Position and cash follow from the fills, at each fill and decision, over all lives."""
    found = Finding()
    for run in evidence.runs:
        if run.info is not None:
            _fold(found, run, evidence)
    venue = evidence.venue
    if venue is None:
        return found
    kept = {fill.trade_id: fill for fill in venue.fills}
    for seen in (seen for run in evidence.runs for seen in run.events):
        if isinstance(seen.event, wire.Fill):
            _told(found, seen, seen.event, kept.get(seen.event.trade_id))
    return found


def _told(found: Finding, seen: Seen, fill: wire.Fill, kept: wire.VenueFill | None) -> None:
    """What a node tells of a fill is what the venue has."""
    signed = fill.qty if fill.side == "BUY" else -fill.qty
    told = (fill.client_order_id, signed, fill.px, fill.commission)
    held = kept and (kept.client_order_id, kept.signed_qty, kept.px, kept.commission)
    found.expect(told == held, f"trade {fill.trade_id} is {told}, the venue has {held}", seen)


def _fold(found: Finding, run: Run, evidence: Evidence) -> None:
    assert run.info is not None
    spec = msgspec.json.decode(run.info.spec, type=Spec)
    instrument: Instrument = msgspec.json.decode(run.info.instrument, type=Instrument)
    ledger = Ledger(spec.capital, instrument.multiplier)
    for seen in run.before_hole:
        match seen.event:
            case wire.Restored(holdings=holdings, orders=orders):
                if evidence.venue is not None:
                    _held(found, seen, holdings, evidence.venue.fills)
                ledger.restore(holdings, [order.signed_qty for order in orders])
            case wire.Fill(qty=qty, side=side, px=px, commission=fee, position_qty=position):
                ledger.fill(qty if side == "BUY" else -qty, px, fee)
                found.expect(
                    ledger.position_qty == position,
                    f"position {position:g} after trade {seen.event.trade_id}, the fills make"
                    f" {ledger.position_qty:g}",
                    seen,
                )
            case wire.Decision(seq=seq, account=account):
                said = (account.position_qty, account.cash)
                made = (ledger.position_qty, ledger.cash)
                found.expect(
                    said == made,
                    f"decision {seq} has position and cash {said}, the fills make {made}",
                    seen,
                )
            case _:
                pass


def _held(
    found: Finding, seen: Seen, holdings: wire.Holdings, fills: tuple[wire.VenueFill, ...]
) -> None:
    """What a node begins with is what the venue's fills make."""
    quantities = accumulate((f.signed_qty for f in fills[: holdings.fills]), _sum, initial=0.0)
    *_, position = quantities
    found.expect(
        holdings.fills <= len(fills) and position == holdings.position_qty,
        f"node began with {holdings.position_qty:g} after {holdings.fills} fills, the venue's"
        f" make {position:g}",
        seen,
    )


def _sum(a: float, b: float) -> float:
    return round(a + b, 12)
