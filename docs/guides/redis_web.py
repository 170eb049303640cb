"""A web tier of your own: takes orders over REST, puts them into Redis. No grid runs here.

uvicorn --app-dir docs/guides redis_web:app --port 8000
"""

import os
from typing import Annotated, Literal

import redis
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

from grid.redis.config import Names
from grid.redis.orders import Orders

app = FastAPI(title="Orders")
client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"), protocol=2)
orders = Orders(client, Names.under(os.environ.get("PREFIX", "argonaut:eurusd")))


class Order(BaseModel):
    """At the market, unless a limit is given."""

    side: Literal["BUY", "SELL"]
    qty: Annotated[float, Field(gt=0)]
    limit_px: Annotated[float, Field(ge=0)] = 0.0


@app.post("/orders", status_code=202)
def place(order: Order, idempotency_key: Annotated[str, Header()]) -> dict[str, str]:
    """Queue an order; the same key is never carried out twice."""
    try:
        said = orders.submit(idempotency_key, order.side, order.qty, order.limit_px, by="web")
    except redis.RedisError as e:
        raise HTTPException(503, "Redis is away: ask again with the same key") from e
    if said == "conflict":
        raise HTTPException(409, "this key was used for another order")
    if said == "full":
        raise HTTPException(503, "too many orders wait for the grid")
    return {"key": idempotency_key, "status": said}


@app.get("/orders/{key}")
def look(key: str) -> dict[str, str]:
    """Say what the strategy answered."""
    reply = orders.reply(key)
    if reply is None:
        raise HTTPException(404, "no answer so far")
    return {
        "client_order_id": reply.client_order_id,
        "status": reply.status,
        "reason": reply.reason,
    }
