"""Path managers: what each one announces and opens, and what holds for all of them."""

from __future__ import annotations

import random
from collections import deque
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.pathmanagers.addresses import AddressedManager
from mptcpsim.pathmanagers.endpoints import Endpoint, parse_endpoints
from mptcpsim.pathmanagers.ndiffports import NDiffPorts
from mptcpsim.plugins import (
    Action,
    Announce,
    OpenSubflow,
    PathManager,
    PluginError,
    SetBackup,
    SubflowInfo,
    Value,
    Withdraw,
    families,
)
from mptcpsim.scenario.catalogue import parameters
from tests.pathmanagers.path_views import CLIENT_PORT, PORT, FakeView, client, manager, server


def endpoints(text: str, **limits: int) -> PathManager:
    return manager("endpoints", endpoints=text, **limits)


C1, C2, C3 = "10.0.1.1", "10.0.2.1", "10.0.3.1"
S1, S2, S3 = "10.0.1.2", "10.0.2.2", "10.0.3.2"


class TestParse:
    def test_the_words_of_ip_mptcp(self) -> None:
        one, two = "10.0.2.1 subflow, 10.0.3.1 signal backup", "FD00:0::1 signal port 8080 id 3"
        assert parse_endpoints(f"{one} , {two},10.1.0.3 fullmesh subflow") == [
            Endpoint("10.0.2.1", subflow=True),
            Endpoint("10.0.3.1", signal=True, backup=True),
            Endpoint("fd00::1", signal=True, port=8080, identifier=3),
            Endpoint("10.1.0.3", subflow=True, fullmesh=True),
        ]

    def test_nothing(self) -> None:
        assert parse_endpoints("") == parse_endpoints(" , ") == []

    def test_one_address_at_several_ports(self) -> None:
        assert [e.port for e in parse_endpoints("10.0.0.1 signal port 1, 10.0.0.1 signal port 2")] == [1, 2]

    @pytest.mark.parametrize(
        ("text", "remedy"),
        [
            ("10.0.2 subflow", "write one, as in '10.0.2.1 subflow'"),
            ("10.0.2.1/24 subflow", "leave the prefix length out"),
            ("subflow 10.0.2.1", "'subflow' is no address"),
            ("10.0.2.1", "Add subflow"),
            ("10.0.2.1 backup", "Add subflow"),
            ("10.0.2.1 fullmesh", "Add subflow"),
            ("10.0.2.1 subflo", "known are signal, subflow"),
            ("10.0.2.1 10.0.3.1 subflow", "'10.0.3.1' is no flag"),
            ("10.0.2.1 signal fullmesh", "exclude each other"),
            ("10.0.2.1 subflow port 80", "add signal or leave the port out"),
            ("10.0.2.1 signal port", "port is followed by a number from 1 to 65535"),
            ("10.0.2.1 signal port 0", "from 1 to 65535"),
            ("10.0.2.1 signal port ²", "from 1 to 65535"),
            ("10.0.2.1 signal id 256", "id is followed by a number from 1 to 255"),
            ("10.0.2.1 dev eth1 subflow", "leave dev and its name out"),
        ],
    )
    def test_a_wrong_entry_is_named(self, text: str, remedy: str) -> None:
        with pytest.raises(PluginError) as failure:
            parse_endpoints(f"10.9.9.9 signal, {text}")
        assert str(failure.value).startswith(f"{text!r}: ")
        assert remedy in str(failure.value)

    def test_entries_that_contradict(self) -> None:
        with pytest.raises(PluginError, match=r"'10\.0\.2\.1 signal': the address comes twice"):
            parse_endpoints("10.0.2.1 subflow, 10.0.2.1 signal")
        with pytest.raises(PluginError, match=r"'10\.0\.3\.1 signal id 4': id 4 is taken"):
            parse_endpoints("10.0.2.1 subflow id 4, 10.0.3.1 signal id 4")


