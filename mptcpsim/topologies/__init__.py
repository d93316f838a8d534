"""Graphs from elsewhere as networks: readers of files, generators, attributes, addresses."""
