"""A Hypothesis strategy for the behaviour of a TCP end."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mptcpsim.core.config import TcpConfig
from mptcpsim.units import SECOND

BUFFERS = st.one_of(
    st.sampled_from((4_194_304, 5_000, 4_096, 16_384, 65_535, 65_536, 100_001, 262_145)),
    st.integers(1_000, 20_000),
    st.integers(1, 3_000),
)
#: Near the places where sequence numbers and timestamps wrap; -1 draws them.
SEQUENCES = st.sampled_from((-1, 0, 1, 0x7FFF_FFF0, 0xFFFF_0000, 0xFFFF_FFF0, 0xFFFF_FFFF))


@st.composite
def tcp_configs(draw: Any, fixed: dict[str, Any]) -> dict[str, Any]:
    """Draw the behaviour of one end, but for what is fixed: the fields that are not the default."""
    values: dict[str, Any] = {
        "mss": draw(st.sampled_from((0, 0, 0, 0, 1, 64, 88, 200, 536, 1_000))),
        "congestion": draw(st.sampled_from(("cubic", "reno"))),
        "initial_window_segments": draw(st.sampled_from((10, 1, 3))),
        "send_buffer": draw(st.sampled_from((4_194_304, 1_000, 20_000))),
        "receive_buffer": draw(BUFFERS),
        "receive_autotune": draw(st.sampled_from((False, False, False, True))),
        "receive_buffer_max": draw(st.sampled_from((1_048_576, 50_000))),
        "window_scaling": draw(st.sampled_from((True, True, True, False))),
        "window_scale": draw(st.sampled_from((-1, -1, 0, 1, 3, 7, 10, 14))),
        "sack": draw(st.sampled_from((True, True, False))),
        "rack_tlp": draw(st.sampled_from((True, False))),
        "timestamps": draw(st.sampled_from((True, False))),
        "limited_transmit": draw(st.sampled_from((True, False))),
        "ecn": draw(st.booleans()),
        "nagle": draw(st.sampled_from((True, False))),
        "ack_every": draw(st.sampled_from((2, 1))),
        "zero_window_probe": draw(st.sampled_from(("byte", "empty"))),
        "data_retries": draw(st.sampled_from((15, 15, 15, 4))),
        "keepalive": draw(st.sampled_from((False, False, False, True))),
        "keepalive_idle": 20 * SECOND,
        "keepalive_interval": 5 * SECOND,
        "slow_start_after_idle": draw(st.sampled_from((True, False))),
        "initial_sequence": draw(SEQUENCES),
        "initial_timestamp": draw(SEQUENCES),
        "header_prediction": draw(st.sampled_from((True, True, False))),
    }
    default = TcpConfig()
    return {name: value for name, value in (values | fixed).items() if value != getattr(default, name)}
