"""What the plug-ins of the user's may return and leave behind, kind by kind (``guard``)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from mptcpsim.core.errors import IntegrityError
from mptcpsim.core.segment import Packet
from mptcpsim.guard import Call, Spec, declare, let_pass, shown
from mptcpsim.net.middlebox import Middlebox
from mptcpsim.plugins import (
    DROP,
    MARK,
    PASS,
    PENALISE,
    RESEND,
    Announce,
    CongestionControl,
    FlowQueue,
    OpenSubflow,
    Path,
    PathManager,
    QueueDiscipline,
    QueueScheduler,
    Scheduler,
    SetBackup,
    Withdraw,
)
from mptcpsim.sim.loop import EventBudgetExceeded

#: More bytes than any window has, and more ns than any run.
_MOST: Final = 1 << 62


def _is_whole(value: Any, low: int = 0, high: int = _MOST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _whole(what: str) -> Callable[[Any], str]:
    """Return a check of an attribute: a whole number; which ones are allowed is judged after the hook."""

    def check(value: Any) -> str:
        return (
            ""
            if isinstance(value, int) and not isinstance(value, bool)
            else f"a whole number of {what} (int)"
        )

    return check


# --- Congestion control ---------------------------------------------------------------------------


def _windows(control: CongestionControl) -> tuple[int, int, int]:
    return control.cwnd, control.ssthresh, control.mss


def _windows_changed(control: CongestionControl, hook: str, before: tuple[int, int, int]) -> str:
    """Judge the windows that a hook has changed; below one segment a subflow could never send again."""
    least = max(1, control.mss)
    if not _is_whole(control.mss, 1):
        return f"leaves mss at {control.mss}; allowed is a whole number of bytes, at least 1"
    for name, was, value in (("cwnd", before[0], control.cwnd), ("ssthresh", before[1], control.ssthresh)):
        if (value != was or hook == "start") and not _is_whole(value, least):
            allowed = f"a whole number of bytes, at least a segment ({least})"
            return f"sets {name} to {shown(value)}; allowed is {allowed}"
    return ""


def _ssthresh(control: CongestionControl, result: Any, args: tuple[Any, ...]) -> str:
    least = max(1, control.mss)
    return "" if _is_whole(result, least) else f"a whole number of bytes, at least a segment ({least})"


# --- Queues ---------------------------------------------------------------------------------------


def _verdict(plugin: Any, result: Any, args: tuple[Any, ...]) -> str:
    return "" if _is_whole(result) and result in (PASS, DROP, MARK) else "PASS, DROP or MARK"


def _queue(plugin: Any, result: Any, args: tuple[Any, ...]) -> str:
    if result is None or isinstance(result, FlowQueue):
        return ""
    return "a queue that holds packets, or None if all are empty"


def _discipline(plugin: Any, result: Any, args: tuple[Any, ...]) -> str:
    return "" if result is None or isinstance(result, QueueDiscipline) else "a QueueDiscipline, or None"


# --- MPTCP ----------------------------------------------------------------------------------------


def _path(plugin: Any, result: Any, args: tuple[Any, ...]) -> str:
    if result is None or (isinstance(result, Path) and any(result is path for path in args[0])):
        return ""
    return "one of the paths of `available`, or None"


def _blocked(plugin: Any, result: Any, args: tuple[Any, ...]) -> str:
    return "" if _is_whole(result, 0, RESEND + PENALISE) else "WAIT, RESEND, PENALISE or RESEND + PENALISE"


def _truth(plugin: Any, result: Any, args: tuple[Any, ...]) -> str:
    return "" if isinstance(result, bool) else "True or False"


def _identifier(plugin: Any, result: Any, args: tuple[Any, ...]) -> str:
    return "" if _is_whole(result, 0, 255) else "a whole number from 0 to 255"


def _actions(plugin: Any, result: Any, args: tuple[Any, ...]) -> str:
    if not isinstance(result, list):
        return "a list of actions (OpenSubflow, Announce, Withdraw, SetBackup)"
    for action in result:
        if wrong := _action(action):
            return f"a list of actions, and in it {shown(action)} is none: {wrong}"
    return ""


def _action(action: Any) -> str:
    if isinstance(action, OpenSubflow):
        if _version(action.local) != _version(action.remote) or not _version(action.local):
            return "local and remote have to be addresses of one IP version"
        if not _is_whole(action.port, 1, 65535) or not _is_whole(action.local_port, 0, 65535):
            return "port has to be from 1 to 65535, local_port from 0 to 65535"
        return "" if isinstance(action.backup, bool) else "backup has to be True or False"
    if isinstance(action, Announce):
        wrong = "" if _is_whole(action.port, 0, 65535) else "port has to be from 0 to 65535"
        return wrong if _version(action.address) else "address has to be an IP address"
    if isinstance(action, Withdraw):
        return "" if _version(action.address) else "address has to be an IP address"
    if isinstance(action, SetBackup):
        right = _is_whole(action.subflow) and isinstance(action.backup, bool)
        return "" if right else "subflow has to be the number of one, backup True or False"
    return "write OpenSubflow, Announce, Withdraw or SetBackup"


def _version(address: Any) -> int:
    """Return the IP version of an address in canonical text form, 0 if it is none."""
    try:
        found = ipaddress.ip_address(address) if isinstance(address, str) else None
    except ValueError:
        return 0
    return found.version if found is not None and str(found) == address else 0


# --- Middleboxes ----------------------------------------------------------------------------------


def _packet(plugin: Any, result: Any, args: tuple[Any, ...]) -> str:
    if result is None or isinstance(result, Packet):
        return ""
    return "a packet (this one or a changed clone), None, or HELD"


def _sent(box: Any, given: dict[str, Any]) -> str:
    if not isinstance(given["packet"], Packet):
        return f"packet = {shown(given['packet'])}; allowed is a packet"
    if not isinstance(given["forward"], bool):
        return f"forward = {shown(given['forward'])}; allowed is True or False"
    return _instant(box, given)


def _instant(box: Any, given: dict[str, Any]) -> str:
    now = box.now()
    if "at" in given and not _is_whole(given["at"], now):
        return f"at = {shown(given['at'])}; allowed is a whole number of ns, not before now ({now})"
    if "callback" in given and not callable(given["callback"]):
        return f"callback = {shown(given['callback'])}; allowed is a function"
    return ""


def declare_checks() -> None:
    """Tell ``guard`` of all kinds of plug-ins."""
    let_pass(IntegrityError, EventBudgetExceeded)
    quiet = dict.fromkeys
    declare(
        CongestionControl,
        Spec(
            hooks={
                **quiet(("start", "on_ack", "on_unused_window", "on_timeout", "on_recovered"), None),
                **quiet(("on_mss", "couple"), None),
                "ssthresh_after_loss": _ssthresh,
            },
            attributes=quiet(("cwnd", "ssthresh", "mss"), _whole("bytes")),
            needs=("cwnd", "ssthresh", "mss"),
            state=_windows,
            changed=_windows_changed,
        ),
    )
    declare(
        QueueDiscipline,
        Spec(
            hooks={"start": None, "on_arrival": _verdict, "on_departure": _verdict},
            attributes={"limit": _whole("slots or bytes")},
        ),
    )
    declare(
        QueueScheduler,
        Spec(
            hooks={"discipline": _discipline, "arrived": None, "select": _queue, "served": None},
            attributes={"limit": _whole("packets"), "flows": _whole("queues")},
        ),
    )
    declare(
        Scheduler, Spec(hooks={"start": None, "choose": _path, "on_blocked": _blocked}, copied=("choose",))
    )
    declare(
        PathManager,
        Spec(
            hooks={
                "may_join": _truth,
                "wants_backup": _truth,
                "identifier_for": _identifier,
                **quiet(("on_established", "on_announced", "on_withdrawn"), _actions),
                **quiet(("on_subflow_closed", "on_local_address"), _actions),
            }
        ),
    )
    declare(
        Middlebox,
        Spec(
            hooks={"start": None, "on_packet": _packet, "answers": _truth},
            needs=("forward", "backward", "rng", "first_address"),
            calls={
                "send": Call(("packet", "forward"), _sent),
                "send_at": Call(("at", "packet", "forward"), _sent),
                "call_at": Call(("at", "callback"), _instant, callback="callback"),
            },
        ),
    )
