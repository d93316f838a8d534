"""The seed's dialect: readers for what is typed into a FreeBSD host or stands in its files.

Text goes in, immutable objects come out; each has ``at``, the line that it was read from. What a
reader does not understand is a ``DialectError`` that shows the line: nothing is skipped in silence.
Nothing here acts on a simulated host.

``pf``         pf.conf(5): reading it                ``pf_conf``  what it says
``pf_rules``   its evaluation, with states
``ipfw``       ipfw(8): commands and rules          ``ipfw_rules``  their evaluation
``dummynet``   what ``ipfw pipe | queue | sched N config`` takes, and delay profiles
``commands``   scripts: ifconfig, route, sysctl, iperf, tcpdump, pfctl, ipfw
"""
