"""Random runs of two seconds for the judge of stalls: what was sent, and what the applications did.

A run leaves captures of both hosts and a log of every read and write, which the judge reads, and what the
product says of its stalls, which is judged.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mptcpsim.codec.pcap import INBOUND, OUTBOUND, CaptureWriter
from mptcpsim.core.segment import Packet
from mptcpsim.results.series import SeriesRecorder
from mptcpsim.scenario.build import build
from mptcpsim.scenario.load import loads
from mptcpsim.scenario.run import measure
from mptcpsim.sim.sockets import Socket
from tests.measure.stall_traces import Act, Run

#: The profiles of both ends; the empty one is plain TCP.
PROFILES = (
    "rfc8684",
    "rfc8684",
    "linux-6.18",
    "linux-6.18",
    "linux-6.17-noprobe",
    "rfc6824",
    "caia-v0.4",
    "caia-v0.51",
    "",
    "",
    "",
)


class Plan(NamedTuple):
    """A scenario, and what the judge has to know of it."""

    text: str
    eager: bool
    buffer: int
    send_buffer: int
    profile: str
    client_sends: bool


def plan(seed: int) -> Plan:
    """Return a random scenario of two hosts and one or two paths."""
    rng = random.Random(f"stalls {seed}")
    # In some runs all is chosen freely, in others windows close, and updates get lost.
    theme = rng.choice(("free", "free", "closing", "turns"))
    closing = theme != "free"
    profile = "caia-v0.4" if theme == "turns" and rng.random() < 0.5 else rng.choice(PROFILES)
    paths = 2 if profile and rng.random() < 0.85 else 1
    client_sends = rng.random() < 0.75
    sender, receiver = ("C", "S") if client_sends else ("S", "C")
    buffer = rng.choice(
        (4_096, 8_192, 16_384, 32_768) if closing else (3_000, 8_192, 32_768, 65_536, 200_000)
    )
    send_buffer = rng.choice((65_536, 500_000) if closing else (4_000, 20_000, 65_536, 500_000))
    lines = [f'title = "stalls {seed}"', f"seed = {rng.randrange(1 << 31)}", 'duration = "2s"']
    lines += ["[results]", 'stall_threshold = "200ms"']
    for host, last in (("C", 1), ("S", 2)):
        interfaces = ", ".join(f'eth{path} = "10.{path}.0.{last}/24"' for path in range(paths))
        lines += [f"[hosts.{host}]", f"interfaces = {{ {interfaces} }}"]
        if profile:
            manager = ""
            if host == "C" and paths == 2 and not profile.startswith("caia"):
                manager = ', path_manager = { name = "endpoints", endpoints = "10.1.0.1 subflow" }'
            if paths == 2 and profile.startswith("caia"):
                addresses = f"10.1.0.{last}"
                manager = f', path_manager = {{ name = "mp_addresses", addresses = "{addresses}" }}'
            if rng.random() < 0.3:
                manager += f', scheduler = "{rng.choice(("minrtt", "roundrobin", "redundant"))}"'
            lines += [f'mptcp = {{ profile = "{profile}"{manager} }}']
            if paths == 2:
                lines += [f'rules = ["from 10.1.0.{last} lookup 1"]']
                lines += [f'tables = {{ 1 = ["10.0.0.{3 - last}/32 via 10.1.0.{3 - last}"] }}']
    for path in range(paths):
        lines += ["[[links]]", f'name = "path{path}"', f'ends = ["C:eth{path}", "S:eth{path}"]']
        lines += [f'rate = "{rng.choice((500, 1000, 2000, 4000))}kbps"']
        lines += [
            f'delay = "{rng.choice((1, 5, 10, 20, 40, 90))}ms"',
            f"queue = {rng.choice((5, 10, 20, 40))}",
        ]
        if rng.random() < (0.1 if closing else 0.35):
            lines += [f"loss = {rng.choice((0.005, 0.02, 0.08))}"]
        if rng.random() < (0.8 if closing else 0.4):
            match = rng.choice(
                ("window-update",) * (8 if closing else 2) + ("zero-window", "pure-ack", "data", "probe")
            )
            which = rng.choice(
                ("first = 1", "first = 3", "after = 2", "every = 3", "nth = [2]", "nth = [1, 4]")
            )
            box = f'{{ name = "drop", match = "{match}", {which} }}'
            if match in ("pure-ack", "data") or rng.random() < 0.4:
                start = rng.randrange(200, 1500)
                until = start + rng.choice((50, 300, 900))
                box = f'{{ name = "drop", match = "{match}", from = "{start}ms", until = "{until}ms" }}'
            lines += [f"middleboxes = [{box}]"]
    lines += ["[[flows]]", 'name = "f"', 'client = "C"', 'server = "S"']
    eager = not closing and rng.random() < 0.4
    kind = rng.choice(
        ("bulk",) * (9 if closing else 3) + ("bytes", "writes", "constant-rate", "on-off", "requests")
    )
    if kind == "requests" and not client_sends:
        lines += ['app = "request-response"', f"response = '{rng.choice((2_000, 30_000, 200_000))}B'"]
        lines += [f'every = "{rng.choice((0, 100, 400))}ms"']
        eager = False
    else:
        lines += [f"reverse = {'false' if client_sends else 'true'}"]
        if kind == "time":
            lines += [f'duration = "{rng.choice((300, 700, 1_100))}ms"']
        elif kind == "bytes":
            lines += [f"bytes = '{rng.choice((20_000, 150_000))}B'"]
        elif kind == "writes":
            lines += [f"write_size = '{rng.choice((500, 3_000, 50_000))}B'"]
        elif kind in ("constant-rate", "on-off"):
            lines += [f'app = "{kind}"', f'rate = "{rng.choice((100, 800))}kbps"']
            lines += [f"message = '{rng.choice((500, 2_000, 12_500))}B'"]
            if kind == "on-off":
                lines += [f'on = "{rng.choice((50, 300))}ms"', f'off = "{rng.choice((100, 500))}ms"']
        if not eager:
            size = rng.choice((1_000, 4_096, 32_768, 262_144) if closing else (100, 1_000, 4_096, 262_144))
            reader = f"read_size = '{size}B'"
            if rng.random() < 0.5:
                reader += f', every = "{rng.choice((5, 20, 100, 350))}ms"'
            if rng.random() < (0.9 if closing else 0.3):
                pause = rng.choice((150, 400, 700))
                reader += f', pause = "{pause}ms", pause_after = "{rng.choice((0, 5_000, 40_000))}B"'
            lines += [f"reader = {{ {reader} }}"]
    timestamps = "" if rng.random() < 0.85 else ", timestamps = false"
    ends = {sender: f"send_buffer = '{send_buffer}B'", receiver: f"receive_buffer = '{buffer}B'"}
    for host, end in (("C", "client"), ("S", "server")):
        lines += [f"{end}_tcp = {{ {ends[host]}{timestamps} }}"]
    for path in range(paths):
        if rng.random() < (0.15 if closing else 0.35):
            at = rng.randrange(100, 1_500)
            lines += ["[[events]]", f'at = "{at}ms"', 'action = "down"', f'link = "path{path}"']
            if rng.random() < 0.7:
                again = at + rng.choice((100, 250, 400, 800))
                lines += ["[[events]]", f'at = "{again}ms"', 'action = "up"', f'link = "path{path}"']
    text = "\n".join(lines) + "\n"
    return Plan(text, eager, buffer, send_buffer, profile, client_sends)


def carry_out(plan: Plan, directory: Path) -> Run:
    """Run a scenario and return what it leaves."""
    simulation = build(loads(plan.text))
    acts: dict[str, list[Act]] = {"C": [], "S": []}
    sender, receiver = ("C", "S") if plan.client_sends else ("S", "C")
    captures = {}
    with SeriesRecorder(directory / "series.parquet") as recorder, logging(acts):
        for name, host in simulation.hosts.items():
            writer = CaptureWriter(directory / f"{name}.pcapng")
            for interface in host.interfaces.values():
                interface.tap = tap(writer, writer.add_interface(interface.label))
            captures[name] = writer
        summary = measure(simulation, recorder).as_dict()
    for writer in captures.values():
        writer.close()
    return Run(
        plan.text,
        (captures[sender].path, captures[receiver].path),
        acts[sender],
        acts[receiver],
        plan.eager,
        plan.buffer,
        plan.send_buffer,
        plan.profile,
        simulation.flows[0].failed_at,
        plan.client_sends,
        summary["flows"][0]["stalls"],
    )


def tap(writer: CaptureWriter, number: int) -> Callable[[Packet, int, bool], None]:
    """Return what writes the packets of an interface."""
    return lambda packet, now, outgoing: writer.write_packet(
        number, now, packet, OUTBOUND if outgoing else INBOUND
    )


@contextmanager
def logging(acts: dict[str, list[Act]]) -> Iterator[None]:
    """Note what applications do with their sockets, by host."""
    read, write, writable, close = Socket.read, Socket.write, Socket.writable, Socket.close

    def note(socket: Socket, what: str, count: int) -> None:
        acts[socket._host.name].append(Act(socket._env.now, what, count))

    def logged_read(socket: Socket, limit: int) -> int:
        acts_here = acts[socket._host.name]
        place, now = len(acts_here), socket._env.now
        count = read(socket, limit)
        # What the read sets off is noted behind it.
        acts_here.insert(place, Act(now, "read", count))
        return count

    def logged_write(socket: Socket, count: int) -> int:
        acts_here = acts[socket._host.name]
        place, now = len(acts_here), socket._env.now
        accepted = write(socket, count)
        acts_here.insert(place, Act(now, "write", accepted))
        return accepted

    def logged_writable(socket: Socket) -> Any:
        event = writable(socket)
        if not event.triggered:
            note(socket, "wait", 0)
            event.callbacks.append(lambda _: note(socket, "go", 0))
        return event

    def logged_close(socket: Socket) -> None:
        note(socket, "close", 0)
        close(socket)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Socket, "read", logged_read)
        patch.setattr(Socket, "write", logged_write)
        patch.setattr(Socket, "writable", logged_writable)
        patch.setattr(Socket, "close", logged_close)
        yield