class TestEndpointsAtTheStart:
    """What was measured on Linux 6.18, two hosts with three links between them."""

    def test_the_client_joins_from_its_subflow_endpoints_in_their_order(self) -> None:
        pm = endpoints(f"{C3} subflow, {C2} subflow backup")
        assert pm.on_established(client(C1, C2, C3)) == [
            OpenSubflow(C3, S1, PORT),
            OpenSubflow(C2, S1, PORT, backup=True),
        ]

    def test_the_limit_holds_further_ones_back(self) -> None:
        pm = endpoints(f"{C3} subflow, {C2} subflow", subflows=1)
        assert pm.on_established(client(C1, C2, C3)) == [OpenSubflow(C3, S1, PORT)]

    def test_without_room_nothing_is_opened(self) -> None:
        assert endpoints(f"{C2} subflow", subflows=0).on_established(client(C1, C2)) == []

    def test_what_the_peer_opened_counts(self) -> None:
        view = client(C1, C2, C3)
        view.open.append(SubflowInfo(1, C1, 0, S2, 1, 41000, False, False))
        pm = endpoints(f"{C2} subflow, {C3} subflow")
        assert pm.on_established(view) == [OpenSubflow(C2, S1, PORT)]

    def test_a_server_joins_nothing_from_its_subflow_endpoints(self) -> None:
        assert endpoints(f"{S2} subflow").on_established(server(S1, S2)) == []

    def test_signal_endpoints_are_announced(self) -> None:
        pm = endpoints(f"{S2} signal, {S3} signal port 8080")
        assert pm.on_established(server(S1, S2, S3)) == [Announce(S2), Announce(S3, 8080)]

    def test_signal_and_subflow_in_one(self) -> None:
        pm = endpoints(f"{C2} signal subflow")
        assert pm.on_established(client(C1, C2)) == [Announce(C2), OpenSubflow(C2, S1, PORT)]

    def test_the_address_of_the_first_subflow_is_not_announced(self) -> None:
        pm = endpoints(f"{S1} signal, {S3} signal")
        assert pm.on_established(server(S1, S2, S3)) == [Announce(S3)]

    def test_but_with_another_port_it_is(self) -> None:
        assert endpoints(f"{S1} signal port 9999").on_established(server(S1)) == [Announce(S1, 9999)]

    def test_nor_joined_from(self) -> None:
        for flags in ("subflow", "subflow fullmesh"):
            assert endpoints(f"{C1} {flags}").on_established(client(C1, C2)) == []

    def test_its_backup_flag_is_signalled(self) -> None:
        assert endpoints(f"{C1} subflow backup").on_established(client(C1, C2)) == [SetBackup(0, True)]
        assert endpoints(f"{S1} signal backup").on_established(server(S1)) == [SetBackup(0, True)]

    def test_an_address_that_the_host_does_not_have_is_left_out(self) -> None:
        assert endpoints(f"{C2} subflow, {C3} signal").on_established(client(C1)) == []

    def test_families_do_not_mix(self) -> None:
        pm = endpoints("fd00:2::1 subflow, 10.0.2.1 subflow")
        assert pm.on_established(client(C1, C2, "fd00:2::1")) == [OpenSubflow(C2, S1, PORT)]

    def test_an_ipv4_address_of_an_ipv6_connection(self) -> None:
        view = client("fd00::1", C2, server="fd00::2")
        pm = endpoints(f"{C2} subflow fullmesh", add_addr_accepted=1)
        assert pm.on_established(view) == []
        assert pm.on_announced(view, view.hear(1, S2)) == [OpenSubflow(C2, S2, PORT)]

    def test_an_ipv4_connection_stays_one(self) -> None:
        view = client(C1, "fd00::1")
        view.sources["fd00::2"] = "fd00::1"
        pm = endpoints("", add_addr_accepted=1)
        pm.on_established(view)
        assert pm.on_announced(view, view.hear(1, "fd00::2")) == []


