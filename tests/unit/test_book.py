"""The book after any number of events, found without playing them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nautilus_trader.model import OrderBook

from envs.data.book import ADD, CLEAR, DELETE, UPDATE, known, lives, standing
from envs.synthetic_book import INSTRUMENT, book
from grid.node.books import BOOKS, deltas_packet, engine_deltas, instrument_id

EVENT = st.tuples(
    st.sampled_from([ADD, ADD, ADD, UPDATE, UPDATE, DELETE, DELETE, CLEAR]),
    st.sampled_from([1, -1]),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 4),
)


def columns(events):
    names = ("action", "side", "price", "qty", "order_id")
    found = {f: np.array([e[i] for e in events]) for i, f in enumerate(names)}
    return {**found, "price": found["price"].astype(np.float64)}


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=25), st.sampled_from(["L2", "L3"]))
def test_standing_book_is_the_one_that_events_lead_to(events, kind):
    """Against the plain way: a dictionary, event by event."""
    if kind == "L3":  # an order has one side; what is out of place is dropped
        events = [(a, 1 if i % 2 else -1, p, q, i) for a, _, p, q, i in events]
        kept = known(columns(events), "L3")
        there, legal = set(), []
        for event, fits in zip(events, kept.tolist(), strict=True):
            action, order_id = event[0], event[4]
            assert fits == (action == CLEAR or (order_id in there) == (action != ADD))
            if not fits:
                continue
            legal.append(event)
            there = set() if action == CLEAR else there
            if action == ADD:
                there.add(order_id)
            elif action == DELETE:
                there.discard(order_id)
        events = legal
    if not events:
        return
    table = columns(events)
    table["until"], table["since"] = lives(table, kind)
    stands: dict[object, tuple[int, float]] = {}  # event number and price; the order is the queue
    for i, (action, side, price, _, order_id) in enumerate(events):
        key = order_id if kind == "L3" else (side, price)
        if action == CLEAR:
            stands = {}
        elif action == DELETE:
            stands.pop(key, None)
        else:
            if action == ADD or (key in stands and stands[key][1] != price):
                stands.pop(key, None)
            stands[key] = (i, price)
        assert standing(table, i + 1).tolist() == [n for n, _ in stands.values()]


def test_engine_has_the_same_book_from_the_snapshot_as_from_all_events():
    for kind in ("L2", "L3"):
        events = book(1_500, seed=2, kind=kind)
        for count in (200, 777, 1_500):
            played = OrderBook(instrument_id(INSTRUMENT), BOOKS[kind])
            played.apply_deltas(
                deltas_packet(INSTRUMENT, engine_deltas(INSTRUMENT, events, 0, count))
            )
            begun = OrderBook(instrument_id(INSTRUMENT), BOOKS[kind])
            there = standing(events, count)
            part = {k: v[there] for k, v in events.items()}
            part["action"][:] = ADD
            begun.apply_deltas(
                deltas_packet(INSTRUMENT, engine_deltas(INSTRUMENT, part, 0, len(there)))
            )
            for side in ("bids", "asks"):
                ours, theirs = (
                    [
                        [(o.order_id, str(o.price), str(o.size)) for o in level.get_orders()]
                        for level in getattr(b, side)()
                    ]
                    for b in (begun, played)
                )
                assert ours == theirs  # the queues, too


def test_made_book_is_the_same_for_the_same_seed_and_by_order_and_by_price():
    first, again, other = (book(400, seed=s, kind="L3") for s in (5, 5, 6))
    assert all(first[f].tobytes() == again[f].tobytes() for f in first)
    assert first["price"].tobytes() != other["price"].tobytes()
    assert known(first, "L3").all()
