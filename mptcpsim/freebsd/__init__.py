"""The seed's dialect: readers for what is typed into a FreeBSD host or stands in its files.

Text goes in, immutable objects come out; each has ``at``, the line that it was read from. What a
reader does not understand is a ``DialectError`` that shows the line: nothing is skipped in silence.

=================  ===================================================================
``pf``             reads pf.conf(5)
``pf_conf``        what it says: macros and rules
``pf_rules``       their evaluation, with states
``pf_filter``      pf as the filter of a simulated node
``ipfw``           reads ipfw(8): commands and rules
``ipfw_rules``     their evaluation
``ipfw_filter``    ipfw as the filter of a simulated node
``firewall``       both, in FreeBSD's order
``names``          the two names of an interface: A1 and em0
``dummynet``       what ``ipfw pipe | queue | sched N config`` takes
``delay_profile``  files with delay profiles
``dummynet_host``  carries out what ``dummynet`` has read: pipes that rules send packets to
``commands``       scripts: ifconfig, route, sysctl, ipfw, pfctl, iperf, tcpdump
``sysctls``        the variables that can be set
``system``         what all these do to a simulated node
``network``        ifconfig and route on it
``settings``       sysctl, as keys of a scenario
``passages``       a packet as the firewalls look at it
=================  ===================================================================

``str`` of an object is text that is read as the same object.
"""
