"""The commands of `launch.py`, a file a subject; a command imports what it runs when it runs it."""
