"""Lint: what is wrong with a scenario, found before anything runs."""
