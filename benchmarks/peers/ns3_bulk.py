"""Bulk TCP flows in ns-3, by the bindings of the PyPI package ns3. peers.py starts it.

    python ns3_bulk.py W1|W2 SECONDS

W1 is the chain of w1.py. W2 has the two paths of w2.py, with a TCP connection over each: ns-3 has no
MPTCP. Only the run loop is timed; the bindings need some ten seconds before it.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from ns import ns  # type: ignore[import-not-found]

MSS = 1448
BUFFER = 16 << 20
PORT = 5001
#: One bandwidth-delay product, bytes, that of the first path in W2.
SSTHRESH = {"W1": 1_250_000, "W2": 250_000}


def configure(ssthresh: int) -> None:
    """Set what all sockets have: Reno, an ACK for every packet, buffers that limit nothing."""
    for name, value in (
        ("ns3::TcpL4Protocol::SocketType", ns.TypeIdValue(ns.TypeId.LookupByName("ns3::TcpLinuxReno"))),
        ("ns3::TcpSocket::SegmentSize", ns.UintegerValue(MSS)),
        ("ns3::TcpSocket::InitialCwnd", ns.UintegerValue(10)),
        ("ns3::TcpSocket::InitialSlowStartThreshold", ns.UintegerValue(ssthresh)),
        ("ns3::TcpSocket::DelAckCount", ns.UintegerValue(1)),
        ("ns3::TcpSocket::SndBufSize", ns.UintegerValue(BUFFER)),
        ("ns3::TcpSocket::RcvBufSize", ns.UintegerValue(BUFFER)),
    ):
        ns.Config.SetDefault(name, value)


def link(one: Any, other: Any, rate: str, delay: str, queue: int, prefix: str) -> Any:
    """Join two nodes; return the addresses. The device's queue is the only one: no queue discipline."""
    helper = ns.PointToPointHelper()
    helper.SetDeviceAttribute("DataRate", ns.StringValue(rate))
    helper.SetChannelAttribute("Delay", ns.StringValue(delay))
    helper.SetQueue("ns3::DropTailQueue<Packet>", "MaxSize", ns.StringValue(f"{queue}p"))
    devices = helper.Install(one, other)
    addresses = ns.Ipv4AddressHelper()
    addresses.SetBase(ns.Ipv4Address(prefix), ns.Ipv4Mask("255.255.255.0"))
    found = addresses.Assign(devices)
    ns.TrafficControlHelper().Uninstall(devices)
    return found


def flow(client: Any, server: Any, address: Any, port: int, seconds: float) -> Any:
    """Add a bulk flow; return the sink's application."""
    everywhere = ns.InetSocketAddress(ns.Ipv4Address.GetAny(), port).ConvertTo()
    sinks = ns.PacketSinkHelper("ns3::TcpSocketFactory", everywhere).Install(server)
    source = ns.BulkSendHelper("ns3::TcpSocketFactory", ns.InetSocketAddress(address, port).ConvertTo())
    source.SetAttribute("MaxBytes", ns.UintegerValue(0))
    sources = source.Install(client)
    for applications in (sinks, sources):
        applications.Start(ns.Seconds(0))
        applications.Stop(ns.Seconds(seconds))
    return sinks.Get(0)


def main() -> None:
    """Run and print the figures as one line of JSON."""
    workload, seconds = sys.argv[1], float(sys.argv[2])
    configure(SSTHRESH[workload])
    nodes = ns.NodeContainer()
    nodes.Create(4)
    ns.InternetStackHelper().Install(nodes)
    a, r1, r2, b = (nodes.Get(number) for number in range(4))
    if workload == "W1":
        link(a, r1, "10Gbps", "1ms", 10_000, "10.0.0.0")
        link(r1, r2, "1Gbps", "3ms", 833, "10.0.1.0")
        targets = [link(r2, b, "10Gbps", "1ms", 10_000, "10.0.2.0").GetAddress(1)]
    else:
        targets = []
        for number, (router, rate, quarter, queue) in enumerate(
            ((r1, "100Mbps", "5ms", 166), (r2, "50Mbps", "15ms", 250)), start=1
        ):
            link(a, router, "1Gbps", quarter, 10_000, f"10.0.{number}.0")
            targets.append(link(router, b, rate, quarter, queue, f"10.1.{number}.0").GetAddress(1))
    ns.Ipv4GlobalRoutingHelper.PopulateRoutingTables()
    sinks = [flow(a, b, target, PORT + number, seconds) for number, target in enumerate(targets)]
    ns.Simulator.Stop(ns.Seconds(seconds))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    ns.Simulator.Run()
    cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    delivered = sum(sink.GetObject[ns.PacketSink]().GetTotalRx() for sink in sinks)
    print(json.dumps({"packets": delivered // MSS, "user CPU s": cpu}))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
