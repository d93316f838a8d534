"""From a scenario to the objects that run: the one module that knows every layer."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mptcpsim.codec.roundtrip import Recoder
from mptcpsim.core.stack import Stack
from mptcpsim.net.host import Host
from mptcpsim.net.link import Link
from mptcpsim.net.loss import ListedLoss, LossModel, PeriodicLoss
from mptcpsim.net.node import DEFAULT_MTU, Interface, Node
from mptcpsim.net.pipe import PipeSettings
from mptcpsim.net.router import Router
from mptcpsim.net.switch import Switch
from mptcpsim.net.topology import Topology
from mptcpsim.scenario import schema
from mptcpsim.scenario.catalogue import load_plugins, parameters
from mptcpsim.scenario.check import flow_addresses
from mptcpsim.scenario.routes import routing_table, split_end
from mptcpsim.sim.apps import Bulk, ConstantRate, OnOff, Reader, Source
from mptcpsim.sim.engine import Environment
from mptcpsim.sim.flow import Flow, OneWayFlow, RequestResponseFlow
from mptcpsim.sim.sockets import Sockets
from mptcpsim.streams import stream


class Simulation:
    """A scenario, built and ready to run.

    Attributes:
        scenario: what it was built from.
        env: clock and SimPy environment; ``env.run(until=...)`` runs it.
        topology: nodes and links by name.
        hosts: hosts by name, in the order of the scenario.
        sockets: the socket layer of each host, for applications of one's own.
        flows: the flows, in the order of the scenario.
    """

    def __init__(self, scenario: schema.Scenario) -> None:
        self.scenario = scenario
        self.env = Environment()
        self.topology = Topology()
        self.hosts: dict[str, Host] = {}
        self.sockets: dict[str, Sockets] = {}
        self.flows: list[Flow] = []

    def interface(self, end: str) -> Interface:
        """Return the interface that ``"NODE:INTERFACE"`` names."""
        node, _, name = end.partition(":")
        return self.topology.nodes[node].interfaces[name]

    def owner(self, address: str) -> Stack | None:
        """Return the stack of the host that has an address, or None."""
        for host in self.hosts.values():
            if address in host.addresses:
                return host.stack
        return None


def build(scenario: schema.Scenario, *, roundtrip: bool = False, general: bool = False) -> Simulation:
    """Build nodes, links, routes, flows and the timeline of a scenario that was loaded.

    Args:
        scenario: as ``scenario.load`` returns it.
        roundtrip: every packet is encoded and decoded at every hop.
        general: every pipe is the event-by-event one, the oracle of the fast one.
    """
    load_plugins()
    simulation = Simulation(scenario)
    _nodes(simulation)
    _links(simulation, general)
    _routes(simulation)
    if roundtrip:
        _encode_everything(simulation)
    for index, flow in enumerate(scenario.flows):
        simulation.flows.append(_flow(simulation, index, flow))
    if scenario.events:
        simulation.env.process(_timeline(simulation))
    return simulation


# --- Network ------------------------------------------------------------------------------------


def _nodes(simulation: Simulation) -> None:
    scenario = simulation.scenario
    loop = simulation.env.loop
    mtu = {end: link.mtu for link in scenario.links for end in link.ends}

    def add(node: Node, spec: schema.NodeSpec | None) -> None:
        simulation.topology.add_node(node)
        for name, interface in (spec.interfaces if spec else {}).items():
            node.add_interface(name, interface.addresses, mtu.get(f"{node.name}:{name}", DEFAULT_MTU))

    for name, spec in scenario.hosts.items():
        stack = Stack(name, stream(scenario.seed, f"host/{name}"), scenario.tcp_config(name))
        host = Host(loop, name, stack)
        add(host, spec)
        simulation.hosts[name] = host
        simulation.sockets[name] = Sockets(simulation.env, host)
    for name, router in scenario.routers.items():
        add(Router(loop, name), router)
    for name in scenario.switches:
        add(Switch(loop, name), None)


def _links(simulation: Simulation, general: bool) -> None:
    scenario = simulation.scenario
    nodes = simulation.topology.nodes
    for spec in scenario.links:
        ends: list[Interface] = []
        for end in spec.ends:
            port = split_end(end)
            if isinstance(port, str):
                ends.append(nodes[port].add_interface("", (), spec.mtu))
            else:
                ends.append(nodes[port.node].interfaces[port.interface])
        directions = spec.direction(True), spec.direction(False)
        settings = [pipe_settings(spec, direction) for direction in directions]
        link = Link(
            simulation.env.loop,
            spec.name,
            ends[0],
            ends[1],
            settings[0],
            settings[1],
            seed=scenario.seed,
            mtu=spec.mtu,
            general=general,
        )
        for pipe, direction in zip(link.pipes(), directions, strict=True):
            model = counted_loss(direction.loss)
            if model is not None:
                pipe.set_loss(model)
        simulation.topology.add_link(link)


def pipe_settings(link: schema.LinkSpec, direction: schema.DirectionSpec) -> PipeSettings:
    """Return the settings of the pipe of one direction, as ``LinkSpec.direction`` completes it."""
    assert direction.queue is not None
    assert direction.qdisc is not None
    return PipeSettings(
        rate_bps=direction.rate or 0,
        delay_ns=direction.delay or 0,
        limit=direction.queue.slots or direction.queue.size,
        limit_in_bytes=direction.queue.slots == 0,
        burst_bits=8 * (direction.burst or 0),
        overhead_bytes=link.overhead_bytes,
        plr=random_loss_values(direction.loss),
        qdisc=direction.qdisc.name,
        qdisc_parameters=parameters("qdisc", direction.qdisc.name, direction.qdisc.parameters),
        jitter_ns=direction.jitter or 0,
        jitter_reorders=bool(direction.jitter_reorders),
        reorder=direction.reorder or 0.0,
        reorder_ns=direction.reorder_delay or 0,
        duplicate=direction.duplicate or 0.0,
        corrupt=direction.corrupt or 0.0,
        down_drops_queue=link.down_drops_queue,
        down_drops_flight=link.down_drops_flight,
    )


def random_loss_values(loss: schema.Loss | None) -> tuple[float, ...]:
    """Return a loss as dummynet's ``plr``: nothing, p, or K, p, H, r."""
    if isinstance(loss, schema.GilbertElliott):
        return (loss.k, loss.p, loss.h, loss.r)
    return (loss,) if isinstance(loss, float) and loss > 0.0 else ()


