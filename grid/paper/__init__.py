"""The paper venue: a process that keeps accounts and orders, and outlives the nodes that trade."""
