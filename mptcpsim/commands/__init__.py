"""The groups of commands that ``mptcpsim.cli`` mounts."""
