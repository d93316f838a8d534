# Test1: the client of every test
ifconfig em1 inet 172.16.1.2/24
ifconfig em2 inet 172.16.2.2/24
ifconfig em3 inet 192.168.0.100/24
# em1 is the first address of a connection
route add -net 172.16.3.0/24 172.16.1.1
route add -net 172.16.4.0/24 172.16.1.1
# and each address leaves by its own interface
ipfw add fwd 172.16.2.1 tcp from 172.16.2.2 to any
ipfw add fwd 172.16.1.1 tcp from 172.16.1.2 to any
sysctl net.inet.tcp.mptcp.mp_addresses="172.16.2.2"