def counted_loss(loss: schema.Loss | None) -> LossModel | None:
    """Return the model of a loss that counts packets, else None."""
    if isinstance(loss, schema.PeriodicLoss):
        return PeriodicLoss(loss.every, loss.first)
    if isinstance(loss, schema.ListedLoss):
        return ListedLoss(loss.packets)
    return None


def _routes(simulation: Simulation) -> None:
    scenario = simulation.scenario
    for name, spec in scenario.nodes.items():
        node = simulation.topology.nodes[name]
        for route in routing_table(spec):
            node.routes.add(str(route.network), node.interfaces[route.interface], route.gateway or "")
    if scenario.routing == "static":
        simulation.topology.install_routes(nodes=())
    else:
        simulation.topology.install_routes(scenario.routing)


def _encode_everything(simulation: Simulation) -> None:
    recoder = Recoder(simulation.owner, stream(simulation.scenario.seed, "roundtrip"))
    for link in simulation.topology.links.values():
        link.a.recode = link.b.recode = recoder


# --- Applications and timeline ------------------------------------------------------------------


def _flow(simulation: Simulation, index: int, flow: schema.FlowSpec) -> Flow:
    scenario = simulation.scenario
    local, remote = flow_addresses(scenario, flow)
    common = (
        simulation.env,
        flow.name,
        simulation.sockets[flow.client],
        simulation.sockets[flow.server],
        local,
        (remote, flow.port),
        *scenario.flow_configs(flow),
        flow.start,
    )
    reader = Reader(flow.reader.read_size, flow.reader.every) if flow.reader is not None else None
    source: Source
    if isinstance(flow, schema.RequestResponseFlow):
        return RequestResponseFlow(
            *common, request=flow.request, response=flow.response, every=flow.every, count=flow.count
        )
    if isinstance(flow, schema.BulkFlow):
        source, reverse = Bulk(flow.bytes, flow.duration), flow.reverse
    elif isinstance(flow, schema.ConstantRateFlow):
        source, reverse = ConstantRate(flow.rate, flow.message, flow.bytes, flow.duration), flow.reverse
    else:
        assert isinstance(flow, schema.OnOffFlow)
        rng = stream(scenario.seed, f"flow/{flow.name}") if flow.random else None
        source = OnOff(flow.rate, flow.message, flow.on, flow.off, rng, flow.bytes, flow.duration)
        reverse = flow.reverse
    return OneWayFlow(*common, source=source, reader=reader, reverse=reverse)


def _timeline(simulation: Simulation) -> Generator[Any, Any, None]:
    """Change links as the scenario's events say, those of one instant in the order of the file."""
    env = simulation.env
    for event in sorted(simulation.scenario.events, key=lambda event: event.at):
        if event.at > env.now:
            yield env.timeout(event.at - env.now)
        apply_event(simulation.topology.links[event.link], event)


def apply_event(link: Link, event: schema.EventSpec) -> None:
    """Change a link as an event says."""
    direction = event.direction
    if event.action != "set":
        link.set_up(event.action == "up", direction)
        return
    if event.rate is not None:
        link.set_rate(event.rate, direction)
    if event.delay is not None:
        link.set_delay(event.delay, direction)
    if event.loss is not None:
        for pipe in link.pipes(direction):
            model = counted_loss(event.loss)
            if model is not None:
                pipe.set_loss(model)
        if counted_loss(event.loss) is None:
            link.set_loss(random_loss_values(event.loss), direction)
