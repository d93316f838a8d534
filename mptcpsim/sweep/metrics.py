"""The columns that a run's ``summary.json`` becomes.

Without a word from the user: the goodput of all flows together, and the figures of each
flow, subflow and link. ``[sweep.metrics]`` adds any other value by its path in the file:
``timeouts = "counters.client.TcpTimeouts"``, ``srtt = "flows.bulk.subflows.0.srtt_ms"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: The metric that figures and tables show where nothing else is asked for.
DEFAULT = "goodput_bps"

_FLOW = ("goodput_bps", "completed_s", "bytes_written", "bytes_delivered", "multipath", "fallback", "failed")
_SUBFLOW = ("goodput_bps", "bytes_sent", "bytes_retransmitted", "bytes_reinjected", "srtt_ms", "cwnd_bytes")


def metrics(summary: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    """Return the columns of a run.

    Args:
        summary: the content of ``summary.json``.
        paths: names and paths of ``[sweep.metrics]``.
    """
    flows = summary["flows"]
    found: dict[str, Any] = {DEFAULT: _sum(flow["goodput_bps"] for flow in flows)}
    for flow in flows:
        name = flow["name"]
        # Other versions of the code may have written less: what is not there has no value.
        found.update({f"{name}.{key}": flow.get(key) for key in _FLOW})
        found[f"{name}.error"] = flow.get("error")
        for key in ("bytes_retransmitted", "bytes_reinjected"):
            found[f"{name}.{key}"] = _sum(subflow.get(key) for subflow in flow["subflows"])
        stalls = flow.get("stalls")
        found[f"{name}.stalls"] = None if stalls is None else len(stalls)
        found[f"{name}.stalled_s"] = (
            None if stalls is None else sum(stall["end_s"] - stall["start_s"] for stall in stalls)
        )
        pauses = flow.get("pauses") or {}
        found[f"{name}.pauses"] = pauses.get("count")
        found[f"{name}.paused_s"] = pauses.get("sum_s")
        found[f"{name}.longest_pause_s"] = pauses.get("longest_s")
        for key, value in (flow.get("latency_ms") or {}).items():
            found[f"{name}.latency_{key}{'' if key == 'requests' else '_ms'}"] = value
        if flow.get("multipath"):
            for subflow in flow["subflows"]:
                found.update({f"{name}.{subflow['id']}.{key}": subflow.get(key) for key in _SUBFLOW})
    for name, link in summary["links"].items():
        found[f"{name}.utilisation"] = link.get("utilisation")
        found[f"{name}.packets"] = link.get("packets")
        found[f"{name}.dropped"] = sum(link["drops"].values())
    found.update({name: value_at(summary, path) for name, path in paths.items()})
    return found


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def value_at(summary: Any, path: str) -> Any:
    """Return the value at a path such as ``flows.bulk.stalls.0.cause``, None where there is none.

    Entries of a list are named by their place or by their ``name``; what is no single value counts
    as its length. Names may hold dots: the longest one that exists is taken.
    """
    value = _walk(summary, path.split("."))
    return len(value) if isinstance(value, list | dict) else value


def _walk(node: Any, parts: list[str]) -> Any:
    if not parts:
        return node
    for length in range(len(parts), 0, -1):
        word, rest = ".".join(parts[:length]), parts[length:]
        if isinstance(node, Mapping) and word in node:
            return _walk(node[word], rest)
        if isinstance(node, list):
            if word.isdecimal() and int(word) < len(node):
                return _walk(node[int(word)], rest)
            for item in node:
                if isinstance(item, Mapping) and item.get("name") == word:
                    return _walk(item, rest)
    return None
