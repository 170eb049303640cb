"""Processes on the bus that hand its events on to other systems, whole and in order."""
