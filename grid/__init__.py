"""What runs: wire protocol, bus, broker, recorder, replayer, supervisor and the live node."""