class TestEndpointsOnAnnouncements:
    def test_by_default_none_is_accepted(self) -> None:
        view = client(C1, C2)
        view.sources[S2] = C2
        pm = endpoints(f"{C2} subflow fullmesh")
        pm.on_established(view)
        assert pm.on_announced(view, view.hear(1, S2)) == []

    def test_routing_chooses_the_address(self) -> None:
        view = client(C1, C2, C3)
        view.sources[S3] = C3
        pm = endpoints(f"{C2} subflow", add_addr_accepted=1)
        assert pm.on_established(view) == [OpenSubflow(C2, S1, PORT)]
        assert pm.on_announced(view, view.hear(1, S3)) == [OpenSubflow(C3, S3, PORT)]

    def test_an_address_that_routing_does_not_reach(self) -> None:
        view = client(C1)
        pm = endpoints("", add_addr_accepted=1)
        pm.on_established(view)
        assert pm.on_announced(view, view.hear(1, S2)) == []
        # What led to nothing does not count as accepted.
        view.sources[S3] = C1
        assert pm.on_announced(view, view.hear(2, S3)) == [OpenSubflow(C1, S3, PORT)]

    def test_a_server_accepts_them_too(self) -> None:
        view = server(S1, S2)
        view.sources[C2] = S2
        pm = endpoints("", add_addr_accepted=1)
        pm.on_established(view)
        assert pm.on_announced(view, view.hear(1, C2, CLIENT_PORT)) == [OpenSubflow(S2, C2, CLIENT_PORT)]

    def test_the_number_accepted(self) -> None:
        view = client(C1)
        view.sources = {S2: C1, S3: C1}
        pm = endpoints("", subflows=8, add_addr_accepted=1)
        pm.on_established(view)
        assert pm.on_announced(view, view.hear(1, S2)) == [OpenSubflow(C1, S2, PORT)]
        assert pm.on_announced(view, view.hear(2, S3)) == []

    def test_after_a_withdrawal_another_one_is_accepted(self) -> None:
        view = client(C1)
        view.sources = {S2: C1, S3: C1}
        pm = endpoints("", subflows=8, add_addr_accepted=1)
        pm.on_established(view)
        pm.on_announced(view, view.hear(1, S2))
        del view.remotes[1]
        assert pm.on_withdrawn(view, 1) == []
        assert pm.on_announced(view, view.hear(5, S3)) == [OpenSubflow(C1, S3, PORT)]

    def test_an_address_comes_back(self) -> None:
        view = client(C1)
        view.sources[S2] = C1
        pm = endpoints("", add_addr_accepted=1)
        pm.on_established(view)
        (opened,) = pm.on_announced(view, view.hear(1, S2))
        assert isinstance(opened, OpenSubflow)
        info = view.add(opened)
        del view.remotes[1]
        pm.on_withdrawn(view, 1)
        view.open.remove(info)
        pm.on_subflow_closed(view, info)
        assert pm.on_announced(view, view.hear(1, S2)) == [OpenSubflow(C1, S2, PORT)]

    def test_full_mesh(self) -> None:
        """Five subflows beside the first one, as Linux opens them."""
        view = client(C1, C2)
        pm = endpoints(f"{C1} subflow fullmesh, {C2} subflow fullmesh", subflows=8, add_addr_accepted=8)
        assert follow(view, pm.on_established(view)) == {(C2, S1)}
        assert follow(view, pm.on_announced(view, view.hear(1, S2))) == {(C1, S2), (C2, S2)}
        assert follow(view, pm.on_announced(view, view.hear(2, S3))) == {(C1, S3), (C2, S3)}

    def test_full_mesh_of_one_endpoint(self) -> None:
        view = client(C1, C2, C3)
        view.sources[S3] = C3
        pm = endpoints(f"{C2} subflow fullmesh", subflows=8, add_addr_accepted=8)
        assert follow(view, pm.on_established(view)) == {(C2, S1)}
        assert follow(view, pm.on_announced(view, view.hear(1, S3))) == {(C2, S3)}

    def test_full_mesh_within_the_limit(self) -> None:
        view = client(C1, C2)
        pm = endpoints(f"{C1} subflow fullmesh, {C2} subflow fullmesh", subflows=2, add_addr_accepted=8)
        assert follow(view, pm.on_established(view)) == {(C2, S1)}
        assert follow(view, pm.on_announced(view, view.hear(1, S2))) == {(C1, S2)}

    def test_what_waits_counts_as_much_as_what_is_open(self) -> None:
        """An MP_JOIN may have to wait for the first DSS; an ADD_ADDR does not."""
        view = client(C1, C2)
        pm = endpoints(f"{C2} subflow fullmesh", subflows=1, add_addr_accepted=1)
        assert pm.on_established(view) == [OpenSubflow(C2, S1, PORT)]
        assert pm.on_announced(view, view.hear(1, S2)) == []

    def test_what_the_peer_opened_is_not_opened_again(self) -> None:
        view = client(C1, C2)
        pm = endpoints(f"{C2} subflow fullmesh", add_addr_accepted=1)
        follow(view, pm.on_established(view))
        view.open.append(SubflowInfo(2, C2, 1, S2, 1, 41000, False, False))
        assert pm.on_announced(view, view.hear(1, S2)) == []

    def test_the_peer_forbids_its_first_address(self) -> None:
        """Flag C and the default limits: the announced address is joined from the endpoints."""
        view = client(C1, C2, C3)
        view.remotes.clear()
        pm = endpoints(f"{C2} subflow, {C3} subflow backup")
        assert pm.on_established(view) == []
        assert pm.on_announced(view, view.hear(1, S2)) == [
            OpenSubflow(C2, S2, PORT),
            OpenSubflow(C3, S2, PORT, backup=True),
        ]
        assert pm.on_announced(view, view.hear(2, S3)) == []

    def test_with_announcements_accepted_routing_chooses_all_the_same(self) -> None:
        view = client(C1, C2, C3)
        view.remotes.clear()
        view.sources[S2] = C2
        pm = endpoints(f"{C3} subflow", subflows=4, add_addr_accepted=1)
        assert pm.on_established(view) == []
        assert pm.on_announced(view, view.hear(1, S2)) == [OpenSubflow(C2, S2, PORT)]


