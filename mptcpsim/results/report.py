"""The tables at the end of a run, and the list of plug-ins, for a terminal."""

from __future__ import annotations

from typing import Any, Final

from rich import box
from rich.table import Table

from mptcpsim.plugins import Parameter, Plugin
from mptcpsim.units import format_rate, format_size

_DIRECTIONS: Final = ("forward", "backward")


def _table(title: str, *columns: tuple[str, str]) -> Table:
    """Return an empty table; columns are aligned left (<), right (>), or left and wrapped (~)."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name, justify in columns:
        wrapped = justify == "~"
        table.add_column(
            name,
            justify="right" if justify == ">" else "left",
            no_wrap=not wrapped,
            overflow="fold" if wrapped else "ellipsis",
        )
    return table


def tables(summary: dict[str, Any]) -> list[Table]:
    """Return the tables of ``summary.json``; those in which nothing stands are left out."""
    makers = (flow_table, link_table, middlebox_table, dummynet_table, node_table)
    found = [make(summary) for make in makers]
    return [table for table in found if table.row_count]


def flow_table(summary: dict[str, Any]) -> Table:
    """Return a table of the flows of ``summary.json``; those of several subflows have a row for each."""
    table = _table(
        "Flows",
        ("flow", "<"),
        ("path", "~"),
        ("delivered", ">"),
        ("goodput", ">"),
        ("completed", ">"),
        ("resent", ">"),
        ("integrity", "~"),
        *((("failed", "~"),) if any(flow.get("failed") for flow in summary["flows"]) else ()),
    )
    for flow in summary["flows"]:
        resent = sum(subflow["bytes_retransmitted"] for subflow in flow["subflows"])
        done = flow["completed_s"]
        table.add_row(
            flow["name"],
            f"{flow['client']} -> {flow['server']}",
            format_size(flow["bytes_delivered"]),
            _goodput(flow),
            "-" if done is None else f"{done:.3f} s",
            format_size(resent),
            "; ".join(filter(None, (flow["integrity"], protocol(flow)))),
            *((_failure(flow),) if flow.get("failed") else ()),
        )
        if flow["multipath"]:
            for subflow in flow["subflows"]:
                table.add_row(*_subflow_row(subflow))
    return table


def failure_lines(summary: dict[str, Any], most: int = 5) -> list[str]:
    """Return which flows failed, when and why, a few of them; nothing if none did."""
    failed = [flow for flow in summary["flows"] if flow["failed"]]
    lines = [f"flow {flow['name']!r} failed: {_failure(flow)}" for flow in failed[:most]]
    return [*lines, f"and {len(failed) - most} more"] if len(failed) > most else lines


def _failure(flow: dict[str, Any]) -> str:
    return f"{flow['error']} at {flow['failed_s']:.3f} s"


def speed_line(meta: dict[str, Any], duration_s: float) -> str:
    """Return how long a run has taken, in words."""
    wall = meta["wall_s"]
    speed = f", {duration_s / wall:.3g} simulated seconds per second" if wall else ""
    return f"Wall time: {wall:.1f} s, {meta['events']} events{speed}"


def stall_lines(summary: dict[str, Any], most: int = 5) -> list[str]:
    """Return in words why flows stalled, the longest stalls of each first; nothing if none did."""
    lines: list[str] = []
    for flow in summary["flows"]:
        stalls = flow["stalls"]
        if not stalls:
            continue
        lasted = f"for {flow['stalled_s']:.3f} s"
        lasted = f"{len(stalls)} times, {lasted} in all" if len(stalls) > 1 else f"once, {lasted}"
        lines.append(f"Flow {flow['name']} stalled {lasted}:")
        longest = sorted(stalls, key=lambda stall: stall["start_s"] - stall["end_s"])[:most]
        for stall in sorted(longest, key=lambda stall: float(stall["start_s"])):
            lines += _stall_lines(stall)
        if len(stalls) > most:
            lines.append(f"  and {len(stalls) - most} shorter ones, see summary.json")
    return lines


def _stall_lines(stall: dict[str, Any]) -> list[str]:
    lasted = stall["end_s"] - stall["start_s"]
    head = f"  {stall['start_s']:.3f} to {stall['end_s']:.3f} s ({lasted:.3f} s): {stall['cause']}"
    lines: list[str] = []
    if stall["parts"]:
        lines.append(f"{head}, most of the time.")
        for part in stall["parts"]:
            span = f"{part['start_s']:.3f} to {part['end_s']:.3f} s"
            lines.append(f"    {span}: {part['cause']}. {_sentence(part['words'])}")
            lines += [f"      {_packet_line(packet)}" for packet in part["packets"]]
    else:
        lines.append(f"{head}. {_sentence(stall['words'])}")
        lines += [f"    {_packet_line(packet)}" for packet in stall["packets"]]
    ended = stall["ended"]
    lines.append(f"    Ended: {ended['by']}. {_sentence(ended['words'])}")
    lines += [f"      {_packet_line(packet)}" for packet in ended["packets"]]
    return lines


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def pause_lines(summary: dict[str, Any]) -> list[str]:
    """Return a line for each flow that has paused: how often, how long, and why."""
    lines: list[str] = []
    for flow in summary["flows"]:
        pauses = flow["pauses"]
        if not pauses["count"]:
            continue
        lasted = f"once, for {pauses['sum_s']:.3f} s"
        if pauses["count"] > 1:
            lasted = (
                f"{pauses['count']} times, for {pauses['sum_s']:.3f} s in all, "
                f"at most {pauses['longest_s']:.3f} s at a time"
            )
        causes = sorted(pauses["causes"].items(), key=lambda item: -float(item[1]["sum_s"]))
        why = ", ".join(f"{one['sum_s']:.3f} s {cause}" for cause, one in causes)
        lines.append(f"Flow {flow['name']} paused {lasted} ({why if len(causes) > 1 else causes[0][0]})")
    return lines


def _packet_line(packet: dict[str, Any]) -> str:
    way = "sent" if packet["sent"] else "received"
    line = f"{packet['what']}: {way} {packet['time_s']:.6f} s, subflow {packet['subflow']}"
    if not packet["frame"]:
        return f"{line}, at {packet['host']}"
    return (
        f"{line}, frame {packet['frame']} of {packet['capture']} "
        f"({packet['filter']}), {packet['capture_time_s']:.6f} s after its first"
    )


def protocol(flow: dict[str, Any]) -> str:
    """Return what a flow's connection speaks where that is not plain TCP as a matter of course."""
    if flow["multipath"]:
        return f"MPTCP version {flow['mptcp_version']}"
    return f"plain TCP: {flow['fallback_reason']}" if flow["fallback"] else ""


