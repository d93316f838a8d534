"""An application over sockets that does what no flow of a scenario does: it aborts, and half-closes.

    python socket_program.py SCENARIO SEED CLIENT_ADDRESS SERVER_ADDRESS

``compare_checkouts`` runs it with the package of each checkout. It opens a few connections with the settings
of the scenario's first flow beside the flows of the scenario, and prints what its sockets see and a digest of
every packet at both hosts' first interfaces, each with its instant.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Generator
from typing import Any

from mptcpsim import build, load
from mptcpsim.codec.packet import encode
from mptcpsim.sim.sockets import ConnectionFailed

PORT = 7000


def main() -> None:
    """Run the program to the end of the scenario."""
    path, seed, client_address, server_address = sys.argv[1:]
    rng = random.Random(f"sockets {seed}")
    simulation = build(load(path))
    env, sockets = simulation.env, simulation.sockets
    (client_config, server_config) = simulation.scenario.flow_configs(simulation.scenario.flows[0])

    def say(*words: object) -> None:
        print(env.now, *words)

    def watch(place: str) -> None:
        def tap(packet: Any, now: int, leaves: bool) -> None:
            digest = hashlib.sha256(encode(packet)).hexdigest()[:16]
            print(now, place, ">" if leaves else "<", packet.size, digest)

        simulation.interface(place).tap = tap

    watch("C:eth0")
    watch("S:eth0")

    def end(name: str, socket: Any, size: int, ending: str, at: int) -> Generator[Any, Any, None]:
        """Write so much, read what comes, and end in one of several ways."""
        written = 0
        over: list[str] = []
        if ending in ("abort", "release"):
            act = socket.abort if ending == "abort" else socket.release
            env.process(later(at, act, f"{name} ends by {ending}", over))
        try:
            yield socket.established()
            while written < size and not over:
                count = socket.write(min(20_000, size - written))
                written += count
                if not count:
                    yield socket.writable()
            if ending == "close":
                say(name, "closes after", written)
                socket.close()
            while not socket.at_end and not over:
                yield socket.readable()
                say(name, "reads", socket.read(8_192))
            say(name, "is at the end")
            if not over:
                socket.close()
            yield socket.closed()
        except ConnectionFailed as error:
            say(name, "failed:", error)
        connection = socket.connection
        say(
            name,
            "has written",
            connection.written,
            "got",
            connection.delivered,
            "error",
            connection.error or "-",
        )

    def later(at: int, act: Callable[[], None], words: str, over: list[str]) -> Generator[Any, Any, None]:
        yield env.timeout(at * 1_000_000)
        say(words)
        over.append(words)
        act()

    def serve(number: int, port: int) -> Generator[Any, Any, None]:
        listening = sockets["S"].listen(port, server_config)
        socket = yield listening.accept()
        size, ending, at = rng.choice((0, 4_000, 60_000)), rng.choice(ENDINGS), rng.randrange(50, 1_500)
        yield from end(f"server {number}", socket, size, ending, at)

    def connect(number: int, port: int, start: int) -> Generator[Any, Any, None]:
        yield env.timeout(start * 1_000_000)
        socket = sockets["C"].connect(client_address, (server_address, port), client_config)
        size, ending, at = rng.choice((0, 9_000, 200_000)), rng.choice(ENDINGS), rng.randrange(1, 1_500)
        yield from end(f"client {number}", socket, size, ending, at)

    for number in range(4):
        env.process(serve(number, PORT + number))
        env.process(connect(number, PORT + number, rng.randrange(10, 1_500)))
    env.run(simulation.scenario.duration)


#: How an end ends: in order; after it was told so by the peer; with a reset; as a process that is ended.
ENDINGS = ("close", "linger", "abort", "abort", "release")


if __name__ == "__main__":
    main()
