"""What is reconstructed of other people's captures: early kernels, version 0, ns-3, fragments."""

from __future__ import annotations

from pathlib import Path

import pytest

from mptcpsim.codec.pcap_reader import read_capture
from mptcpsim.core.mptcp_options import MpFail, MpFastclose, MpTcprst
from mptcpsim.core.sequences import UNKNOWN
from mptcpsim.results.mptcp_capture import read_trace
from mptcpsim.results.mptcp_trace import (
    CLIENT,
    CLOSED_BY_DATA_FIN,
    CLOSED_BY_FASTCLOSE,
    NOT_CLOSED,
    SERVER,
)
from tests.captures import frames_of, mappings_of, public_capture, public_captures


@pytest.mark.parametrize("path", public_captures())
def test_public_captures_agree_with_themselves(path: Path) -> None:
    """What was computed anew matches, where the capture has all that it takes."""
    trace = read_trace(path)
    for found in trace.connections:
        assert found.key_echo_right in (None, True)
        for join in found.joins:
            assert join.syn_ack_hmac_right in (None, True)
            assert join.ack_hmac_right in (None, True)
        for host in found.hosts:
            assert all(fastclose.key_right for fastclose in host.fastcloses)
        assert all(m.checksum_right in (None, True) for m in mappings_of(found))
    taken = sum(len(frames_of(found)) for found in trace.connections)
    taken += sum(len(orphan.frames) for orphan in trace.orphans)
    assert 0 < taken <= sum(1 for _ in read_capture(path))
    assert len(trace.bad_options) == (1 if path.stem == "mptcp-dss-oobr" else 0)


#: Capture: for each connection (version, joins with their right HMACs, checksums that are right,
#: closing). Most are cut, so the closing is often not in them.
PUBLIC_STORIES: dict[str, list[tuple[int, int, int, str]]] = {
    "mptcp-v0": [(0, 1, 153, CLOSED_BY_DATA_FIN)],
    "mptcp-v1": [(1, 0, 0, NOT_CLOSED)],
    "mptcp-aa-v1": [(1, 0, 0, NOT_CLOSED)],
    "mptcp-aa-echo": [],
    "mptcp-fclose": [(0, 0, 2, CLOSED_BY_FASTCLOSE)],
    "mptcp-tcprst": [],
    "mptcp-dss-oobr": [(UNKNOWN, 0, 0, NOT_CLOSED)],
    "v0_2conn_8subflows_client_head": [(0, 2, 0, NOT_CLOSED), (0, 2, 0, NOT_CLOSED)],
    "v0_2conn_8subflows_server_head": [(0, 2, 0, NOT_CLOSED), (0, 2, 0, NOT_CLOSED)],
    "v0_2conn_8subflows_client_tail": [],
    "v0_ns3dce_iperf_head": [(0, 1, 1, NOT_CLOSED)],
    "plain_tcp_head": [(UNKNOWN, 0, 0, NOT_CLOSED), (UNKNOWN, 0, 0, NOT_CLOSED)],
}


@pytest.mark.parametrize("name", PUBLIC_STORIES)
def test_the_connections_of_public_captures(name: str) -> None:
    trace = read_trace(public_capture(name))
    assert [
        (
            found.version,
            sum(join.ack_hmac_right is True and join.syn_ack_hmac_right is True for join in found.joins),
            sum(
                m.checksum_right is True for flow in found.subflows for end in flow.ends for m in end.mappings
            ),
            found.closing,
        )
        for found in trace.connections
    ] == PUBLIC_STORIES[name]


def test_version_0_with_a_join_and_addresses() -> None:
    (found,) = read_trace(public_capture("mptcp-v0")).connections
    assert found.capables == {"SYN": [1], "SYN/ACK": [2], "ACK": [3], "data": []}
    (join,) = found.joins
    assert (join.syns, join.syn_acks, join.acks, join.token) == ([8], [9], [10], 3833528642)
    (announced,) = found.hosts[SERVER].announced
    assert (announced.frame, announced.option.address, announced.option.version()) == (4, "10.1.2.2", 0)
    assert found.hosts[SERVER].removed == [(210, (0,))]


def test_repeated_syns_are_one_connection() -> None:
    first, _ = read_trace(public_capture("v0_2conn_8subflows_client_head")).connections
    assert first.capables["SYN"] == [2, 4]
    assert [join.syns for join in first.joins] == [[14, 66], [15], [269]]
    assert first.joins[0].syns == [14, 66]


def test_an_early_kernel_took_the_first_bytes_of_the_hmac() -> None:
    """Not the last ones, as RFC 8684 section 3.4.1 has it: the option counts as forged."""
    (found,) = read_trace(public_capture("mptcp-aa-v1")).connections
    (announced,) = found.hosts[SERVER].announced
    assert announced.option.hmac.hex() == "669928744366716c"
    assert announced.hmac_right is False


def test_a_fast_close_of_version_0() -> None:
    (found,) = read_trace(public_capture("mptcp-fclose")).connections
    assert found.hosts[CLIENT].fastcloses == [(8, True)]
    assert found.subflows[0].ends[SERVER].resets == [(9, UNKNOWN)]


def test_options_without_their_connection() -> None:
    """Subflows that began before the capture keep their frames."""
    echo = read_trace(public_capture("mptcp-aa-echo"))
    assert [len(orphan.frames) for orphan in echo.orphans] == [1, 1]
    resets = read_trace(public_capture("mptcp-tcprst"))
    options = [option for orphan in resets.orphans for frame in orphan.frames for option in frame.options]
    assert options == [MpTcprst(0), MpTcprst(1, True)]
    tail = read_trace(public_capture("v0_2conn_8subflows_client_tail"))
    options = [option for orphan in tail.orphans for frame in orphan.frames for option in frame.options]
    assert sum(isinstance(option, MpFastclose) for option in options) == 3
    assert not any(isinstance(option, MpFail) for option in options)