def _goodput(one: dict[str, Any]) -> str:
    """Return the goodput of a flow or a subflow; bytes that took no time have none."""
    rate = one["goodput_bps"]
    return "-" if rate is None else format_rate(rate)


def _subflow_row(subflow: dict[str, Any]) -> tuple[str, ...]:
    since = subflow["established_s"]
    notes = [
        "opened by the peer" if subflow["initiated_by"] == "remote" else "",
        "backup" if subflow["backup"] else "",
        f"{format_size(subflow['bytes_reinjected'])} reinjected" if subflow["bytes_reinjected"] else "",
        subflow["error"] or "",
    ]
    return (
        f"  {subflow['id']}",
        f"{subflow['local']} -> {subflow['remote']}",
        format_size(subflow["bytes_acked"]),
        _goodput(subflow),
        "never up" if since is None else f"up {since:.3f} s",
        format_size(subflow["bytes_retransmitted"]),
        ", ".join(filter(None, notes)),
    )


def link_table(summary: dict[str, Any]) -> Table:
    """Return a table of the links of ``summary.json``, one row a direction.

    What seldom happens has a column only if it did.
    """
    seldom = {"marks": "marked", "duplicates": "duplicated", "corrupted": "corrupted"}
    directions = [link[direction] for link in summary["links"].values() for direction in _DIRECTIONS]
    happened = {key: title for key, title in seldom.items() if any(one.get(key) for one in directions)}
    table = _table(
        "Links",
        ("link", "<"),
        ("direction", "<"),
        ("packets", ">"),
        ("bytes", ">"),
        ("utilisation", ">"),
        *((title, ">") for title in happened.values()),
        ("dropped", "~"),
    )
    for name, link in summary["links"].items():
        for direction in _DIRECTIONS:
            one = link[direction]
            drops = ", ".join(f"{count} {reason}" for reason, count in one["drops"].items() if count)
            table.add_row(
                name,
                direction,
                str(one["packets"]),
                format_size(one["bytes"]),
                f"{100 * one['utilisation']:.1f} %" if one["utilisation"] is not None else "-",
                *(str(one.get(key) or "-") for key in happened),
                drops or "-",
            )
    return table


