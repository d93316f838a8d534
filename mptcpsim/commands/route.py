"""``mptcpsim route``: which way packets take, hop by hop, and which table, rule or state decided.

Exit status: 0 packet and answer arrive, for every pair; 1 one of them does not; 2 wrong input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from mptcpsim.commands.progress import Progress

EXIT_LOST = 1
EXIT_INPUT = 2


def _fail(message: str) -> NoReturn:
    print(f"mptcpsim: {message}", file=sys.stderr)
    raise typer.Exit(EXIT_INPUT)


PortOption = Annotated[int, typer.Option(min=1, max=65535, help="Port of the destination.")]


def route(
    scenario: Annotated[Path, typer.Argument(help="The scenario file (TOML).")],
    host: Annotated[str | None, typer.Argument(help="Who sends: a name or an address.")] = None,
    src: Annotated[
        str | None, typer.Argument(help="Source: an address, an interface, or the host for routing's choice.")
    ] = None,
    dst: Annotated[
        str | None, typer.Argument(help="Destination: an address, a host, or an interface as B:em0.")
    ] = None,
    port: PortOption = 5001,
    sport: Annotated[int, typer.Option(min=1, max=65535, help="Port of the source.")] = 49152,
    size: Annotated[int, typer.Option(min=0, max=65535, help="Bytes of the packet out, to meet MTUs.")] = 0,
    at: Annotated[
        str, typer.Option(metavar="TIME", help="After the events up to this instant, such as 3s.")
    ] = "0s",
    pairs: Annotated[
        Path | None, typer.Option(help="A file with HOST SRC DST in each line, in place of one pair.")
    ] = None,
    random: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="So many random pairs of hosts instead.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random pairs.")] = 1,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key first, as for `run`. Repeatable."),
    ] = None,
    form: Annotated[
        Literal["text", "json"], typer.Option("--format", help="For people, or for programs.")
    ] = "text",
) -> None:
    """Follow a packet and the answer to it from hop to hop, and say why they go there."""
    from mptcpsim.route.report import data_of, line_of, text_of
    from mptcpsim.route.trips import AddressPair, ProbedNetwork, random_pairs, read_pairs
    from mptcpsim.scenario.errors import ScenarioError
    from mptcpsim.scenario.load import load
    from mptcpsim.units import UnitError, parse_time

    words = [word for word in (host, src, dst) if word is not None]
    if (len(words) == 3) + (pairs is not None) + (random is not None) != 1 or len(words) in (1, 2):
        _fail("say who sends what where: HOST SRC DST, or --pairs FILE, or --random N")
    try:
        with Progress("following packets"):
            network = ProbedNetwork(load(scenario, changes or []), parse_time(at))
            wanted: list[AddressPair] = []
            if pairs is not None:
                wanted = read_pairs(pairs.read_text(encoding="utf-8-sig"), str(pairs))
            elif random is not None:
                wanted = list(random_pairs(network, random, seed))
            else:
                wanted = [(words[0], words[1], words[2])]
            trips = [network.trip(pair, sport, port, size) for pair in wanted]
    except UnitError as error:
        _fail(f"--at {error}")
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"{pairs}: cannot be read: {error}; name a text file")
    except ScenarioError as error:
        _fail(str(error))
    many = pairs is not None or random is not None
    if form == "json":
        data = [data_of(trip) for trip in trips]
        print(json.dumps(data if many else data[0], indent=2, ensure_ascii=False))
    else:
        for trip in trips:
            print(line_of(trip) if many else text_of(trip))
    if not all(trip.arrived for trip in trips):
        raise typer.Exit(EXIT_LOST)
