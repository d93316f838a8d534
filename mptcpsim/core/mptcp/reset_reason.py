"""What the RST that ends a subflow tells the peer (RFC 8684 sections 3.5 to 3.7)."""

from __future__ import annotations

from mptcpsim.core.counters import Counters
from mptcpsim.core.mptcp.agreement import Agreement
from mptcpsim.core.mptcp.data_receiver import DataReceiver
from mptcpsim.core.mptcp_options import VERSION_0, MpFail, MpFastclose, MptcpOption, MpTcprst


class ResetReason:
    """The options of the RST of one subflow, collected before it is sent."""

    __slots__ = ("_agreed", "_counters", "_fail", "_inbound", "_reason")

    def __init__(self, agreed: Agreement, inbound: DataReceiver, counters: Counters) -> None:
        self._agreed = agreed
        self._inbound = inbound
        self._counters = counters
        #: MP_TCPRST or MP_FASTCLOSE.
        self._reason: MptcpOption | None = None
        self._fail: MpFail | None = None

    def on_reset(self, reason: int) -> None:
        """The subflow is reset for a reason that MP_TCPRST names (section 3.6): the first one counts."""
        if self._reason is None and self._agreed.version != VERSION_0:
            self._reason = MpTcprst(reason)

    def on_fast_close(self) -> None:
        """The whole connection is being aborted: MP_FASTCLOSE takes the place of MP_TCPRST (section 3.5)."""
        self._counters.add("MPTcpExtMPFastcloseTx")
        self._reason = MpFastclose(self._agreed.remote_key.value)

    def on_fail(self, dsn: int) -> None:
        """A checksum was wrong: MP_FAIL names the relative DSN from which data is missing (section 3.7)."""
        self._counters.add("MPTcpExtMPFailTx")
        self._fail = MpFail(self._inbound.absolute(dsn))

    def options(self) -> tuple[MptcpOption, ...]:
        """Return the options for the RST, which is being sent."""
        if isinstance(self._reason, MpTcprst):
            self._counters.add("MPTcpExtMPRstTx")
        return tuple(option for option in (self._fail, self._reason) if option is not None)
