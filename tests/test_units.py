"""Quantities with units: what is read, what is refused, what is printed."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mptcpsim.units import (
    MICROSECOND,
    MILLISECOND,
    MINUTE,
    NANOSECOND,
    NEVER,
    SECOND,
    UnitError,
    format_rate,
    format_size,
    format_time,
    parse_rate,
    parse_size,
    parse_time,
)

TIMES = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "µs": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "min": MINUTE,
    "h": 60 * MINUTE,
}
PREFIXES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
PREFIXES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
RATES = {p + u: f for p, f in PREFIXES.items() for u in ("bps", "bit/s", "b/s")}
RATES |= {p + u: 8 * f for p, f in PREFIXES.items() for u in ("Bps", "B/s", "Byte/s")}
SIZES = {p + u: f for p, f in PREFIXES.items() for u in ("B", "Byte", "Bytes")}

PARSERS = pytest.mark.parametrize(
    ("parse", "unit"), [(parse_time, "s"), (parse_rate, "Mbps"), (parse_size, "MB")]
)


@pytest.mark.parametrize(("parse", "units"), [(parse_time, TIMES), (parse_rate, RATES), (parse_size, SIZES)])
def test_every_unit(parse: Callable[[str], int], units: dict[str, int]) -> None:
    for unit, factor in units.items():
        assert parse(f"3{unit}") == 3 * factor
        assert parse(f"  2.5e1 {unit} ") == 25 * factor
        assert parse(f"0{unit}") == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5s", 1_500_000_000),
        ("0.1ms", 100_000),
        (".5us", 500),
        ("5.us", 5_000),
        ("+3ns", 3),
        ("1E-9s", 1),
        ("0.000000001s", 1),
        # Binary fractions would give 299,999,999.
        ("0.3s", 300_000_000),
        ("1.9ns", 1),
    ],
)
def test_numbers(text: str, expected: int) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    ("parse", "text", "remedy"),
    [
        (parse_rate, "10Mbit", "did you mean '10Mbit/s'?"),
        (parse_rate, "10mbps", "did you mean '10Mbps' or '10MBps'?"),
        (parse_rate, "10M", "did you mean '10Mbps' or '10Mb/s'?"),
        (
            parse_rate,
            "10MHz",
            "known are bps, bit/s, b/s, Bps, B/s, Byte/s, with k, M, G, T, Ki, Mi, Gi in front",
        ),
        (parse_time, "5sec", "did you mean '5s'?"),
        (parse_time, "5m", "did you mean '5ms' or '5min'?"),
        (parse_time, "5d", "known are ns, us, µs, ms, s, min, h"),
        (parse_size, "64kib", "did you mean '64KiB' or '64KiByte'?"),
    ],
)
def test_an_unknown_unit_is_told_what_it_may_be(parse: Callable[[str], int], text: str, remedy: str) -> None:
    with pytest.raises(UnitError, match="unknown unit") as caught:
        parse(text)
    assert str(caught.value).endswith(f"; {remedy}")


def test_bits_are_not_bytes_and_binary_is_not_decimal() -> None:
    assert parse_rate("1MB/s") == 8 * parse_rate("1Mb/s") == 8_000_000
    assert parse_size("1MiB") - parse_size("1MB") == 48_576
    with pytest.raises(UnitError):
        parse_size("1Mb")


@PARSERS
@pytest.mark.parametrize(
    "text",
    ["", " ", "{}", "abc", "1,5{}", "1 000{}", "--1{}", "1{}{}", "0x10{}", "1_000{}", "nan{}", "inf{}"],
)
def test_what_is_no_quantity(parse: Callable[[str], int], unit: str, text: str) -> None:
    with pytest.raises(UnitError, match=r"write a number and a unit|unknown unit"):
        parse(text.replace("{}", unit))


@PARSERS
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5", "has no unit"),
        ("5 parsec", "unknown unit 'parsec'.*known are"),
        ("5e", "unknown unit 'e'"),
        ("-1{}", "is negative"),
        ("-1e-30{}", "is negative"),
        ("1e-30{}", "smaller than the smallest"),
        ("1e30{}", "out of range"),
        ("1e31{}", "out of range"),
        ("1e-99999999999{}", "out of range"),
        ("9" * 41 + "{}", "out of range"),
    ],
)
def test_what_cannot_be(parse: Callable[[str], int], unit: str, text: str, message: str) -> None:
    with pytest.raises(UnitError, match=message) as caught:
        parse(text.replace("{}", unit))
    assert isinstance(caught.value, ValueError)


def test_a_quantity_of_another_kind_is_refused() -> None:
    for parse, texts in (
        (parse_time, ["1Mbps", "1kB", "1S", "1Ms"]),
        (parse_rate, ["1s", "1kB", "1mbps"]),
        (parse_size, ["1s", "1Mbps", "1kb"]),
    ):
        for text in texts:
            with pytest.raises(UnitError, match="unknown unit"):
                parse(text)


def test_never_is_no_time() -> None:
    assert parse_time(f"{NEVER - 1}ns") == NEVER - 1
    with pytest.raises(UnitError, match="out of range"):
        parse_time(f"{NEVER}ns")


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_time, parse_rate, parse_size):
        try:
            assert 0 <= parse(text) < NEVER
        except UnitError as error:
            message = str(error)
        else:
            continue
        assert repr(text) in message


@given(st.integers(0, 10**15), st.integers(0, 12), st.sampled_from(sorted(TIMES)))
def test_a_decimal_number_is_read_exactly(digits: int, places: int, unit: str) -> None:
    value = Fraction(digits, 10**places) * TIMES[unit]
    text = f"{digits // 10**places}.{digits % 10**places:0{places}d}{unit}" if places else f"{digits}{unit}"
    if value >= NEVER or 0 < value < 1:
        with pytest.raises(UnitError):
            parse_time(text)
    else:
        assert parse_time(text) == int(value)


@given(st.integers(0, NEVER // 2))
def test_what_is_printed_can_be_read(value: int) -> None:
    for show, parse in (
        (format_time, parse_time),
        (format_rate, parse_rate),
        (format_size, parse_size),
    ):
        # Four significant digits are printed.
        assert abs(parse(show(value)) - value) <= value * 5e-4 + 1


@given(st.integers(1, 9_999), st.integers(0, 14))
def test_four_digits_survive(digits: int, zeros: int) -> None:
    value = digits * 10**zeros
    assert parse_time(format_time(value)) == value
    assert parse_rate(format_rate(value)) == value
    assert parse_size(format_size(value)) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format_time(0), "0 s"),
        (format_time(1_500_000), "1.5 ms"),
        (format_time(999), "999 ns"),
        (format_time(90 * SECOND), "90 s"),
        (format_time(-2_000), "-2 us"),
        (format_rate(8e6), "8 Mbit/s"),
        (format_rate(0.0), "0 bit/s"),
        (format_size(65536), "65.54 kB"),
    ],
)
def test_for_people(text: str, expected: str) -> None:
    assert text == expected
