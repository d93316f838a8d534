"""The commands of the seed document in a scenario: what they become, and what they are refused for."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mptcpsim.cli import app
from mptcpsim.results.rundir import RunDirectory
from mptcpsim.scenario.build import build
from mptcpsim.scenario.errors import ScenarioError
from mptcpsim.scenario.load import dumps, load, loads
from mptcpsim.scenario.run import run_scenario
from mptcpsim.scenario.schema import Scenario
from tests.paths import DOCS, SEED

LINK = """
[[links]]
name = "{name}"
ends = ["{ends[0]}", "{ends[1]}"]
rate = "10Mbps"
delay = "1ms"
"""


def scenario_text(a: str, b: str = "", *, a_more: str = "", b_more: str = "", more: str = "") -> str:
    """Return a scenario: A with A1 and A2 at a switch, and B with B1 there."""
    b = b or "ifconfig B1 inet 10.0.0.2/24\niperf -s"
    text = 'title = "Dialect"\nduration = "4s"\n'
    for name, commands, rest in (("A", a, a_more), ("B", b, b_more)):
        text += f'[hosts.{name}.freebsd]\ncommands = """\n{commands}\n"""\n{rest}\n'
    text += "[switches.switch]\n"
    for end in ("A:A1", "A:A2", "B:B1"):
        text += LINK.format(name=end.replace(":", "-"), ends=(end, "switch"))
    return text + more


def read(a: str, b: str = "", **more: str) -> Scenario:
    return loads(scenario_text(a, b, **more))


A = "ifconfig A1 inet 10.0.0.1/24\nifconfig A2 inet 10.0.1.1/24\n"
CLIENT = "iperf -c 10.0.0.2"
LATER = '[[hosts.A.freebsd.later]]\nat = "{at}"\ncommands = """\n{commands}\n"""\n'


def refused(a: str, b: str = "", **more: str) -> str:
    with pytest.raises(ScenarioError) as error:
        read(a, b, **more)
    return str(error.value)


# --- The beginning is part of the ordinary model ---------------------------------------------------


def test_an_interface_answers_for_its_own_addresses() -> None:
    a = build(read(A + CLIENT)).hosts["A"]
    answers = [a.answers(address, a.interfaces["A1"]) for address in ("10.0.0.1", "10.0.1.1")]
    assert answers == [True, False]


def test_commands_become_the_tables_of_the_host() -> None:
    found = read(
        A
        + "ifconfig A1 inet 10.0.0.9/24 alias\nifconfig A2 mtu 1400\n"
        + "route add default 10.0.0.2\nroute add -net 10.9.0.0/16 10.0.0.2\n"
        + "route add -host 10.8.0.1 10.0.0.2\n"
        + 'sysctl net.inet.tcp.mptcp.mp_addresses="10.0.1.1"\nsysctl net.inet.tcp.sack.enable=0\n'
        + "sysctl net.inet.tcp.rfc1323=0 net.inet.tcp.recvspace=65536 net.inet.tcp.sendspace=32768\n"
        + "sysctl net.inet.tcp.cc.algorithm=newreno\nsysctl net.inet.tcp.delayed_ack=0\n"
        + "iperf -c 10.0.0.2 -n 1M -l 8K"
    )
    host = found.hosts["A"]
    assert {name: spec.addresses for name, spec in host.interfaces.items()} == {
        "A1": ("10.0.0.1/24", "10.0.0.9/24"),
        "A2": ("10.0.1.1/24",),
    }
    assert (host.interfaces["A1"].mtu, host.interfaces["A2"].mtu) == (None, 1400)
    assert host.default_route == "10.0.0.2"
    assert [(route.to, route.via) for route in host.routes] == [
        ("10.9.0.0/16", ("10.0.0.2",)),
        ("10.8.0.1/32", ("10.0.0.2",)),
    ]
    tcp = found.tcp_config("A")
    assert (tcp.sack, tcp.window_scaling, tcp.timestamps, tcp.congestion) == (False, False, False, "reno")
    assert (tcp.receive_buffer, tcp.send_buffer, tcp.ack_every) == (65536, 32768, 1)
    assert tcp.mptcp.path_manager == "mp_addresses"
    assert tcp.mptcp.path_manager_parameters["addresses"] == "10.0.1.1"
    (flow,) = found.flows
    assert (flow.name, flow.client, flow.server, flow.server_address) == ("iperf", "A", "B", "10.0.0.2")
    assert flow.model_dump(exclude_none=True)["bytes"] == "1MiB"
    assert flow.model_dump(exclude_none=True)["write_size"] == "8KiB"
    simulation = build(found)
    assert simulation.interface("A:A2").mtu == 1400


def test_what_the_scenario_says_stays_where_no_command_changes_it() -> None:
    text = scenario_text(
        "iperf -c 10.0.0.2", a_more='[hosts.A.interfaces]\nA1 = "10.0.0.1/24"\n[hosts.A.tcp]\nsack = false'
    )
    found = loads(text)
    assert found.hosts["A"].interfaces["A1"].addresses == ("10.0.0.1/24",)
    assert found.tcp_config("A").sack is False


def test_a_table_in_which_networks_are_at_other_interfaces() -> None:
    swap = "".join(
        f"route delete -net 10.0.{net}.0/24\nroute add -net 10.0.{net}.0/24 -interface A{2 - net}\n"
        for net in (0, 1)
    )
    found = read(A + "route add default 10.0.0.2\n" + swap + CLIENT).hosts["A"]
    assert found.default_route == "10.0.0.2"  # by A1, where its network is, whatever the table says
    assert found.connected_routes is False
    assert [(route.to, route.via, route.dev) for route in found.routes] == [
        ("10.0.0.0/24", (), "A2"),
        ("10.0.1.0/24", (), "A1"),
    ]
    found = read(A + "route add -net 10.0.3.0/24 -interface A2\nroute add default 10.0.3.9\n" + CLIENT).hosts[
        "A"
    ]
    assert [(route.to, route.via, route.dev) for route in found.routes] == [
        ("10.0.3.0/24", (), "A2"),
        ("0.0.0.0/0", ("10.0.3.9",), "A2"),
    ]


def test_routes_of_the_scenario_go_with_the_address_that_they_need() -> None:
    given = (
        '[hosts.A]\ndefault_route = "10.0.0.2"\n[[hosts.A.routes]]\nto = "10.7.0.0/16"\nvia = "10.0.0.2"\n'
    )
    given += '[hosts.A.interfaces]\nA1 = "10.0.0.1/24"\n'
    for commands, default, routes in (
        ("ifconfig A2 10.0.5.1/24\n", "10.0.0.2", ["10.7.0.0/16"]),
        ("ifconfig A1 10.0.0.3/24\n", None, []),
        ("ifconfig A1 10.0.0.3/24\nroute add default 10.0.0.2\n", "10.0.0.2", []),
        ("route delete default\n", None, ["10.7.0.0/16"]),
    ):
        text = scenario_text(commands + CLIENT).replace("[hosts.A.freebsd]", given + "[hosts.A.freebsd]")
        found = loads(text).hosts["A"]
        assert (found.default_route, [route.to for route in found.routes]) == (default, routes)


def test_a_table_that_the_scenario_tells_in_full() -> None:
    given = '[hosts.A]\nconnected_routes = false\n[[hosts.A.routes]]\nto = "10.0.0.0/24"\ndev = "A1"\n'
    given += '[hosts.A.interfaces]\nA1 = "10.0.0.1/24"\nA2 = "10.0.1.1/24"\n'
    text = scenario_text("ifconfig A2 10.0.5.1/24 alias\n" + CLIENT)
    found = loads(text.replace("[hosts.A.freebsd]", given + "[hosts.A.freebsd]")).hosts["A"]
    assert found.connected_routes is False
    assert [(route.to, route.dev) for route in found.routes] == [("10.0.0.0/24", "A1"), ("10.0.5.0/24", "A2")]


def test_routes_of_the_scenario_can_be_deleted() -> None:
    more = "".join(f'[[hosts.A.routes]]\nto = "10.{n}.0.0/16"\nvia = "10.0.0.2"\n' for n in (7, 6))
    text = scenario_text("route delete -net 10.7.0.0/16\n" + CLIENT)
    text += '[hosts.A.interfaces]\nA1 = "10.0.0.1/24"\n' + more
    assert [route.to for route in loads(text).hosts["A"].routes] == ["10.6.0.0/16"]


def test_both_names_of_an_interface() -> None:
    found = read(
        "ifconfig em0 inet 10.0.0.1/24\nifconfig A2 inet 10.0.1.1/24\n"
        "tcpdump -w x.pcap -i em1\niperf -c 10.0.0.2",
        a_more='aliases = { A1 = "em0", A2 = "em1" }',
    )
    assert found.hosts["A"].interfaces["A1"].addresses == ("10.0.0.1/24",)
    assert found.output.dumps[0].interface == "A:A2"


def test_a_new_address_replaces_the_first_one_and_takes_its_routes_along() -> None:
    found = read(A + "route add default 10.0.0.2\nifconfig A1 inet 10.0.0.3/25\niperf -c 10.0.0.2")
    assert found.hosts["A"].interfaces["A1"].addresses == ("10.0.0.3/25",)
    assert found.hosts["A"].default_route is None


def test_an_interface_that_is_down() -> None:
    found = read(A + "ifconfig A2 inet 10.0.0.5/24\nifconfig A1 down\niperf -c 10.0.0.2 -n 10k")
    assert not found.hosts["A"].interfaces["A1"].up
    simulation = build(found)
    simulation.env.run("1s")
    client = simulation.flows[0].client
    assert client is not None
    assert client.subflows[0].flow.src == "10.0.0.5"  # the other way there is
    assert simulation.flows[0].completed_at > 0


def test_the_resolved_scenario_is_the_same_scenario(tmp_path: Path) -> None:
    (tmp_path / "pf.conf").write_text("pass all\n", encoding="utf-8")
    script = A + "pfctl -f /etc/pf.conf -e\nipfw add allow ip from any to any\n"
    script += "iperf -c 10.0.0.2 -t 1 -P 2 -w 100K\ntcpdump -i A1 -w a.pcap -s 96"
    (tmp_path / "a.sh").write_text(script, encoding="utf-8")
    text = scenario_text("", a_more='files = { "/etc/pf.conf" = { file = "pf.conf" } }')
    text = text.replace('commands = """\n\n"""', 'commands = { file = "a.sh" }')
    text += LATER.format(at="2s", commands="ifconfig A1 down\niperf -c 10.0.0.2")
    (tmp_path / "scenario.toml").write_text(text, encoding="utf-8")
    found = load(tmp_path / "scenario.toml")
    again = loads(dumps(found))
    assert again == found
    assert len(again.flows) == 3
    assert again.output.dumps[0].snap_length == 96


def test_a_scenario_can_change_flows_that_come_from_iperf() -> None:
    text = scenario_text(A + "iperf -c 10.0.0.2")
    found = loads(text, overrides=["flows.iperf.duration=1s", "hosts.A.tcp.sack=false"])
    assert found.flows[0].model_dump()["duration"] == "1s"
    with pytest.raises(ScenarioError, match=r"from --set flows.iperf.duration=soon"):
        loads(text, overrides=["flows.iperf.duration=soon"])


# --- iperf -----------------------------------------------------------------------------------------


def results(scenario: Scenario, until: str = "4s") -> list[tuple[str, int, str]]:
    simulation = build(scenario)
    simulation.env.run(until)
    return [(f.name, f.receiver.delivered if f.receiver else 0, f.error) for f in simulation.flows]


def test_parallel_clients_of_one_server() -> None:
    found = read(A + "iperf -c 10.0.0.2 -n 50k -P 3")
    assert results(found) == [(f"iperf-{n}", 50_000, "") for n in (1, 2, 3)]


def test_a_client_without_a_server_is_refused() -> None:
    for b in ("ifconfig B1 10.0.0.2/24", "ifconfig B1 10.0.0.2/24\niperf -s -p 7"):
        assert results(read(A + "iperf -c 10.0.0.2", b))[0][2] == "connection refused"
    other = "ifconfig B1 10.0.0.2/24\nifconfig B1 10.0.0.4/24 alias\niperf -s -B 10.0.0.4"
    assert results(read(A + "iperf -c 10.0.0.2", other))[0][2] == "connection refused"
    assert results(read(A + "iperf -c 10.0.0.4 -n 1k", other)) == [("iperf", 1000, "")]


def test_a_server_that_starts_later() -> None:
    later = '[[hosts.{}.freebsd.later]]\nat = "1s"\ncommands = "iperf {}"\n'
    late_server = later.format("B", "-s")
    text = scenario_text(A + "iperf -c 10.0.0.2 -n 5k", "ifconfig B1 10.0.0.2/24")
    assert results(loads(text + late_server))[0][2] == "connection refused"
    text = scenario_text(A, "ifconfig B1 10.0.0.2/24")
    late_client = later.replace("1s", "2s").format("A", "-c 10.0.0.2 -n 5k")
    assert results(loads(text + late_server + late_client)) == [("iperf", 5000, "")]


def test_buffers_and_sizes_of_iperf() -> None:
    found = read(
        A + "iperf -c 10.0.0.2 -j 30K -l 2K -B 10.0.0.1 -i 0.25",
        "ifconfig B1 10.0.0.2/24\niperf -s -l 512k -k 1M",
    )
    (flow,) = found.flows
    client, server = found.flow_configs(flow)
    assert (client.send_buffer, server.receive_buffer) == (30 << 10, 1 << 20)
    assert flow.reader is not None
    assert (flow.reader.read_size, flow.client_address) == (512_000, "10.0.0.1")
    assert found.output.sample_interval == 250_000_000
    found = read(A + "iperf -c 10.0.0.2 -w 50K")
    client = found.flow_configs(found.flows[0])[0]
    assert (client.send_buffer, client.receive_buffer) == (50 << 10, 50 << 10)


def test_a_connection_has_the_settings_of_its_beginning() -> None:
    more = LATER.format(at="1s", commands="sysctl net.inet.tcp.sack.enable=1\niperf -c 10.0.0.2")
    text = scenario_text(A + "iperf -c 10.0.0.2\nsysctl net.inet.tcp.sack.enable=0\niperf -c 10.0.0.2")
    found = loads(text + more)
    assert [found.flow_configs(flow)[0].sack for flow in found.flows] == [True, False, True]
    assert found.tcp_config("A").sack is False
    simulation = build(found)
    simulation.env.run("2s")
    assert simulation.hosts["A"].stack.config.sack is True


def test_ecn_that_is_granted_and_not_asked_for() -> None:
    found = read(
        A + "sysctl net.inet.tcp.ecn.enable=2\niperf -c 10.0.0.2",
        "ifconfig B1 10.0.0.2/24\nsysctl net.inet.tcp.ecn.enable=2\niperf -s",
    )
    client, server = found.flow_configs(found.flows[0])
    assert (client.ecn, server.ecn) == (False, True)


# --- Files, captures -------------------------------------------------------------------------------


def run(text: str, directory: Path, *, pcap: bool = False) -> Any:
    with RunDirectory(directory) as run_directory:
        run_scenario(loads(text), run_directory, pcap=pcap)
    return json.loads((directory / "summary.json").read_text())


def test_tcpdump_writes_what_a_capture_would(tmp_path: Path) -> None:
    text = scenario_text(A + "tcpdump -w /tmp/em0.pcap -i A1 &\niperf -c 10.0.0.2 -n 20k")
    text += '[[hosts.B.freebsd.later]]\nat = "1s"\ncommands = "tcpdump -i B1 -w late.pcap"\n'
    run(text, tmp_path / "run", pcap=True)
    written = (tmp_path / "run/tcpdump/A/em0.pcap").read_bytes()
    assert written == (tmp_path / "run/A.A1.pcapng").read_bytes()
    late = (tmp_path / "run/tcpdump/B/late.pcap").read_bytes()
    assert 0 < len(late) < 300  # a header: all was over by then
    events = (tmp_path / "run/scenario.toml").read_text()
    assert "#tcpdump" in events


def test_pf_of_rc_conf_is_there_from_the_first_packet() -> None:
    files = (
        'files = { "/etc/rc.conf" = \'pf_enable="YES"\', "/etc/pf.conf" = "block return out proto tcp all" }'
    )
    simulation = build(loads(scenario_text(A + "iperf -c 10.0.0.2", a_more=files)))
    simulation.env.run("1s")
    assert simulation.hosts["A"].drops["pf-block"] >= 1
    assert simulation.flows[0].error == "connection refused"


def test_the_last_rule_of_ipfw_denies_unless_the_scenario_says_otherwise() -> None:
    text = scenario_text(A + "ipfw pipe 1 config bw 8Mbit/s\niperf -c 10.0.0.2 -n 5k")
    simulation = build(loads(text))
    simulation.env.run("1s")
    assert simulation.flows[0].completed_at < 0
    assert simulation.hosts["A"].drops["ipfw-deny"] >= 1
    accepted = text.replace("[hosts.A.freebsd]", "[hosts.A.freebsd]\ndefault_to_accept = true")
    assert results(loads(accepted)) == [("iperf", 5000, "")]


# --- Later -----------------------------------------------------------------------------------------


def test_commands_that_are_typed_later(tmp_path: Path) -> None:
    files = 'files = { "/etc/pf.conf" = "block out all" }\n'
    for at, commands in (
        ("2s", "pfctl -d"),
        ("1s", "pfctl -e -f /etc/pf.conf\nifconfig A2 10.0.2.1/24 alias"),
    ):
        files += LATER.format(at=at, commands=commands)
    text = scenario_text(A + "iperf -c 10.0.0.2", a_more=files)
    run(text, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    typed = [(line["time_s"], line["detail"]) for line in lines if line["event"] == "command"]
    assert typed == [
        (1.0, "pfctl -f /etc/pf.conf -e"),
        (1.0, "ifconfig A2 inet 10.0.2.1/24 alias"),
        (2.0, "pfctl -d"),
    ]
    simulation = build(loads(text))
    delivered = []
    for until in ("1s", "1200ms", "2s", "4s"):
        simulation.env.run(until)
        receiver = simulation.flows[0].receiver
        assert receiver is not None
        delivered.append(receiver.delivered)
    assert delivered[0] > 1_000_000
    assert delivered[2] == delivered[1]  # nothing leaves
    assert delivered[3] > delivered[2] + 500_000
    assert "10.0.2.1" in simulation.hosts["A"].addresses


def test_what_is_refused_while_it_runs_is_noted() -> None:
    more = LATER.format(at="2s", commands="ifconfig A1 10.0.0.1 delete")
    simulation = build(loads(scenario_text(A + "iperf -c 10.0.0.2", more=more)))
    simulation.env.call_at(10**9, lambda: simulation.interface("A:A1").remove_address("10.0.0.1"))
    simulation.env.run("3s")
    ((at, note),) = simulation.notes
    assert at == 2 * 10**9
    assert "Can't assign requested address" in note["error"]


# --- Refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("ifconfig A3 inet 10.0.0.9/24", "there is no interface A3: known are A1, A2"),
        ("ifconfig A2 inet 10.0.0.1/24", "10.0.0.1 is an address of A1 (File exists)"),
        ("ifconfig A2 10.0.7.7 delete", "Can't assign requested address"),
        ("route add default 10.0.5.1", "Network is unreachable"),
        ("route add -net 10.0.0.0/24 10.0.1.2", "route already in table"),
        ("route add default 10.0.0.1", "is an address of this node"),
        ("route delete -net 10.7.0.0/16", "not in table"),
        ("pfctl -f /etc/nothing", "No such file"),
        ("ipfw delete 100", "there is no rule 100"),
        ("ipfw pipe delete 3", "there is no pipe 3"),
        ("ipfw add deny ip from any to any via igb0", "there is no interface igb0"),
        ("iperf -c 10.0.0.77", "nobody has the address 10.0.0.77"),
        ("iperf -c 10.0.0.1", "this host itself"),
        ("iperf -c 10.0.0.2 -B 10.0.0.2", "Can't assign requested address"),
        ("iperf -c 10.0.0.2 -w 1G", "kern.ipc.maxsockbuf"),
        ("iperf -s\niperf -s", "Address already in use"),
        ("tcpdump -i A1 -w ..", "names no file"),
        ("sysctl net.inet.ip.forwarding=1", "[routers]"),
        ("sysctl net.inet.tcp.recvbuf_max=1000", "buffers do not grow"),
        ("sysctl net.inet.tcp.mptcp.single_packet_maps=0", "mapping_segments"),
        ("frobnicate", "is no command that is known here"),
        ("iperf -c 10.0.0.2 ; ls", "on a line of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_shows_its_line(command: str, text: str) -> None:
    message = refused(A + "\n# a comment\n" + command)
    # The text begins in the line behind the quotes, the fifth one of the file.
    line = 4 + 5 + command.count("\n")
    assert message.startswith(f"scenario: line {line}: hosts.A.freebsd.commands: line {line - 4}: "), message
    assert text in message
    assert f"(the line is: {command.splitlines()[-1]})" in message


@pytest.mark.parametrize(
    ("a", "more", "text"),
    [
        (A + CLIENT, 'files = { "/etc/pf.conf" = "pass oot" }\n'
         + LATER.format(at="1s", commands="pfctl -f /etc/pf.conf"),
         "hosts.A.freebsd.files./etc/pf.conf: line 1: 'oot'"),
        (A, LATER.format(at="9s", commands=CLIENT), "flows.0.start (from line 1 of commands of later.0"),
        (A + CLIENT, LATER.format(at="9s", commands="pfctl -d"),
         "hosts.A.freebsd.later.0.at: 9 s is not before the end"),
        (A + CLIENT, LATER.format(at="1s", commands="gateway_enable=YES"), "rc.conf is read at the begin"),
        (A + CLIENT, 'aliases = { A7 = "em0" }', "freebsd.aliases: A7 = 'em0': neither is an interface"),
        (A + CLIENT, 'alias = { A7 = "em0" }', "unknown key 'alias'; did you mean 'aliases'?"),
        (A + CLIENT, 'files = { "/etc/pf.conf" = 7 }', "write a string, or { file"),
        (A + CLIENT, 'files = { "/etc/pf.conf" = { file = "nothing.conf" } }', "no such file"),
        (A + CLIENT, 'files = { "/etc/pf.conf" = { file = "/dev/zero" } }', "no such file"),
        ("ifconfig A1 10.0.0.255/24\n" + CLIENT, "",
         "hosts.A.interfaces.A1.addresses.0 (from line 1 of commands at A: ifconfig A1 10.0.0.255/24)"),
        (A + "sysctl net.inet.tcp.cc.algorithm=htcp\n" + CLIENT, "", "hosts.A.tcp.congestion (from line 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_elsewhere_names_where(a: str, more: str, text: str) -> None:
    message = refused(a, a_more=more)
    assert text in message, message
    assert "\n" not in message


def test_the_command_line_says_so(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(scenario_text(A + "frobnicate"), encoding="utf-8")
    result = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"mptcpsim: {file}: line 7: hosts.A.freebsd.commands: line 3: 'frobnicate'"
    )
    assert not (tmp_path / "run").exists()


# --- Routers, pipes, fwd, IPv6 ---------------------------------------------------------------------

ROUTED = """
title = "A router that shapes"
duration = "4s"
[hosts.A.freebsd]
commands = "ifconfig A1 10.0.0.1/24\\nroute add default 10.0.0.9\\niperf -c 10.0.1.1 -t 3"
[hosts.B.freebsd]
commands = "ifconfig B1 10.0.1.1/24\\nroute add default 10.0.1.9\\niperf -s"
[routers.R.freebsd]
commands = \"\"\"
ifconfig R1 10.0.0.9/24
ifconfig R2 10.0.1.9/24
sysctl net.inet.ip.forwarding=1
{commands}
\"\"\"
{later}
[[links]]
ends = ["A:A1", "R:R1"]
rate = "100Mbps"
delay = "1ms"
[[links]]
ends = ["R:R2", "B:B1"]
rate = "100Mbps"
delay = "1ms"
"""


def rates(commands: str, later: str = "") -> list[float]:
    """Return what B gets in each second, Mbit/s of payload."""
    simulation = build(loads(ROUTED.format(commands=commands, later=later)))
    delivered = [0]
    for second in range(1, 4):
        simulation.env.run(f"{second}s")
        receiver = simulation.flows[0].receiver
        delivered.append(receiver.delivered if receiver is not None else 0)
    return [(after - before) * 8e-6 for before, after in itertools.pairwise(delivered)]


def test_a_router_with_a_pipe() -> None:
    payload = 1448 / 1500
    rules = "ipfw add pipe 1 tcp from any to 10.0.1.1 out\nipfw add allow ip from any to any"
    shaped = rates(f"ipfw pipe 1 config bw 8Mbit/s\n{rules}")
    assert shaped[1] == pytest.approx(8 * payload, rel=0.02)


def test_pipes_in_a_row_without_one_pass() -> None:
    commands = (
        "ipfw pipe 1 config bw 8Mbit/s\nipfw pipe 2 config bw 4Mbit/s\n"
        "ipfw add pipe 1 tcp from any to 10.0.1.1 out\nipfw add pipe 2 tcp from any to 10.0.1.1 out\n"
        "ipfw add allow ip from any to any\n"
    )
    payload = 1448 / 1500
    assert rates(commands)[1] == pytest.approx(8 * payload, rel=0.02)
    assert rates(commands + "ipfw disable one_pass")[2] == pytest.approx(4 * payload, rel=0.03)


def test_a_pipe_that_is_configured_anew(tmp_path: Path) -> None:
    later = '[[routers.R.freebsd.later]]\nat = "1s"\ncommands = "ipfw pipe 1 config bw 2Mbit/s\\nipfw show"\n'
    rules = "ipfw add 7 pipe 1 tcp from any to 10.0.1.1 out\nipfw add 9 allow ip from any to any"
    commands = f"ipfw pipe 1 config bw 8Mbit/s\n{rules}"
    found = rates(commands, later)
    assert found[2] == pytest.approx(2 * 1448 / 1500, rel=0.05)
    run(ROUTED.format(commands=commands, later=later), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    assert [line["output"].splitlines() for line in lines if line.get("output")] == [
        [
            "00007 pipe 1 tcp from any to 10.0.1.1 out",
            "00009 allow ip from any to any",
            "65535 deny ip from any to any",
        ]
    ]


def test_a_router_has_no_tcp_to_set() -> None:
    command = 'sysctl net.inet.tcp.mptcp.mp_addresses="10.0.0.9"'
    with pytest.raises(ScenarioError, match=r"routers\.R\.freebsd\.commands: line 4: a router has no TCP"):
        loads(ROUTED.format(commands=command, later=""))


def test_nothing_passes_a_router_whose_last_rule_denies() -> None:
    assert rates("ipfw pipe 1 config bw 8Mbit/s") == [0, 0, 0]


def test_fwd_sends_by_source_address() -> None:
    text = (
        "ifconfig A1 10.0.0.1/24\nifconfig A2 10.0.0.3/24\nipfw add fwd 10.0.0.2 tcp from 10.0.0.3 to any\n"
        "ipfw add allow ip from any to any\niperf -c 10.0.0.2 -n 20k -B 10.0.0.3"
    )
    simulation = build(read(text))
    simulation.env.run("1s")
    assert simulation.flows[0].completed_at > 0
    # The next hop is found by the routing table, where the network is at A1: FreeBSD's fwd does no more.
    assert simulation.topology.links["A-A1"].forward.packets > 10
    assert simulation.topology.links["A-A2"].forward.packets == 0


def test_ipv6() -> None:
    found = read(
        "ifconfig A1 inet6 fd00::1/64\niperf -c fd00::2 -n 20k", "ifconfig B1 inet6 fd00::2/64\niperf -s"
    )
    assert results(found) == [("iperf", 20_000, "")]


def test_a_host_whose_later_commands_are_no_firewalls_has_no_filter() -> None:
    more = LATER.format(at="1s", commands="ifconfig A2 10.0.7.1/24 alias")
    simulation = build(loads(scenario_text(A + CLIENT, more=more)))
    assert simulation.topology.nodes["A"].filters == []  # type: ignore[attr-defined]


def test_the_example_of_the_documents_is_one() -> None:
    text = (DOCS / "freebsd.md").read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0].replace('{ file = "pf.conf" }', '"pass all"')
    rest = (SEED / "multi-network" / "pf.toml").read_text(encoding="utf-8")
    head, _, tail = rest.partition("[hosts.A.freebsd]")
    found = loads(f"{head}{example}[hosts.B.freebsd]{tail.partition('[hosts.B.freebsd]')[2]}")
    assert [dump.file for dump in found.output.dumps] == ["em1.pcap"]


def test_what_a_run_writes_down_as_its_scenario_runs_alike(tmp_path: Path) -> None:
    files = 'files = { "/etc/pf.conf" = "pass out on A1 route-to (A2 10.0.0.2) from 10.0.1.1" }\n'
    files += LATER.format(
        at="1s", commands="pfctl -d\nipfw pipe 1 config bw 1Mbit/s\niperf -c 10.0.0.2 -t 1 -p 7"
    )
    a = (
        A
        + "pfctl -e -f /etc/pf.conf\nipfw pipe 1 config bw 5Mbit/s delay 3\n"
        + "ipfw add pipe 1 ip from me to any\n"
    )
    a += "ipfw add prob 0.01 deny ip from any to any\nipfw add allow ip from any to any\n"
    text = scenario_text(a + "tcpdump -i A1 -w a.pcap\niperf -c 10.0.0.2 -t 2", a_more=files)
    run(text, tmp_path / "first")
    run((tmp_path / "first/scenario.toml").read_text(encoding="utf-8"), tmp_path / "second")
    for name in ("scenario.toml", "summary.json", "events.jsonl", "series.parquet", "tcpdump/A/a.pcap"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert json.loads((tmp_path / "first/summary.json").read_text())["flows"][0]["bytes_delivered"] > 100_000