class TestEndpointsLater:
    def test_a_refused_one_makes_room_for_the_next(self) -> None:
        view = client(C1, C2, C3)
        pm = endpoints(f"{C3} subflow, {C2} subflow", subflows=1)
        (first,) = pm.on_established(view)
        assert isinstance(first, OpenSubflow)
        refused = view.add(first)
        view.open.remove(refused)
        (second,) = pm.on_subflow_closed(view, refused)
        assert second == OpenSubflow(C2, S1, PORT)
        assert isinstance(second, OpenSubflow)
        refused = view.add(second)
        view.open.remove(refused)
        assert pm.on_subflow_closed(view, refused) == []

    def test_what_could_not_even_be_tried_makes_room_too(self) -> None:
        view = client(C1, C2, C3)
        pm = endpoints(f"{C3} subflow, {C2} subflow", subflows=1)
        pm.on_established(view)
        never = SubflowInfo(1, C3, 1, S1, 0, PORT, False, True)
        assert pm.on_subflow_closed(view, never) == [OpenSubflow(C2, S1, PORT)]

    def test_a_closed_subflow_is_not_opened_again(self) -> None:
        view = client(C1, C2)
        pm = endpoints(f"{C2} subflow")
        follow(view, pm.on_established(view))
        for info in list(view.open):
            view.open.remove(info)
            assert pm.on_subflow_closed(view, info) == []

    def test_an_endpoint_goes_and_comes(self) -> None:
        view = client(C1, C2)
        pm = endpoints(f"{C2} subflow")
        follow(view, pm.on_established(view))
        view.addresses.remove(C2)
        assert pm.on_local_address(view, C2, False) == [Withdraw(C2)]
        info = view.open.pop()
        assert pm.on_subflow_closed(view, info) == []
        view.addresses.append(C2)
        assert pm.on_local_address(view, C2, True) == [OpenSubflow(C2, S1, PORT)]

    def test_an_announced_one_goes_and_comes(self) -> None:
        view = server(S1, S2)
        pm = endpoints(f"{S2} signal port 80, {S2} signal port 81")
        assert pm.on_established(view) == [Announce(S2, 80), Announce(S2, 81)]
        assert pm.on_local_address(view, S2, False) == [Withdraw(S2)]
        assert pm.on_local_address(view, S2, True) == [Announce(S2, 80), Announce(S2, 81)]
        view.told = [S2]
        assert pm.on_local_address(view, S2, True) == []

    def test_an_address_that_is_no_endpoint_is_nobodys(self) -> None:
        pm = endpoints(f"{C2} subflow")
        view = client(C1, C2)
        pm.on_established(view)
        assert pm.on_local_address(view, C1, False) == []
        assert pm.on_local_address(view, C3, True) == []


