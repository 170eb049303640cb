"""How a policy came to its result: what it paid, how it held, when, in which markets."""
