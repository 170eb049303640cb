"""The grid's door for people and programs: REST, WebSocket, metrics. See docs/gateway.md."""
