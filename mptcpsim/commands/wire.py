"""``mptcpsim wire``: the stack on real interfaces, with the kernel at the other end.

Exit status: 0 all went well; 1 a connection or the program at the other end failed; 2 wrong input, or the
machine cannot do it, with one message on stderr that says what is missing and how to get it; 4 bytes
were delivered wrongly; 130 interrupted, 143 terminated (nothing is left behind).
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

if TYPE_CHECKING:
    from mptcpsim.wire.session import BedSettings, FlowSettings

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_INTEGRITY = 4

#: Exit status of a program that a signal has ended, less the number of the signal.
_BY_SIGNAL = 128

app = typer.Typer(
    name="wire",
    help="Talk to the Linux kernel: the same stack on real interfaces, in namespaces of its own.",
    no_args_is_help=True,
)


def _fail(message: str, status: int) -> NoReturn:
    print(f"mptcpsim: {message}", file=sys.stderr)
    raise typer.Exit(status)


@contextlib.contextmanager
def _complaints() -> Iterator[None]:
    """Turn what can go wrong into a message and an exit status."""
    from mptcpsim.scenario.catalogue import load_plugins
    from mptcpsim.wire.devices import DeviceError
    from mptcpsim.wire.driver import WireTimeout
    from mptcpsim.wire.probe import Unavailable
    from mptcpsim.wire.session import Interrupted, WireInputError, signals_end_the_run

    load_plugins()
    try:
        with signals_end_the_run():
            yield
    except (Unavailable, DeviceError, WireInputError) as error:
        _fail(str(error), EXIT_INPUT)
    except WireTimeout as error:
        _fail(f"not done {error}: raise --limit, or send less", EXIT_FAILED)
    except Interrupted as interrupted:
        number = int(interrupted.args[0])
        word = "interrupted" if number == signal.SIGINT else "terminated"
        _fail(f"{word}; nothing is left behind", _BY_SIGNAL + number)


# --- Options --------------------------------------------------------------------------------------

PathsChoice = Annotated[int, typer.Option(min=1, max=9, help="Paths between the two ends.")]
DeviceKindChoice = Annotated[
    Literal["tun", "packet"], typer.Option("--device", help="TUN, or a packet socket on a veth.")
]
Ipv6Choice = Annotated[bool, typer.Option("--ipv6", "-6", help="Use IPv6.")]
MtuChoice = Annotated[int, typer.Option(min=600, max=65535, help="MTU of each path, bytes.")]
LossChoice = Annotated[
    float, typer.Option(min=0.0, max=0.9, help="Lose packets at random: a probability, in both directions.")
]
SeedChoice = Annotated[
    int | None, typer.Option(help="Of keys, ports and losses; without it they are secrets.")
]
PcapChoice = Annotated[Path | None, typer.Option("--pcap", help="Write a capture (pcapng) of all paths.")]
ProfileChoice = Annotated[
    str, typer.Option(help="Behaviour of MPTCP: linux-6.18, rfc8684; or tcp for plain TCP.")
]
PortChoice = Annotated[int, typer.Option(min=1, max=65535, help="The server's port.")]
LimitChoice = Annotated[
    float, typer.Option(min=1.0, max=86400.0, help="The longest that the run may take, s.")
]
AmountChoice = Annotated[str, typer.Option("--bytes", "-n", help="Bytes of each connection, such as 50MB.")]
SecondsChoice = Annotated[
    float, typer.Option("--seconds", "-t", min=0.0, help="Send for so long instead of a number of bytes.")
]
ParallelChoice = Annotated[
    int, typer.Option("--parallel", "-P", min=1, max=64, help="Connections at the same time.")
]
ReceiveBufferChoice = Annotated[str, typer.Option("--rcvbuf", help="SO_RCVBUF of our end, such as 256KiB.")]
NoDelayChoice = Annotated[bool, typer.Option("--nodelay", help="TCP_NODELAY: without Nagle's algorithm.")]
FlowsChoice = Annotated[
    list[str] | None,
    typer.Option(
        "--flow",
        metavar="WORDS",
        help="One more connection, with its own settings: 'profile=rfc8684 rcvbuf=64KiB nodelay "
        "congestion=reno sndbuf=1MiB'. Repeatable; in place of --parallel.",
    ),
]
JsonChoice = Annotated[bool, typer.Option("--json", "-J", help="Print JSON in the shape of iperf3.")]
CommandChoice = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- COMMAND...]", help="A program to run in the kernel's namespace."),
]


def _bed(
    paths: int, device: str, ipv6: bool, mtu: int, loss: float, seed: int | None, pcap: Path | None
) -> BedSettings:
    """Check the options about the testbed."""
    from mptcpsim.wire.session import BedSettings

    if ipv6 and mtu < 1280:
        _fail(f"--mtu {mtu} is too small for IPv6: write 1280 or more (RFC 8200)", EXIT_INPUT)
    if pcap is not None and not pcap.parent.is_dir():
        _fail(f"--pcap {pcap}: there is no directory {pcap.parent}; make it first", EXIT_INPUT)
    return BedSettings(paths, device, ipv6, mtu, loss, seed, pcap)


def _flows(
    profile: str, rcvbuf: str, nodelay: bool, parallel: int, flows: list[str] | None
) -> list[FlowSettings]:
    """Check the options about connections, and return one of each."""
    from mptcpsim.wire.session import FlowSettings, parse_flow

    words = f"profile={profile}" + (f" rcvbuf={rcvbuf}" if rcvbuf else "") + (" nodelay" if nodelay else "")
    base = parse_flow(words, FlowSettings())
    if flows:
        if parallel > 1:
            _fail("--parallel and --flow both say how many connections: keep one of them", EXIT_INPUT)
        return [parse_flow(text, base) for text in flows]
    return [base] * parallel


def _amount(text: str, seconds: float) -> int:
    from mptcpsim.units import UnitError, parse_size

    if seconds:
        return 0
    try:
        return parse_size(text)
    except UnitError as error:
        _fail(f"--bytes {error}", EXIT_INPUT)


# --- send, request --------------------------------------------------------------------------------


@app.command(epilog="Example: [bold]mptcpsim wire send -t 10 --paths 2[/bold]")
def send(
    command: CommandChoice = None,
    amount: AmountChoice = "10MB",
    seconds: SecondsChoice = 0.0,
    parallel: ParallelChoice = 1,
    flows: FlowsChoice = None,
    profile: ProfileChoice = "linux-6.18",
    rcvbuf: ReceiveBufferChoice = "",
    nodelay: NoDelayChoice = False,
    port: PortChoice = 5000,
    paths: PathsChoice = 2,
    device: DeviceKindChoice = "tun",
    ipv6: Ipv6Choice = False,
    mtu: MtuChoice = 1500,
    loss: LossChoice = 0.0,
    seed: SeedChoice = None,
    pcap: PcapChoice = None,
    limit: LimitChoice = 300.0,
    as_json: JsonChoice = False,
) -> None:
    """Connect to a server of the kernel and send, from our stack."""
    with _complaints():
        bed = _bed(paths, device, ipv6, mtu, loss, seed, pcap)
        wanted = _flows(profile, rcvbuf, nodelay, parallel, flows)
        status = _transfer(
            bed, wanted, _amount(amount, seconds), seconds, port, limit, as_json, command, False
        )
    raise typer.Exit(status)


@app.command(epilog="Example: [bold]mptcpsim wire request -n 50MB --flow nodelay --flow profile=tcp[/bold]")
def request(
    amount: AmountChoice = "10MB",
    seconds: SecondsChoice = 0.0,
    parallel: ParallelChoice = 1,
    flows: FlowsChoice = None,
    profile: ProfileChoice = "linux-6.18",
    rcvbuf: ReceiveBufferChoice = "",
    nodelay: NoDelayChoice = False,
    port: PortChoice = 5000,
    paths: PathsChoice = 2,
    device: DeviceKindChoice = "tun",
    ipv6: Ipv6Choice = False,
    mtu: MtuChoice = 1500,
    loss: LossChoice = 0.0,
    seed: SeedChoice = None,
    pcap: PcapChoice = None,
    limit: LimitChoice = 300.0,
    as_json: JsonChoice = False,
) -> None:
    """Connect to a server of the kernel, which sends to our stack."""
    with _complaints():
        bed = _bed(paths, device, ipv6, mtu, loss, seed, pcap)
        wanted = _flows(profile, rcvbuf, nodelay, parallel, flows)
        status = _transfer(bed, wanted, _amount(amount, seconds), seconds, port, limit, as_json, None, True)
    raise typer.Exit(status)


def _require(bed: BedSettings, *more: str) -> None:
    from mptcpsim.wire import probe

    probe.require([probe.TUN if bed.device == "tun" else probe.PACKET, *more])


def _transfer(
    bed: BedSettings,
    flows: list[FlowSettings],
    amount: int,
    seconds: float,
    port: int,
    limit: float,
    as_json: bool,
    command: list[str] | None,
    reverse: bool,
) -> int:
    """Send or fetch on several connections; return the exit status."""
    from mptcpsim.units import SECOND
    from mptcpsim.wire import probe
    from mptcpsim.wire.exchange import Exchange
    from mptcpsim.wire.measure import iperf_json, report_lines
    from mptcpsim.wire.session import wire_session

    _require(bed, probe.MPTCP)
    with wire_session(bed) as session:
        exchange = Exchange(session, flows, amount, round(seconds * SECOND), port, reverse, command)

        def show(found: Any) -> None:
            if not as_json:
                for line in report_lines(found, reverse):
                    print(line, flush=True)

        exchange.run(round(limit * SECOND), show)
        show(exchange.meter.look())
        if as_json:
            from mptcpsim.results.meta import version

            title = f"mptcpsim {version('mptcpsim')}"
            print(
                json.dumps(iperf_json(exchange.meter, exchange.transfers, exchange.reports, reverse, title))
            )
        else:
            for line in exchange.summary():
                print(line)
        if exchange.wrong:
            print(f"mptcpsim: the bytes delivered are not those sent: {exchange.wrong}", file=sys.stderr)
            return EXIT_INTEGRITY
        if exchange.errors:
            print(f"mptcpsim: {'; '.join(exchange.errors)}", file=sys.stderr)
            return EXIT_FAILED
    return 0


# --- serve ----------------------------------------------------------------------------------------


@app.command(
    epilog="Example: [bold]mptcpsim wire serve --http . -- mptcpize run curl -O http://10.1.0.1/README.md[/bold]"
)
def serve(
    command: CommandChoice = None,
    http: Annotated[
        Path | None, typer.Option("--http", metavar="DIR", help="Serve the files of a directory by HTTP.")
    ] = None,
    iperf3: Annotated[bool, typer.Option("--iperf3", help="Be a server for iperf3.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0: 80 for HTTP, 5201 for iperf3, else 5000.")
    ] = 0,
    profile: ProfileChoice = "linux-6.18",
    rcvbuf: ReceiveBufferChoice = "",
    nodelay: NoDelayChoice = False,
    paths: PathsChoice = 2,
    device: DeviceKindChoice = "tun",
    ipv6: Ipv6Choice = False,
    mtu: MtuChoice = 1500,
    loss: LossChoice = 0.0,
    seed: SeedChoice = None,
    pcap: PcapChoice = None,
    limit: LimitChoice = 300.0,
    as_json: JsonChoice = False,
) -> None:
    """Serve programs of the kernel's end: until COMMAND has ended, or for --limit seconds without one.

    Without --http or --iperf3 everything that arrives is read and counted.
    """
    from mptcpsim.units import SECOND

    with _complaints():
        if http is not None and iperf3:
            _fail("--http and --iperf3 are two servers: ask for one of them", EXIT_INPUT)
        if http is not None and not http.is_dir():
            _fail(
                f"--http {http}: there is no such directory; name one whose files are to be served",
                EXIT_INPUT,
            )
        bed = _bed(paths, device, ipv6, mtu, loss, seed, pcap)
        flow = _flows(profile, rcvbuf, nodelay, 1, None)[0]
        status = _serve(bed, flow, http, iperf3, port, round(limit * SECOND), as_json, command)
    raise typer.Exit(status)


def _serve(
    bed: BedSettings,
    flow: FlowSettings,
    http: Path | None,
    iperf3: bool,
    port: int,
    limit: int,
    as_json: bool,
    command: list[str] | None,
) -> int:
    from mptcpsim.wire import probe
    from mptcpsim.wire.service import Service
    from mptcpsim.wire.session import wire_session

    _require(bed, *([probe.H11] if http is not None else []))

    def say(line: str) -> None:
        if not as_json:
            print(line, flush=True)

    with wire_session(bed) as session:
        service = Service(session, flow, port, http, iperf3, say)
        say(
            f"serving at {session.near} port {service.port}; "
            f"in reach of it: ip netns exec {session.bed.kernel.name} ..."
        )
        status = service.run(limit, command)
        if as_json:
            print(json.dumps(service.as_dict()))
        else:
            for line in service.summary():
                print(line)
    if status:
        print(f"mptcpsim: {' '.join(command or [])}: exit status {status}", file=sys.stderr)
        return EXIT_FAILED
    return 0


# --- probe, clean ---------------------------------------------------------------------------------


@app.command(epilog="Example: [bold]mptcpsim wire probe[/bold]")
def probe(as_json: JsonChoice = False) -> None:
    """Say what this machine can do, what is missing, and how to get it."""
    from mptcpsim.wire import probe as look

    found = look.look()
    programs = look.programs()
    if as_json:
        print(json.dumps([capability._asdict() for capability in [*found, *programs]], indent=2))
    else:
        for capability in [*found, *programs]:
            print(f"{'yes' if capability.there else 'no ':3}  {capability.what:10}  {capability.detail}")
    missing = [capability for capability in found if not capability.there]
    if missing:
        _fail("; ".join(capability.detail for capability in missing), EXIT_INPUT)


@app.command(epilog="Example: [bold]mptcpsim wire clean[/bold]")
def clean() -> None:
    """Remove the namespaces, with links, addresses and rules, that killed runs have left behind."""
    from mptcpsim.wire import leftovers
    from mptcpsim.wire import probe as look

    try:
        look.require([])
        removed = leftovers.clean()
    except look.Unavailable as error:
        _fail(str(error), EXIT_INPUT)
    except OSError as error:
        _fail(f"a namespace cannot be removed: {error.strerror}; run as root", EXIT_INPUT)
    for name in removed:
        print(f"removed {name}")
    print(f"{len(removed)} left behind" if removed else "nothing was left behind")
