"""The captures of a run: in one file or several, cut off, of chosen interfaces; and the frames of stalls."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mptcpsim.cli import app
from mptcpsim.codec.pcap_reader import read_capture
from mptcpsim.commands.captures import explicit
from tests.paths import DOCS, EXPERIMENTS, ROOT

STALL = EXPERIMENTS / "zero-window" / "causes" / "update-on-another-subflow.toml"
EXAMPLE = "mptcpsim run experiments/zero-window/causes/update-on-another-subflow.toml --pcap --out runs/stall"


def run(out: Path, *arguments: str, path: Path = STALL) -> dict[str, Any]:
    """Run a scenario and return its summary, and what was printed as ``printed``."""
    command = ["run", *arguments, str(path), "--no-figures", "--no-lint", "--out", str(out)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return {**json.loads((out / "summary.json").read_text()), "printed": result.output}


def packets_of(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the packets of all stalls."""
    stalls = [stall for flow in summary["flows"] for stall in flow["stalls"]]
    return [packet for stall in stalls for packet in (*stall["packets"], *stall["ended"]["packets"])]


def tshark(capture: Path, condition: str, *fields: str) -> list[list[str]]:
    """Return fields of the frames of a capture for which a display filter holds."""
    command = ["tshark", "-r", str(capture), "-Y", condition, "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split("\t") for line in lines]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("a.toml --pcap", "a.toml --pcap=each"),
        ("--pcap a.toml", "--pcap=each a.toml"),
        ("--pcap merged a.toml", "--pcap=merged a.toml"),
        ("--pcap each", "--pcap=each"),
        ("--pcap=merged --pcap-snaplen 9", "--pcap=merged --pcap-snaplen 9"),
        ("-- --pcap", "-- --pcap"),
    ],
)
def test_the_option_may_stand_alone(given: str, wanted: str) -> None:
    assert explicit(given.split()) == wanted.split()


def test_merged_is_one_file_of_all_interfaces_in_the_order_of_time(tmp_path: Path) -> None:
    each = run(tmp_path / "each", "--pcap")
    merged = run(tmp_path / "merged", "--pcap", "merged")
    names = ["C.eth0", "C.eth1", "S.eth0", "S.eth1"]
    assert sorted(path.stem for path in (tmp_path / "each").glob("*.pcapng")) == names
    (one,) = (tmp_path / "merged").glob("*.pcapng")
    packets = list(read_capture(one))
    assert [packet.time_ns for packet in packets] == sorted(packet.time_ns for packet in packets)
    for name in names:
        alone = list(read_capture(tmp_path / "each" / f"{name}.pcapng"))
        assert [packet for packet in packets if packet.interface == name] == alone
    # The same packets are named, by their numbers in the one file.
    pairs = list(zip(packets_of(each), packets_of(merged), strict=True))
    assert len(pairs) >= 6
    for before, after in pairs:
        assert after["capture"] == "merged.pcapng"
        found = packets[after["frame"] - 1]
        there = list(read_capture(tmp_path / "each" / before["capture"]))[before["frame"] - 1]
        assert found == there
        assert found.time_ns == round(after["time_s"] * 1e9)


@pytest.mark.tool("tshark")
@pytest.mark.parametrize("kind", ["each", "merged"])
def test_tshark_finds_the_frames_by_the_filters(tmp_path: Path, kind: str) -> None:
    summary = run(tmp_path / "out", "--pcap", kind)
    for packet in packets_of(summary):
        fields = ("frame.number", "frame.time_relative", "frame.time_epoch", "tcp.seq_raw", "tcp.len")
        ((number, relative, epoch, seq, length),) = tshark(
            tmp_path / "out" / packet["capture"], packet["filter"], *fields
        )
        assert int(number) == packet["frame"]
        assert float(relative) == pytest.approx(packet["capture_time_s"], abs=1e-9)
        assert float(epoch) == pytest.approx(packet["time_s"], abs=1e-9)
        assert (int(seq), int(length)) == (packet["raw_seq"], packet["length"])
        assert f"({packet['filter']}), {packet['capture_time_s']:.6f} s after its first" in summary["printed"]


@pytest.mark.tool("tshark")
def test_tshark_tells_the_interfaces_of_a_merged_capture(tmp_path: Path) -> None:
    run(tmp_path / "out", "--pcap", "merged")
    found = tshark(tmp_path / "out" / "merged.pcapng", "tcp", "frame.interface_name")
    assert {name for (name,) in found} == {"C.eth0", "C.eth1", "S.eth0", "S.eth1"}


def test_packets_are_cut_off_and_found_all_the_same(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", "--pcap")
    cut = run(tmp_path / "cut", "--pcap", "--pcap-snaplen", "64")
    for path in (tmp_path / "cut").glob("*.pcapng"):
        before = list(read_capture(tmp_path / "whole" / path.name))
        after = list(read_capture(path))
        assert [packet.data for packet in after] == [packet.data[:64] for packet in before]
    assert packets_of(cut) == packets_of(whole)


def test_what_is_cut_off_too_early_to_be_found_has_no_frame(tmp_path: Path) -> None:
    for length in ("1", "20", "32"):
        summary = run(tmp_path / length, "--pcap", "--pcap-snaplen", length)
        assert {packet["frame"] for packet in packets_of(summary)} == {None}
    summary = run(tmp_path / "enough", "--pcap", "--pcap-snaplen", "33")
    assert None not in {packet["frame"] for packet in packets_of(summary)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pcap-snaplen", "96"], "--pcap-snaplen has no effect without --pcap"),
        (["--pcap", "--pcap-snaplen", "0"], "--pcap-snaplen"),
        (["--pcap=all"], "'each'"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["run", str(STALL), *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_interfaces_of_routers_can_be_chosen(tmp_path: Path) -> None:
    """As docs/captures.md has it."""
    path = EXPERIMENTS / "zero-window" / "causes" / "path-mtu-black-hole.toml"
    run(tmp_path / "out", "--pcap", "--set", 'output.capture=["C:eth0", "R:eth1"]', path=path)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.pcapng")) == [
        "C.eth0.pcapng",
        "R.eth1.pcapng",
    ]


def test_the_readme_shows_what_is_printed(tmp_path: Path) -> None:
    """Its example of a stall, but for the line breaks."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme[readme.index(EXAMPLE) + len(EXAMPLE) :]
    shown = shown[: shown.index("\n\nShorter gaps")]
    printed = run(tmp_path / "out", "--pcap")["printed"]
    assert " ".join(shown.split()) in " ".join(printed.split())
    docs = (DOCS / "captures.md").read_text(encoding="utf-8")
    (line,) = (line.strip() for line in docs.splitlines() if line.startswith("    window 0:"))
    assert line in printed
