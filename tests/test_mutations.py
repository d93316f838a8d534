"""Proof that the machines can fail: faults put into the core, each of which a test must find.

Each fault is a textual change in a copy of the package without its extension
modules, so that the proof is the same whether the hot modules are compiled or not. On the
copy runs a test of the suite, which must fail with the name of the invariant.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import mptcpsim
from tests.paths import TESTS

PACKAGE = Path(mptcpsim.__file__).resolve().parent


class Mutation(NamedTuple):
    """A fault, as (module, text that stands there once, its replacement), and who notices it.

    Where several laws are broken, ``invariant`` has the names of all that may be found first.
    """

    changes: tuple[tuple[str, str, str], ...]
    invariant: str | tuple[str, ...]
    test: str = "core/tcp/test_machine.py::test_tcp_machine[RackMachine-0]"


NO_TRIMMING = (
    "core/tcp/receiver.py",
    "            left = nxt\n        if left >= right:\n",
    "        if left >= right:\n",
)

MUTATIONS = {
    "persist timer not armed": Mutation(
        changes=(
            (
                "core/tcp/window_probe.py",
                "        self.at = now + self.interval\n        sender.tcp.wake_by(self.at)\n",
                "        self.at = NEVER\n",
            ),
        ),
        invariant="data pending without a timer",
    ),
    "persist timer not armed again": Mutation(
        changes=(
            (
                "core/tcp/window_probe.py",
                "        self.shift += 1\n        self._arm(now)\n",
                "        self.shift += 1\n",
            ),
        ),
        invariant="data pending without a timer",
    ),
    "right edge not checked": Mutation(
        changes=(
            ("core/tcp/receiver.py", "        if nxt + (field << scale) < edge:\n", "        if False:\n"),
        ),
        invariant="right edge moved left",
    ),
    "duplicates delivered": Mutation(changes=(NO_TRIMMING,), invariant="were delivered where byte"),
    "duplicates delivered, and no check of the offset": Mutation(
        changes=(
            NO_TRIMMING,
            ("core/tcp/connection.py", "        if offset != self.delivered:\n", "        if False:\n"),
        ),
        invariant="delivered is no prefix of written",
    ),
    "window of the peer not obeyed": Mutation(
        changes=(
            ("core/tcp/output.py", "            usable = edge - nxt\n", "            usable = length\n"),
        ),
        invariant="data beyond the right edge",
    ),
    "retransmission timer not restarted": Mutation(
        changes=(
            (
                "core/tcp/output.py",
                "        self.restart_rto(now)\n        self._probe_stale = True\n",
                "        self.rto_at = NEVER\n        self._probe_stale = True\n",
            ),
        ),
        invariant="data in flight without a timer",
    ),
    "memory of the receiver not bounded": Mutation(
        changes=(
            ("core/tcp/receiver.py", "        if self.limit + self.buffer < right:\n", "        if False:\n"),
        ),
        invariant="receive memory unbounded",
        test="core/tcp/test_machine.py",
    ),
    "bytes forgotten with the DATA_ACK": Mutation(
        changes=(
            (
                "core/mptcp/connection.py",
                "            dsn = min(dsn, subflow.mappings.lowest())\n",
                "            pass\n",
            ),
        ),
        invariant="are not kept any more",
        test="core/mptcp/test_machine.py::test_mptcp_machine[BytesMptcpMachine-0]",
    ),
    "bytes of a reader forgotten too early": Mutation(
        changes=(
            (
                "core/tcp/connection.py",
                "            self.received_bytes.forget_below(self.consumed)\n\n    def _before_write",
                "            self.received_bytes.forget_below(self.delivered)\n\n    def _before_write",
            ),
        ),
        invariant="are not kept any more",
        test="core/tcp/test_machine.py::test_tcp_machine[BytesMachine-0]",
    ),
    "bytes taken from the wrong place": Mutation(
        changes=(
            (
                "core/mptcp/mapped_data.py",
                "connection.take_new(segment, low + left - dsn, low + right - dsn, left - 1)",
                "connection.take_new(segment, low, low + right - left, left - 1)",
            ),
        ),
        invariant="bytes read are not those written",
        test="core/mptcp/test_machine.py::test_mptcp_machine[BytesMptcpMachine-0]",
    ),
    "the last copy of a byte counts": Mutation(
        changes=(
            (
                "core/mptcp/mapped_data.py",
                "        for left, right in self._inbound.unreceived(dsn, dsn + high - low):\n",
                "        for left, right in ((dsn, dsn + high - low),):\n",
            ),
        ),
        invariant="AssertionError",
        test="core/test_real_bytes.py::test_the_first_copy_counts_whichever_subflow_brings_it",
    ),
    "every segment has the oldest bytes": Mutation(
        changes=(
            (
                "core/tcp/endpoint.py",
                "sent_bytes.take(seq + self.send_shift, length)",
                "sent_bytes.take(self.sender.una + self.send_shift, length)",
            ),
        ),
        invariant="bytes read are not those written",
        test="core/tcp/test_machine.py::test_tcp_machine[BytesMachine-0]",
    ),
}

ANSWERED_ACK = (
    "core/tcp/arrives.py",
    "        elif segment.length:\n            receiver.request_ack()\n",
    "        else:\n            receiver.request_ack()\n",
)
RATE = "more packets than reasons"
HOSTILE_MACHINE = "core/test_hostile_machine.py::test_hostile_machine[HostileVersion1Machine-0]"

#: Packets without a reason.
RATE_MUTATIONS = {
    "an ACK is answered with an ACK": Mutation(changes=(ANSWERED_ACK,), invariant=RATE),
    "an ACK is answered with an ACK, over MPTCP": Mutation(
        changes=(ANSWERED_ACK,),
        invariant=RATE,
        test="core/mptcp/test_machine.py::test_mptcp_machine[Version1Machine-0]",
    ),
    "the oldest data is sent again for every ACK": Mutation(
        changes=(
            (
                "core/tcp/output.py",
                "        cwnd = self.congestion.cwnd\n        if board.lost:\n",
                "        cwnd = self.congestion.cwnd\n"
                "        if len(board) and not board.lost:\n"
                "            self.retransmit(board.records[board.head], now)\n"
                "        if board.lost:\n",
            ),
        ),
        invariant="the same data without a reason",
    ),
    "answers that bring no news are not limited": Mutation(
        changes=(("core/tcp/answers.py", "        if self._count >= limit:\n", "        if False:\n"),),
        invariant=RATE,
        test=HOSTILE_MACHINE,
    ),
    "MP_FAIL on every ACK": Mutation(
        changes=(
            (
                "core/mptcp/fail_signal.py",
                "        self.due = False\n        self.repeat_at = now +",
                "        self.repeat_at = now +",
            ),
            ("core/mptcp/subflow.py", "if news or self.tcp.answers.allowed(now):", "if True:"),
        ),
        invariant="no end after 4000 events",
        test="core/test_packet_storms.py",
    ),
    "old bytes are compared with the stream": Mutation(
        changes=(
            (
                "core/mptcp/mapped_data.py",
                "        for left, right in self._inbound.unreceived(dsn, dsn + high - low):\n",
                "        for left, right in ((dsn, dsn + high - low),):\n",
            ),
        ),
        invariant="is not what the peer wrote there",
        test="core/test_old_data.py",
    ),
}
MUTATIONS |= RATE_MUTATIONS

MPTCP_MACHINE = "core/mptcp/test_machine.py::test_mptcp_machine[Version1Machine-0]"

#: Faults of MPTCP. Those that no machine meets in a few seconds have a script that does.
MPTCP_MUTATIONS = {
    "a second copy of data is delivered": Mutation(
        changes=(
            (
                "core/mptcp/data_receiver.py",
                "            left = nxt\n        if left >= right:\n",
                "        if left >= right:\n",
            ),
        ),
        invariant="were delivered where byte",
        test=MPTCP_MACHINE,
    ),
    "data is queued for reinjection twice": Mutation(
        changes=(
            (
                "core/mptcp/reinjection.py",
                "        if mapping.reinjected or end <= una:\n",
                "        if end <= una:\n",
            ),
        ),
        invariant="<= 10000",
        test="core/mptcp/test_regressions.py::test_subflow_that_ends_after_a_time_out_leaves_its_data_once",
    ),
    "what a subflow carries twice is queued twice": Mutation(
        changes=(
            (
                "core/mptcp/reinjection.py",
                "        dsn = max(item.dsn, right.get(item.origin, 0))\n",
                "        dsn = item.dsn\n",
            ),
        ),
        invariant="Reinjection(dsn=1, end=26, origin=0)",
        test="core/mptcp/test_regressions.py::test_what_a_subflow_carries_twice_is_queued_once",
    ),
    "reinjections are forgotten": Mutation(
        changes=(
            (
                "core/mptcp/reinjection.py",
                "    return deque(sorted(queued))\n",
                "    return deque()\n",
            ),
        ),
        invariant="nothing was acknowledged at the connection",
        test=MPTCP_MACHINE,
    ),
    "right edge of the connection not kept": Mutation(
        changes=(
            (
                "core/mptcp/data_receiver.py",
                "        if nxt + (field << scale) < edge:\n",
                "        if False:\n",
            ),
        ),
        invariant="shared right edge moved left",
        test=MPTCP_MACHINE,
    ),
    "right edge of the connection not obeyed": Mutation(
        changes=(
            (
                "core/mptcp/data_sender.py",
                "            right = self.end if self.end < self.wnd_end else self.wnd_end\n",
                "            right = self.end\n",
            ),
        ),
        invariant="data beyond the right edge",
        test=MPTCP_MACHINE,
    ),
    "more is kept than twice the buffer": Mutation(
        changes=(("core/mptcp/data_receiver.py", "        if right > most:\n", "        if False:\n"),),
        invariant="<= (2 * 1311)",
        test="core/mptcp/test_regressions.py::test_promises_that_are_rounded_up_do_not_add_up",
    ),
    "DATA_FIN not sent again": Mutation(
        changes=(
            (
                "core/mptcp/data_sender.py",
                "        elif self.una == self.nxt and self.fin_sent:\n            self.send_fin(now)\n",
                "        elif self.una == self.nxt and self.fin_sent:\n",
            ),
        ),
        invariant="assert 1 == (2 * 1)",
        test="core/mptcp/test_close.py::test_data_fin_is_lost",
    ),
    "DATA_ACK ahead of the data": Mutation(
        changes=(
            (
                "core/mptcp/data_receiver.py",
                "        self._ack = Dss(self.ack_octets, nxt,",
                "        ahead = max(nxt, self.out_of_order.highest())\n"
                "        self._ack = Dss(self.ack_octets, ahead,",
            ),
        ),
        invariant="DATA_ACK ahead of the data",
        test=MPTCP_MACHINE,
    ),
    "retransmission timer of the connection not armed": Mutation(
        changes=(
            (
                "core/mptcp/data_sender.py",
                "        self.rto_at = now + self._timeout()\n"
                "        self._connection.wake_by(self.rto_at)\n",
                "        self.rto_at = NEVER\n",
            ),
        ),
        invariant="without a timer",
        test=MPTCP_MACHINE,
    ),
    "numbers that wrap are widened wrongly": Mutation(
        changes=(
            (
                "core/sequences.py",
                "    return near + delta - mask - 1 if delta > mask >> 1 else near + delta\n",
                "    return near + delta - mask if delta > mask >> 1 else near + delta\n",
            ),
        ),
        # Which of them comes first depends on the examples.
        invariant=(
            "subflow reset without cause",
            "is not what the peer wrote there",
            "DATA_ACK of what was not sent",
        ),
        # Our own ends hand over numbers that need no widening, unless every packet becomes bytes.
        test="core/mptcp/test_machine.py::test_mptcp_machine[EncodedMptcpMachine-0]",
    ),
    "third ACK of a join not sent again": Mutation(
        changes=(
            (
                "core/mptcp/join_handshake.py",
                "                self._repeat_third_ack(now)\n",
                "                pass\n",
            ),
        ),
        invariant="assert 1 == 4",
        test="core/mptcp/test_join.py::test_the_third_packet_is_sent_again",
    ),
    "ADD_ADDR not sent again": Mutation(
        changes=(
            (
                "core/mptcp/addresses.py",
                "            connection.signal(waiting.option, now)\n",
                "            pass\n",
            ),
        ),
        invariant="assert 1 == (1 + 3)",
        test="core/mptcp/test_addresses.py::test_an_echo_that_never_comes",
    ),
}
MUTATIONS |= MPTCP_MUTATIONS


def mutate(mutation: Mutation, directory: Path) -> None:
    """Copy the package's sources to ``directory`` and put the fault in."""
    copy = directory / "mptcpsim"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    for name, old, new in mutation.changes:
        module = copy / name
        source = module.read_text(encoding="utf-8")
        assert source.count(old) == 1, f"{name} does not contain once: {old!r}"
        module.write_text(source.replace(old, new), encoding="utf-8")


def run(test: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a test of the suite on the package in ``directory``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "MPTCPSIM_EXPECT": ""}
    # "append": the copy comes before the package that stands beside the tests.
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(TESTS / test)]
    return subprocess.run(
        [*command, "--hypothesis-profile=first", "--import-mode=append", "-o", "addopts="],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_machine_finds(name: str, tmp_path: Path) -> None:
    mutation = MUTATIONS[name]
    mutate(mutation, tmp_path)
    result = run(mutation.test, tmp_path)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    # pytest begins the lines of an exception with "E"; the invariant's name stands in the source, too.
    raised = [line for line in result.stdout.splitlines() if line.startswith("E ")]
    names = (mutation.invariant,) if isinstance(mutation.invariant, str) else mutation.invariant
    assert any(name in line for line in raised for name in names), result.stdout
