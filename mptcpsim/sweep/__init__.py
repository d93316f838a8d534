"""Parameter sweeps: a plan of points, runs on processes or a cluster, a store that loses nothing."""
