"""From a scenario to the objects that run: the one module that knows every layer."""

from __future__ import annotations

from mptcpsim.codec.roundtrip import Disagreement, Recoder
from mptcpsim.core.stack import Stack
from mptcpsim.net.forwarding import IpNode
from mptcpsim.net.host import Host
from mptcpsim.net.link import Link
from mptcpsim.net.node import DEFAULT_MTU, Interface, Node
from mptcpsim.net.router import Router
from mptcpsim.net.switch import Switch
from mptcpsim.scenario import flows
from mptcpsim.scenario.catalogue import known, load_plugins
from mptcpsim.scenario.check import flow_addresses
from mptcpsim.scenario.nodes import NodeSpec
from mptcpsim.scenario.pipes import counted_loss, middleboxes, pipe_settings
from mptcpsim.scenario.policy import install_policy
from mptcpsim.scenario.routes import split_end
from mptcpsim.scenario.schema import Scenario
from mptcpsim.scenario.simulation import Simulation
from mptcpsim.scenario.spread import Spread
from mptcpsim.scenario.systems import attach_systems
from mptcpsim.scenario.timeline import Timeline
from mptcpsim.sim.apps import Bulk, ConstantRate, OnOff, Reader, Source
from mptcpsim.sim.flow import Flow, OneWayFlow, TwoWayFlow
from mptcpsim.sim.sockets import Sockets
from mptcpsim.streams import stream


def build(scenario: Scenario, *, roundtrip: bool = False, general: bool = False) -> Simulation:
    """Build nodes, links, routes, flows and the timeline of a scenario that was loaded.

    Args:
        scenario: as ``scenario.load`` returns it.
        roundtrip: every packet is encoded and decoded at every hop.
        general: every pipe is the event-by-event one, the oracle of the fast one.
    """
    load_plugins()
    with known(scenario.plugins):
        return _build(scenario, roundtrip, general)


def _build(scenario: Scenario, roundtrip: bool, general: bool) -> Simulation:
    simulation = Simulation(scenario)
    _nodes(simulation)
    _links(simulation, general)
    _routes(simulation)
    simulation.systems = attach_systems(simulation)
    if roundtrip:
        _encode_everything(simulation)
    elif any(box.RENUMBERS for link in simulation.topology.links.values() for box in link.middleboxes):
        _read_numbers(simulation)
    spread = Spread(simulation.topology) if any(flow.distinct_paths for flow in scenario.flows) else None
    for flow in scenario.flows:
        simulation.flows.append(_flow(simulation, flow, spread))
    if scenario.events:
        simulation.env.process(Timeline(simulation).run())
    return simulation


# --- Network ------------------------------------------------------------------------------------


def _nodes(simulation: Simulation) -> None:
    scenario = simulation.scenario
    loop = simulation.env.loop
    mtu = {end: link.mtu for link in scenario.links for end in link.ends}

    def add(node: Node, spec: NodeSpec | None) -> None:
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
        if spec.middleboxes:
            link.place(middleboxes(spec), scenario.seed)
        simulation.topology.add_link(link)
    for name, node in scenario.nodes.items():
        for interface, own in node.interfaces.items():
            if own.mtu is not None:
                nodes[name].interfaces[interface].set_mtu(own.mtu)
            if not own.up:
                nodes[name].interfaces[interface].set_up(False)


def _routes(simulation: Simulation) -> None:
    scenario = simulation.scenario
    for name, spec in scenario.nodes.items():
        node = simulation.topology.nodes[name]
        assert isinstance(node, IpNode)
        node.hash_seed = stream(scenario.seed, f"ecmp/{name}").getrandbits(64)
        install_policy(node, spec)
    if scenario.routing == "static":
        simulation.topology.install_routes(nodes=())
    else:
        simulation.topology.install_routes(scenario.routing, ecmp=scenario.ecmp == "flow")


def _encode_everything(simulation: Simulation) -> None:
    recoder = Recoder(simulation.owner, stream(simulation.scenario.seed, "roundtrip"))
    for link in simulation.topology.links.values():
        link.a.recode = link.b.recode = recoder


def _read_numbers(simulation: Simulation) -> None:
    """Have hosts read the bytes of what a middlebox may have given other numbers, or should have."""
    reader = Disagreement(simulation.owner, stream(simulation.scenario.seed, "roundtrip"))
    for host in simulation.hosts.values():
        for interface in host.interfaces.values():
            interface.recode = reader


# --- Applications --------------------------------------------------------------------------------


def _flow(simulation: Simulation, flow: flows.FlowSpec, spread: Spread | None) -> Flow:
    scenario = simulation.scenario
    local, remote = flow_addresses(scenario, flow)
    client_config, server_config = scenario.flow_configs(flow)
    client_port = 0
    if flow.distinct_paths and spread is not None:
        client_port, client_config = spread.ports(flow, local, remote, client_config)
    common = (
        simulation.env,
        flow.name,
        simulation.sockets[flow.client],
        simulation.sockets[flow.server],
        local,
        (remote, flow.port),
        client_config,
        server_config,
        flow.start,
        flow.listen,
        flow.bind or "",
        client_port,
    )
    reader = _reader(flow.reader)
    source: Source
    if isinstance(flow, flows.RequestResponseFlow):
        return TwoWayFlow(
            *common, request=flow.request, response=flow.response, every=flow.every, count=flow.count
        )
    if isinstance(flow, flows.BulkFlow):
        source, reverse = Bulk(flow.bytes, flow.duration, flow.write_size), flow.reverse
    elif isinstance(flow, flows.ConstantRateFlow):
        source, reverse = ConstantRate(flow.rate, flow.message, flow.bytes, flow.duration), flow.reverse
    else:
        assert isinstance(flow, flows.OnOffFlow)
        rng = stream(scenario.seed, f"flow/{flow.name}") if flow.random else None
        source = OnOff(flow.rate, flow.message, flow.on, flow.off, rng, flow.bytes, flow.duration)
        reverse = flow.reverse
    return OneWayFlow(*common, source=source, reader=reader, reverse=reverse)


def _reader(spec: flows.ReaderSpec | None) -> Reader | None:
    if spec is None:
        return None
    return Reader(spec.read_size, spec.every, spec.pause, spec.pause_after)
