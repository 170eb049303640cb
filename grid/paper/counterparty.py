"""The paper venue's decisions: messages of nodes in, replies out, all kept in the journal first.

Whatever is sent again gets the same reply again, and nothing is done twice, whether the venue or
the node was killed in between.
"""

import logging
from collections import Counter
from typing import Final

from grid import wire
from grid.paper.book import Account, Order, Place, Terms
from grid.paper.journal import Journal

log = logging.getLogger(__name__)

_NOTHING: Final = wire.Holdings(0.0, 0.0, 0.0, 0.0, 0.0, 0)


class Counterparty:
    """Decides on every message of a node, and keeps the journal.

    Attributes:
        counts: `orders`, `fills`, `twins`, `refused`, `repeated`, `early`.

    Args:
        journal: holds what this venue has kept.
    """

    def __init__(self, journal: Journal) -> None:
        self.counts: Counter[str] = Counter(
            orders=0, fills=0, twins=0, refused=0, repeated=0, early=0
        )
        self._journal = journal
        self._last: dict[str, Place] = {}  # the newest message to each account, in this life
        self.accounts = journal.accounts()

    def handle(self, asked: wire.VenueRequest) -> wire.VenueReply | None:
        """Do what a node asks, unless it is done, and return the reply.

        None to a message whose predecessor has not come: the node will send both again, in order.
        """
        at = (asked.node_epoch, asked.seq)
        last = self._last.get(asked.account_id, at)
        if at[0] == last[0] and at[1] > last[1] + 1:
            self.counts["early"] += 1
            return None
        reply = self._handle(asked)
        if not reply.refused:
            self._last[asked.account_id] = max(at, self._last.get(asked.account_id, at))
        return reply

    def _handle(self, asked: wire.VenueRequest) -> wire.VenueReply:
        if isinstance(asked, wire.OpenAccount):
            return self._open(asked)
        account = self.accounts.get(asked.account_id)
        if account is None:
            return self._refuse(asked, f"no account {asked.account_id!r} was opened here")
        if asked.node_epoch != account.epoch:
            return self._refuse(
                asked, f"node epoch {account.epoch} expected, found {asked.node_epoch}"
            )
        match asked:
            case wire.PlaceOrder():
                return self._place(account, asked)
            case wire.CancelOrder():
                return self._cancel(account, asked)
            case wire.QueryOrder():
                return self._query(account, asked)
            case wire.Tick():
                return self._tick(account, asked)

    def _open(self, asked: wire.OpenAccount) -> wire.VenueReply:
        terms, account = Terms.of(asked), self.accounts.get(asked.account_id)
        if account is None:
            capital = wire.Holdings(asked.capital, 0.0, 0.0, 0.0, 0.0, 0)
            account = Account(asked.account_id, terms, asked.node_epoch, capital)
            self.accounts[asked.account_id] = account
            log.info(
                "account %s opened with %s %s", asked.account_id, asked.capital, terms.currency
            )
        elif asked.node_epoch < account.epoch:
            return self._refuse(
                asked, f"node epoch {account.epoch} expected, found {asked.node_epoch}"
            )
        elif conflict := account.terms.conflict(terms):
            return self._refuse(asked, f"account {asked.account_id}: {conflict}")
        account.epoch, account.terms = asked.node_epoch, terms
        self._journal.write(account, (asked.node_epoch, asked.seq))
        log.info(
            "account %s: node of epoch %d, position %s, %d open orders",
            asked.account_id, asked.node_epoch, account.ledger.position_qty, len(account.open),
        )  # fmt: skip
        return self._reply(account, asked, list(account.open.values()))

    def _place(self, account: Account, asked: wire.PlaceOrder) -> wire.VenueReply:
        at = (asked.node_epoch, asked.seq)
        known = self._journal.order(account.account_id, asked.client_order_id)
        if known is not None and known.placed == at:
            self.counts["repeated"] += 1
            return self._reply(account, asked, [known])
        order = Order(
            client_order_id=asked.client_order_id,
            signed_qty=asked.signed_qty,
            due_ns=asked.due_ns,
            placed=at,
            limit_px=asked.limit_px,
        )
        if known is not None:
            self.counts["twins"] += 1
            log.warning("account %s: twin of order %s", account.account_id, asked.client_order_id)
            order.status = "rejected"
            order.reason = f"client order id {asked.client_order_id} was used before"
            return self._reply(account, asked, [order])
        account.place(order)
        self._journal.write(account, at, [order])
        self.counts["orders"] += 1
        return self._reply(account, asked, [order])

    def _cancel(self, account: Account, asked: wire.CancelOrder) -> wire.VenueReply:
        order = account.cancel(asked.client_order_id)
        if order is not None:
            self._journal.write(account, (asked.node_epoch, asked.seq), [order])
            return self._reply(account, asked, [order])
        known = self._journal.order(account.account_id, asked.client_order_id)
        return self._reply(account, asked, [known] if known else [])

    def _query(self, account: Account, asked: wire.QueryOrder) -> wire.VenueReply:
        known = self._journal.order(account.account_id, asked.client_order_id)
        fills = self._journal.fills_of(account.account_id, asked.client_order_id)
        return self._reply(account, asked, [known] if known else [], fills)

    def _tick(self, account: Account, asked: wire.Tick) -> wire.VenueReply:
        at = (asked.node_epoch, asked.seq)
        if fills := self._journal.fills_at(account.account_id, at):
            self.counts["repeated"] += 1
            ids = dict.fromkeys(fill.client_order_id for fill in fills)
            known = [self._journal.order(account.account_id, order_id) for order_id in ids]
            return self._reply(account, asked, [o for o in known if o is not None], fills)
        filled, fills = account.tick(asked)
        if filled:
            self._journal.write(account, at, filled, fills)
            self.counts["fills"] += len(fills)
        return self._reply(account, asked, filled, fills)

    def _refuse(self, asked: wire.VenueRequest, why: str) -> wire.VenueReply:
        self.counts["refused"] += 1
        log.warning("%s of %s refused: %s", type(asked).__name__, asked.account_id, why)
        return wire.VenueReply(asked.seq, _NOTHING, refused=why)

    def _reply(
        self,
        account: Account,
        asked: wire.VenueRequest,
        orders: list[Order],
        fills: list[wire.VenueFill] | None = None,
    ) -> wire.VenueReply:
        reports = tuple(order.report for order in orders)
        return wire.VenueReply(asked.seq, account.ledger.holdings, reports, tuple(fills or ()))