def follow(view: FakeView, actions: list[Action]) -> set[tuple[str, str]]:
    """Open what is asked for and return the pairs, each of them new."""
    pairs = []
    for action in actions:
        assert isinstance(action, OpenSubflow)
        assert (action.local, action.remote) not in {(s.local, s.remote) for s in view.open}
        view.add(action)
        pairs.append((action.local, action.remote))
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


class TestMpAddresses:
    def test_all_addresses_are_announced_at_once(self) -> None:
        pm = manager("mp_addresses", addresses="10.0.2.1, 10.0.3.1  10.0.2.1")
        assert pm.on_established(client(C1, C2, C3)) == [Announce(C2), Announce(C3)]

    def test_but_not_that_of_the_first_subflow_nor_one_that_is_not_there(self) -> None:
        pm = manager("mp_addresses", addresses="10.0.1.1 10.0.2.1 10.0.3.1")
        assert pm.on_established(client(C1, C2)) == [Announce(C2)]

    def test_the_receiver_joins_even_without_addresses_of_its_own(self) -> None:
        """The seed's one-network case: B joins from B1 to A2."""
        view = server("192.168.0.20", peer="192.168.0.10")
        pm = manager("mp_addresses")
        assert pm.on_established(view) == []
        assert pm.on_announced(view, view.hear(1, "192.168.0.11", CLIENT_PORT)) == [
            OpenSubflow("192.168.0.20", "192.168.0.11", CLIENT_PORT)
        ]

    def test_the_announcer_joins_nothing_itself(self) -> None:
        pm = manager("mp_addresses", addresses=C2)
        view = client(C1, C2)
        assert not any(isinstance(a, OpenSubflow) for a in pm.on_established(view))

    def test_what_is_open_is_not_opened_again(self) -> None:
        view = client(C1, C2)
        pm = manager("mp_addresses", addresses=C2)
        pm.on_established(view)
        view.open.append(SubflowInfo(1, C1, 0, S2, 1, 41000, False, False))
        assert pm.on_announced(view, view.hear(1, S2)) == [OpenSubflow(C2, S2, PORT)]

    def test_families_do_not_mix(self) -> None:
        view = client(C1, "fd00::1")
        pm = manager("mp_addresses", addresses="fd00::1")
        pm.on_established(view)
        assert pm.on_announced(view, view.hear(1, S2)) == [OpenSubflow(C1, S2, PORT)]
        assert pm.on_announced(view, view.hear(2, "fd00::2")) == [OpenSubflow("fd00::1", "fd00::2", PORT)]

    def test_an_address_goes_and_comes(self) -> None:
        view = client(C1, C2)
        pm = manager("mp_addresses", addresses=C2)
        pm.on_established(view)
        assert pm.on_local_address(view, C2, False) == [Withdraw(C2)]
        assert pm.on_local_address(view, C2, True) == [Announce(C2)]
        view.told = [C2]
        assert pm.on_local_address(view, C2, True) == []
        assert pm.on_local_address(view, C3, True) == []

    @pytest.mark.parametrize("text", ["10.0.2", "10.0.2.1/24", "em1"])
    def test_what_is_no_address(self, text: str) -> None:
        with pytest.raises(PluginError, match=f"'{text}' is no address: .*'192.168.0.11'"):
            manager("mp_addresses", addresses=f"10.0.1.1 {text}")


