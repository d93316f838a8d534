"""The scoreboard of the sender against a naive model: one entry a byte."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mptcpsim.core.tcp.scoreboard import Scoreboard, Sent
from tests.profiles import examples

INDEX = st.integers(0, 1_000)


class Byte:
    """What the model knows of one outstanding byte."""

    def __init__(self) -> None:
        self.sacked = False
        self.lost = False
        self.again = False


class ScoreboardMachine(RuleBasedStateMachine):
    """Sends, acknowledges, SACKs, loses and splits; the counters must equal a recount."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Scoreboard()
        self.model: dict[int, Byte] = {}
        self.una = 1
        self.nxt = 1
        self.now = 0

    def outstanding(self) -> list[Sent]:
        return self.board.records[self.board.head :]

    def chosen(self, index: int) -> Sent:
        records = self.outstanding()
        return records[index % len(records)]

    @rule(size=st.integers(1, 6), count=st.integers(1, 5))
    def send(self, size: int, count: int) -> None:
        for _ in range(count):
            self.now += 1
            self.board.transmissions += 1
            record = Sent(self.nxt, self.nxt + size, self.now, self.board.transmissions, False)
            self.board.records.append(record)
            for number in range(self.nxt, self.nxt + size):
                self.model[number] = Byte()
            self.nxt += size

    @precondition(lambda self: len(self.board) > 0)
    @rule(amount=INDEX)
    def acknowledge(self, amount: int) -> None:
        """A cumulative acknowledgment, also into the middle of a record."""
        self.una = ack = self.una + 1 + amount % (self.nxt - self.una)
        while len(self.board) and self.board.records[self.board.head].end <= ack:
            self.board.pop_head()
        if len(self.board) and self.board.records[self.board.head].seq < ack:
            self.board.acknowledge_part(self.board.records[self.board.head], ack)
        for number in [number for number in self.model if number < ack]:
            del self.model[number]

    @precondition(lambda self: len(self.board) > 0)
    @rule(index=INDEX)
    def sack(self, index: int) -> None:
        record = self.chosen(index)
        if not record.sacked:
            self.board.mark_sacked(record)
            for number in range(record.seq, record.end):
                byte = self.model[number]
                byte.sacked, byte.lost, byte.again = True, False, False

    @precondition(lambda self: len(self.board) > 0)
    @rule(index=INDEX)
    def lose(self, index: int) -> None:
        record = self.chosen(index)
        if not record.sacked:
            self.board.mark_lost(record)
            for number in range(record.seq, record.end):
                self.model[number].lost, self.model[number].again = True, False

    @precondition(lambda self: len(self.board) > 0)
    @rule()
    def resend(self) -> None:
        """What a sender does: the first lost record that is not in flight."""
        record = self.board.next_lost(self.una)
        lost = [n for n, byte in self.model.items() if byte.lost and not byte.again and not byte.sacked]
        if record is None:
            assert not lost
            return
        assert record.seq == min(lost)
        self.again(record)

    @precondition(lambda self: len(self.board) > 0)
    @rule(index=INDEX)
    def resend_speculatively(self, index: int) -> None:
        """A loss probe or a rescue: not lost as far as is known."""
        record = self.chosen(index)
        if not record.sacked:
            self.again(record)

    def again(self, record: Sent) -> None:
        self.now += 1
        self.board.mark_resent(record, self.now)
        assert record.sent_at == self.now
        assert record.order == max(other.order for other in self.outstanding())
        for number in range(record.seq, record.end):
            self.model[number].again = True

    @precondition(lambda self: len(self.board) > 0)
    @rule(index=INDEX, cut=INDEX)
    def split(self, index: int, cut: int) -> None:
        record = self.chosen(index)
        size = record.end - record.seq
        if size > 1:
            point = record.seq + 1 + cut % (size - 1)
            end = record.end
            second = self.board.split(self.board.index_at(record.seq), point)
            assert (record.end, second.seq, second.end) == (point, point, end)
            assert second.order == record.order

    @rule()
    def renege(self) -> None:
        self.board.forget_sacks()
        for byte in self.model.values():
            byte.sacked = False

    @invariant()
    def counters_equal_a_recount(self) -> None:
        board = self.board
        assert board.sacked == sum(byte.sacked for byte in self.model.values())
        assert board.lost == sum(byte.lost and not byte.sacked for byte in self.model.values())
        assert board.resent == sum(byte.again and not byte.sacked for byte in self.model.values())
        assert board.sacked_segments == sum(record.sacked for record in self.outstanding())

    @invariant()
    def records_cover_what_is_outstanding(self) -> None:
        records = self.outstanding()
        assert len(self.board) == len(records)
        position = self.una
        for record in records:
            assert record.seq == position
            assert record.end > record.seq
            position = record.end
        assert position == self.nxt

    @invariant()
    def index_at_finds_each_byte(self) -> None:
        for number in self.model:
            record = self.board.records[self.board.index_at(number)]
            assert record.seq <= number < record.end
        assert self.board.index_at(self.nxt) == len(self.board.records)


TestScoreboardMachine = ScoreboardMachine.TestCase
TestScoreboardMachine.settings = examples(300)


def test_the_list_is_compacted() -> None:
    """Memory does not grow with what was acknowledged; positions stay valid through ``trimmed``."""
    board = Scoreboard()
    for number in range(1, 20_001):
        board.transmissions += 1
        board.records.append(Sent(number, number + 1, number, board.transmissions, False))
        if number > 10:
            record = board.pop_head()
            assert record.seq == number - 10
        assert board.records[board.head].seq == max(1, number - 9)
        assert board.trimmed + board.head == max(0, number - 10)
        assert len(board.records) < 600


def test_a_fin_stays_with_the_second_half() -> None:
    board = Scoreboard()
    board.records.append(Sent(1, 12, 0, 1, True))
    second = board.split(0, 6)
    assert not board.records[0].fin
    assert second.fin
