#!/bin/sh
# Runs the scenario with each discipline and prints the table of README.md.
set -e
here=$(dirname "$0")
out=${1:-runs/queues}
echo "| discipline | transfers, Mbit/s | smallest, largest | answer: mean, p95, largest, ms | dropped |"
echo "|---|---|---|---|---|"
for qdisc in droptail red codel pie fq_codel fq_pie drr wf2q+; do
    mptcpsim run "$here/scenario.toml" --set "links.bottleneck.qdisc=$qdisc" --out "$out/$qdisc" > /dev/null
    python - "$out/$qdisc/summary.json" "$qdisc" <<'PYTHON'
import json
import sys

summary = json.load(open(sys.argv[1], encoding="utf-8"))
*transfers, dialogue = summary["flows"]
rates = [flow["goodput_bps"] / 1e6 for flow in transfers]
answer = dialogue["latency_ms"]
drops = summary["links"]["bottleneck"]["forward"]["drops"]
dropped = ", ".join(f"{count} {reason}" for reason, count in drops.items() if count) or "0"
print(
    f"| {sys.argv[2]} | {sum(rates):.2f} | {min(rates):.2f}, {max(rates):.2f} "
    f"| {answer['mean']:.1f}, {answer['p95']:.1f}, {answer['max']:.1f} | {dropped} |"
)
PYTHON
done