def dummynet_table(summary: dict[str, Any]) -> Table:
    """Return a table of the pipes, schedulers and queues of ``summary.json`` that had packets."""
    table = _table(
        "Pipes of dummynet",
        ("pipe", "<"),
        ("packets", ">"),
        ("bytes", ">"),
        ("marked", ">"),
        ("dropped", "~"),
    )
    for node in summary["nodes"].values():
        for one in node["dummynet"]:
            if not one["packets"] and not one["drops"]:
                continue
            drops = ", ".join(f"{count} {reason}" for reason, count in one["drops"].items())
            table.add_row(
                one["name"],
                str(one["packets"]),
                format_size(one["bytes"]),
                str(one["marks"]) if one["marks"] else "-",
                drops or "-",
            )
    return table


def middlebox_table(summary: dict[str, Any]) -> Table:
    """Return a table of the middleboxes of ``summary.json``, one row a direction."""
    table = _table(
        "Middleboxes",
        ("link", "<"),
        ("middlebox", "<"),
        ("direction", "<"),
        ("packets", ">"),
        ("changed", ">"),
        ("dropped", ">"),
        ("sent on", ">"),
    )
    for name, link in summary["links"].items():
        for one in link["middleboxes"]:
            for direction in _DIRECTIONS:
                counts = [str(one[direction][key]) for key in ("packets", "changed", "dropped", "sent")]
                table.add_row(name, one["name"], direction, *counts)
    return table


def node_table(summary: dict[str, Any]) -> Table:
    """Return a table of what the nodes of ``summary.json`` have dropped themselves, one row a node."""
    table = _table("Dropped by nodes", ("node", "<"), ("dropped", "~"), ("ICMP errors sent", "~"))
    for name, node in summary["nodes"].items():
        cells = [
            ", ".join(f"{count} {reason}" for reason, count in node[key].items() if count)
            for key in ("drops", "icmp_errors")
        ]
        if any(cells):
            table.add_row(name, *(cell or "-" for cell in cells))
    return table


def plugin_table(family: str, plugins: dict[str, type[Plugin]]) -> Table:
    """Return a table of a family's plug-ins: parameters, defaults and ranges."""
    table = _table(
        family, ("name", "<"), ("parameter", "<"), ("default", ">"), ("range", "<"), ("what it is", "~")
    )
    for name, plugin in plugins.items():
        table.add_row(name, "", "", "", plugin_summary(plugin))
        for parameter in plugin.PARAMETERS:
            table.add_row("", parameter.name, str(parameter.default), _range(parameter), parameter.help)
    return table


def plugin_summary(plugin: type[Plugin]) -> str:
    """Return the one line that says what a plug-in is: its own summary, else its own docstring's first."""
    if "SUMMARY" in vars(plugin):
        return plugin.SUMMARY
    lines = (plugin.__doc__ or "").strip().splitlines()
    return lines[0] if lines else plugin.SUMMARY


def _range(parameter: Parameter) -> str:
    if parameter.minimum is None and parameter.maximum is None:
        return ""
    low = "" if parameter.minimum is None else f"{parameter.minimum:g}"
    high = "" if parameter.maximum is None else f"{parameter.maximum:g}"
    return f"{low} .. {high}".strip()
