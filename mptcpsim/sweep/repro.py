"""One run of a campaign once more, with all its files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mptcpsim.results.rundir import RunDirectory, json_text
from mptcpsim.scenario.catalogue import load_user_plugins
from mptcpsim.scenario.run import run_scenario
from mptcpsim.scenario.schema import Scenario
from mptcpsim.sweep.identity import PluginFile, code_version
from mptcpsim.sweep.store import Store, StoredRun
from mptcpsim.sweep.worker import FAILED, unpack


class Reproduction(NamedTuple):
    """What came of it."""

    identical: bool
    #: The version of the code, if it is another one than the stored run's.
    other_code: str
    #: Why the run failed again, if it did.
    error: str


def reproduce(
    store: Store, run: StoredRun, directory: RunDirectory, *, pcap: bool = False, figures: bool = True
) -> Reproduction:
    """Run a stored run again and compare: its summary, or the error that it ended with.

    Args:
        store: the campaign.
        run: one of its runs.
        directory: not entered yet.
        pcap: write captures.
        figures: draw the figures.
    """
    plugins = store.plugins(run.plan.plugins)
    code = code_version(plugins)
    other = code if code != run.plan.code else ""
    home = ""
    try:
        with TemporaryDirectory() as home, directory:
            scenario = _with_plugins(
                unpack(store.scenario(run.plan.point), run.plan.seed), plugins, Path(home)
            )
            summary = run_scenario(scenario, directory, pcap=pcap)
            if figures:
                from mptcpsim.results.figures import draw_figures

                draw_figures(directory.path, scenario.title)
    except Exception as error:
        # A plug-in's mistake names its file, which stands somewhere else today.
        said = re.sub(rf"{re.escape(str(Path(home).resolve()))}/\d+/", "", str(error)) if home else str(error)
        return Reproduction(run.status == FAILED and said in run.message, other, said)
    # A run with captures knows the frames in which the packets of a stall are; a run of a campaign has none.
    for packet in (packet for packets in summary.packets() for packet in packets):
        packet.capture = packet.frame = packet.filter = packet.capture_time_s = None
    return Reproduction(json_text(summary.as_dict()) == run.summary, other, "")


def _with_plugins(scenario: Scenario, plugins: Sequence[PluginFile], home: Path) -> Scenario:
    """Write the plug-in files that the run was made with, and load them."""
    for number, plugin in enumerate(plugins):
        path = home / str(number) / plugin.name
        path.parent.mkdir()
        path.write_text(plugin.text, encoding="utf-8")
    paths = [str(home / str(number) / plugin.name) for number, plugin in enumerate(plugins)]
    return scenario.model_copy(update={"plugins": tuple(load_user_plugins(paths, home))})
