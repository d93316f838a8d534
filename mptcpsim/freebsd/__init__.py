"""The seed's dialect: readers for what is typed into a FreeBSD host or stands in its files.

Text goes in, immutable objects come out; each has ``at``, the line that it was read from. What a
reader does not understand is a ``DialectError`` that shows the line; what changes nothing here is noted
(``lines.PassedOver``).

===============================================  ============================================================
``services``                                     names of ports and protocols
``address_sets``, ``site``                       tables, and what names of interfaces stand for
``pf_words``                                     words of a pf.conf: macros, lists
``pf_hosts``, ``pf_rule``, ``pf_state_options``  read addresses, a rule, what is said of its states
``pf``                                           reads pf.conf(5)
``pf_conf``                                      what it says: macros, rules, tables
``pf_rules``, ``pf_states``                      their evaluation, with states
``pf_filter``                                    pf as the filter of a simulated node
``ipfw``, ``ipfw_rule``                          read ipfw(8): commands and rules
``ipfw_objects``                                 what they say
``ipfw_rules``, ``ipfw_states``                  their evaluation, with states
``ipfw_filter``                                  ipfw as the filter of a simulated node
``firewall``                                     both, in FreeBSD's order
``names``                                        the two names of an interface: A1 and em0
``dummynet``, ``dummynet_config``                read ``ipfw pipe | queue | sched N config``; what it says
``delay_profile``                                files with delay profiles
``dummynet_host``                                carries out what ``dummynet`` has read: pipes, queues
``shell``, ``shell_words``                       scripts of sh(1), and the words of their lines
``scripts``                                      what is typed, and rc.conf
``commands``, ``ip_commands``, ``iperf``         sysctl, pfctl, tcpdump; ifconfig and route; iperf
``rc_firewall``                                  the rules of each ``firewall_type``
``sysctls``                                      the variables that can be set
``system``                                       what all these do to a simulated node
``network``                                      ifconfig and route on it
``settings``                                     sysctl, as keys of a scenario
``passages``                                     a packet as the firewalls look at it
===============================================  ============================================================

``str`` of an object is text that is read as the same object.
"""