class TwoEnds:
    """Two hosts whose path managers talk to each other; every message takes as long as it likes."""

    #: Addresses of the two-router topology.
    EM: ClassVar[dict[str, list[str]]] = {
        "c": ["172.16.1.2", "172.16.2.2"],
        "s": ["172.16.3.2", "172.16.4.2"],
    }

    def __init__(self, client_has: int, server_has: int, rng: random.Random) -> None:
        here, there = self.EM["c"], self.EM["s"]
        self.views = {
            "c": client(*here[:client_has], server=there[0]),
            "s": server(*there[:server_has], peer=here[0]),
        }
        self.managers = {
            "c": manager("mp_addresses", addresses=" ".join(here[1:client_has])),
            "s": manager("mp_addresses", addresses=" ".join(there[1:server_has])),
        }
        self.rng = rng
        self.wires: dict[str, list[deque[Action]]] = {"c": [], "s": []}

    def run(self) -> list[tuple[str, str]]:
        """Return the pairs (client's address, server's address) of all subflows, one each."""
        for end in self.rng.sample(["c", "s"], 2):
            self.act(end, self.managers[end].on_established(self.views[end]))
        while waiting := [(end, i) for end in "cs" for i, wire in enumerate(self.wires[end]) if wire]:
            end, index = self.rng.choice(waiting)
            self.arrive(end, self.wires[end][index].popleft())
        pairs = [(s.local, s.remote) for s in self.views["c"].open]
        assert sorted(pairs) == sorted((s.remote, s.local) for s in self.views["s"].open)
        return pairs

    def act(self, end: str, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, OpenSubflow):
                self.views[end].add(action)
            self.wires["s" if end == "c" else "c"].append(deque([action]))

    def arrive(self, end: str, action: Action) -> None:
        view = self.views[end]
        if isinstance(action, Announce):
            remote = view.hear(1, action.address, PORT if end == "c" else CLIENT_PORT)
            self.act(end, self.managers[end].on_announced(view, remote))
        elif isinstance(action, OpenSubflow):
            number = 1 + max(s.identifier for s in view.open)
            view.open.append(
                SubflowInfo(number, action.remote, 0, action.local, 0, 41000 + number, False, False)
            )


class TestTheTwoRouterTopology:
    @pytest.mark.parametrize(
        ("at_client", "at_server", "expected"), [(1, 1, 1), (2, 1, 2), (1, 2, 2), (2, 2, 4)]
    )
    @given(seed=st.integers(0, 1 << 32))
    def test_number_of_subflows(self, at_client: int, at_server: int, expected: int, seed: int) -> None:
        """Two ends with two addresses: four subflows, in whatever order the messages arrive."""
        pairs = TwoEnds(at_client, at_server, random.Random(seed)).run()
        assert len(pairs) == len(set(pairs)) == expected


class TestNDiffPorts:
    @pytest.mark.parametrize("number", [1, 2, 5])
    def test_the_client_opens_the_rest(self, number: int) -> None:
        pm = manager("ndiffports", subflows=number)
        assert pm.on_established(client(C1, C2)) == [OpenSubflow(C1, S1, PORT)] * (number - 1)
        assert manager("ndiffports", subflows=number).on_established(server(S1)) == []

    @pytest.mark.parametrize("ports", ["40001 40002", "40001,40002", [40001, 40002], ["40001", "40002"]])
    def test_ports_as_a_text_and_as_a_list(self, ports: Any) -> None:
        pm = NDiffPorts()
        pm.configure(parameters("pathmanager", "ndiffports", {"subflows": 3, "ports": ports}))
        opened = pm.on_established(client(C1))
        assert [action.local_port for action in opened if isinstance(action, OpenSubflow)] == [40001, 40002]

    def test_the_peer_may_forbid_it(self) -> None:
        view = client(C1)
        view.remotes.clear()
        assert manager("ndiffports").on_established(view) == []


# --- What holds for every path manager ------------------------------------------------------------

