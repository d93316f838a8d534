# Test2: the mirror image of Test1
ifconfig em1 inet 172.16.3.2/24
ifconfig em2 inet 172.16.4.2/24
ifconfig em3 inet 192.168.0.200/24
route add -net 172.16.1.0/24 172.16.3.1
route add -net 172.16.2.0/24 172.16.3.1
ipfw add fwd 172.16.3.1 tcp from 172.16.3.2 to any
ipfw add fwd 172.16.4.1 tcp from 172.16.4.2 to any
