"""Commands of FreeBSD for the routers and hosts of random scenarios: dummynet, ipfw, pf."""

from __future__ import annotations

from typing import Any

#: Commands of the beginning, files of the host, and blocks of later commands.
Commands = tuple[str, dict[str, Any], list[dict[str, Any]]]

PROFILE = "name slow\nsamples 100\nloss-level 0.9\nprob delay\n0 0\n0.5 3\n0.8 20\n1 60\n"


def pipes(draw: Any) -> Commands:
    """Return pipes, queues and schedulers of dummynet, and rules that lead into them."""
    rate = draw.one("1Mbit/s", "2Mbit/s", "800Kbit/s")
    lines: list[str] = []
    files: dict[str, Any] = {}
    later: list[dict[str, Any]] = []
    if draw.chance(0.2):
        lines += ["sysctl net.inet.ip.fw.one_pass=0"]
    if draw.chance(0.15):
        lines += ["sysctl net.inet.ip.dummynet.io_fast=1"]
    kind = draw.one("pipe", "pipe", "mask", "aqm", "queues", "queues", "profile", "two")
    if kind == "pipe":
        more = draw.one(
            "", " queue 10", " queue 20KBytes", " plr 0.02", " plr 0.01,0.02,0.5,0.2", " burst 20K"
        )
        lines += [f"ipfw pipe 1 config bw {rate} delay {draw.one(5, 25)}ms{more}"]
        lines += ["ipfw add pipe 1 tcp from any to 10.0.1.2 out", "ipfw add allow ip from any to any"]
    elif kind == "mask":
        mask = draw.one("src-ip 0xffffffff", "src-port 0xffff", "dst-ip 0xffffffff src-port 0xff", "all")
        lines += [
            f"ipfw pipe 1 config bw {rate} delay 10ms mask {mask}",
            "ipfw add pipe 1 ip from any to any",
        ]
    elif kind == "aqm":
        aqm = draw.one(
            "red 0.1/3/9/0.5",
            "gred 0.1/3/9/0.3",
            "codel",
            "codel target 3ms interval 60ms ecn",
            "pie",
            "pie target 10ms ecn",
        )
        lines += [
            f"ipfw pipe 1 config bw {rate} delay 8ms queue 40 {aqm}",
            "ipfw add pipe 1 tcp from any to 10.0.1.2 out",
        ]
    elif kind == "queues":
        scheduler = draw.one("wf2q+", "rr", "fifo", "fq_codel", "fq_pie", "fq_codel target 4ms limit 100")
        lines += [f"ipfw pipe 1 config bw {rate} delay 10ms", f"ipfw sched 1 config pipe 1 type {scheduler}"]
        weight = "" if scheduler.startswith("fq") or scheduler == "fifo" else " weight 3"
        mask = draw.one("", " mask src-port 0xffff") if scheduler in ("wf2q+", "rr") else ""
        lines += [f"ipfw queue 1 config sched 1{mask}", f"ipfw queue 2 config sched 1{weight}"]
        lines += [
            "ipfw add queue 1 tcp from 192.168.5.2 to any out",
            "ipfw add queue 2 tcp from 192.168.0.2 to any out",
        ]
    elif kind == "profile":
        files["slow.txt"] = PROFILE
        lines += [
            f"ipfw pipe 1 config bw {rate} profile slow.txt",
            "ipfw add pipe 1 tcp from any to 10.0.1.2 out",
        ]
    else:
        lines += [f"ipfw pipe 1 config bw {rate}", "ipfw pipe 2 config bw 3Mbit/s delay 30ms"]
        lines += [
            "ipfw add pipe 1 ip from any to any in via R1",
            "ipfw add pipe 2 ip from any to any out via R2",
        ]
    if draw.chance(0.35):
        change = draw.one(
            f"ipfw pipe 1 config bw {draw.one('300Kbit/s', '4Mbit/s')} delay 40ms",
            "ipfw pipe 1 config bw 1Mbit/s queue 5",
            "ipfw -f flush",
            "ipfw pipe show",
            "ipfw show",
        )
        later = [{"at": f"{draw.one(700, 1500)}ms", "commands": change}]
    return "\n".join(lines) + "\n", files, later


def firewall(draw: Any) -> Commands:
    """Return rules of ipfw without pipes."""
    lines: list[str] = draw.one(
        [
            "ipfw add check-state",
            "ipfw add allow tcp from any to any setup keep-state",
            "ipfw add deny tcp from any to any established",
        ],
        [
            "ipfw add allow tcp from any to 10.0.1.2 5001 setup limit src-addr 3",
            "ipfw add allow ip from any to any",
        ],
        ["ipfw add prob 0.02 deny tcp from any to 10.0.1.2 in", "ipfw add allow ip from any to any"],
        [
            "ipfw add 100 skipto 300 tcp from 192.168.5.0/24 to any",
            "ipfw add 200 reset tcp from 192.168.0.2 to any",
            "ipfw add 300 count ip from any to any",
        ],
        ["ipfw add unreach host tcp from 192.168.0.2 to any in", "ipfw add allow ip from any to any"],
        [
            "ipfw table 1 create",
            "ipfw table 1 add 192.168.0.0/24",
            'ipfw add deny tcp from "table(1)" to any in',
        ],
        ["ipfw add set 5 deny tcp from 192.168.5.2 to any", "ipfw set disable 5"],
        ["ipfw add reject tcp from any to any tcpflags syn in recv R2"],
    )
    later: list[dict[str, Any]] = []
    if any("set 5" in line for line in lines):
        later = [
            {"at": "900ms", "commands": "ipfw set enable 5"},
            {"at": "1600ms", "commands": "ipfw set disable 5"},
        ]
    elif draw.chance(0.4):
        later = [
            {
                "at": "1s",
                "commands": draw.one("ipfw -f flush", "ipfw add 50 deny tcp from any to any", "ipfw list"),
            }
        ]
    return "\n".join(lines) + "\n", {}, later


def pf_states(draw: Any) -> dict[str, Any]:
    """Return files of a host whose pf keeps states with limits and timeouts."""
    rules = draw.one(
        "pass out all keep state\nblock return in all\n",
        "set timeout { tcp.first 5, tcp.established 60 }\n"
        "block all\npass out proto tcp from any to any port 5001 keep state\n",
        "pass out proto tcp all keep state (max 3)\nblock in all\n",
        "pass out all flags S/SA keep state (source-track rule, max-src-conn 2)\n",
        "table <peers> { 10.0.1.0/24 }\nblock out all\npass out proto tcp to <peers> keep state\n",
        "pass out all\nblock in proto tcp from any to any probability 2%\n",
        'ext = "em0"\nblock return-rst in on $ext proto tcp all\npass out on $ext all keep state\n',
        "set skip on em1\npass all no state\n",
    )
    return {"/etc/rc.conf": 'pf_enable="YES"', "/etc/pf.conf": rules}