#: Those of the package: other tests register path managers of their own.
NAMES = [n for n, cls in families()["pathmanager"].items() if cls.__module__.startswith("mptcpsim.")]
OWN = ["10.0.1.1", "10.0.2.1", "fd00::1"]
THEIRS = ["10.0.1.2", "10.0.2.2", "fd00::2"]
SETTINGS: dict[str, list[dict[str, Value]]] = {
    "endpoints": [
        {"endpoints": "10.0.2.1 subflow fullmesh, fd00::1 subflow", "add_addr_accepted": 3, "subflows": 5},
        {"endpoints": "10.0.2.1 signal, 10.0.1.1 subflow backup", "add_addr_accepted": 1},
    ],
    "mp_addresses": [{"addresses": "10.0.2.1 fd00::1"}],
    "ndiffports": [{"subflows": 4}],
}

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["announced", "withdrawn", "closed", "down", "up"]),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=12,
)


@pytest.mark.parametrize("name", NAMES)
class TestContract:
    def test_the_defaults_do(self, name: str) -> None:
        view = client(*OWN)
        for action in manager(name).on_established(view):
            assert isinstance(action, OpenSubflow)

    def test_named_addresses_are_known_to_the_scenario(self, name: str) -> None:
        for values in SETTINGS.get(name, []):
            made = manager(name, **values)
            if isinstance(made, AddressedManager):
                assert made.named
                assert set(made.named) <= set(OWN)

    @given(is_client=st.booleans(), events=EVENTS, variant=st.integers(0, 9), forbidden=st.booleans())
    def test_every_action_can_be_done(
        self, name: str, is_client: bool, events: list[tuple[str, int, bool]], variant: int, forbidden: bool
    ) -> None:
        """Own addresses, known addresses of the peer, one family; the same again for the same events."""
        choices = SETTINGS.get(name, [{}])
        values = choices[variant % len(choices)]
        assert self.play(manager(name, **values), is_client, events, forbidden) == self.play(
            manager(name, **values), is_client, events, forbidden
        )

    def play(
        self, pm: PathManager, is_client: bool, events: list[tuple[str, int, bool]], forbidden: bool
    ) -> list[Action]:
        view = client(*OWN) if is_client else server(THEIRS[0])
        if not is_client:
            view = FakeView(
                False, list(OWN), [SubflowInfo(0, OWN[0], 0, THEIRS[0], 0, CLIENT_PORT, False, False)]
            )
        if forbidden:
            view.remotes.clear()
        view.sources = {"10.0.2.2": "10.0.2.1", "fd00::2": "fd00::1"}
        done = self.do(view, pm.on_established(view))
        for what, index, works in events:
            actions: list[Action] = []
            if what == "announced" and index not in view.remotes:
                actions = pm.on_announced(view, view.hear(index, THEIRS[index]))
            elif what == "withdrawn" and view.remotes.pop(index, False):
                actions = pm.on_withdrawn(view, index)
            elif what == "closed" and len(view.open) > index:
                actions = pm.on_subflow_closed(view, view.open.pop(index))
            elif what in ("down", "up") and (OWN[index] in view.addresses) == (what == "down"):
                if what == "down":
                    view.addresses.remove(OWN[index])
                else:
                    view.addresses.append(OWN[index])
                actions = pm.on_local_address(view, OWN[index], what == "up")
            done += self.do(view, actions, works)
        return done

    def do(self, view: FakeView, actions: list[Action], works: bool = True) -> list[Action]:
        for action in actions:
            if isinstance(action, OpenSubflow):
                assert action.local in view.addresses
                known = [(r.address, r.port) for r in view.remotes.values()]
                assert (action.remote, action.port) in known
                assert (":" in action.local) == (":" in action.remote)
                if works:
                    view.add(action)
            elif isinstance(action, Announce):
                assert action.address in view.addresses
                view.told.append(action.address)
            elif isinstance(action, Withdraw):
                view.told = [address for address in view.told if address != action.address]
            else:
                assert isinstance(action, SetBackup)
                assert action.subflow in [s.identifier for s in view.open]
        return actions
