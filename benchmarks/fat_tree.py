"""W4: a permutation of MPTCP connections over a fat tree, from a scenario as a user writes it."""

from __future__ import annotations

from networks import MPTCP_MSS, Workload

from mptcpsim import build, loads

SCENARIO = """\
title = "A fat tree, k = {k}"
seed = 1
duration = "1s"
ecmp = "flow"
[topology]
generator = "fat-tree"
k = {k}
rate = "100Mbps"
delay = "20us"
queue = 100
[defaults]
mptcp = {{ path_manager = {{ name = "ndiffports", subflows = {subflows} }} }}
[defaults.tcp]
congestion = "lia"
ack_every = 1
send_buffer = "1MiB"
receive_buffer = "1MiB"
[[flows]]
name = "p"
pattern = "permutation"
groups = [{groups}]
bytes = "100MB"
"""


class FatTree(Workload):
    """Each host sends to a host of another pod and receives from one, as long as the run takes."""

    mss = MPTCP_MSS

    def __init__(self, k: int, subflows: int) -> None:
        groups = ", ".join(f'"h{pod}-*"' for pod in range(k))
        simulation = build(loads(SCENARIO.format(k=k, subflows=subflows, groups=groups)))
        super().__init__(simulation.env, simulation.topology, simulation.flows)
