"""Other projects' envs on the same bars, each in a process of its own, and in turn with ours."""
