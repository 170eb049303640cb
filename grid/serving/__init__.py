"""What agents and a model server say to each other over ZeroMQ, and the ends that say it."""
