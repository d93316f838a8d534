# R1: shapes em1, pipe 1 towards Test2, pipe 2 towards Test1
ifconfig em1 inet 172.16.1.1/24
ifconfig em2 inet 172.16.3.1/24
ifconfig em3 inet 172.16.5.1/24
sysctl net.inet.ip.forwarding=1
route add -net 172.16.2.0/24 172.16.5.2
route add -net 172.16.4.0/24 172.16.5.2
ipfw pipe 1 config bw 8Mbps
ipfw pipe 2 config bw 8Mbps
ipfw add pipe 1 ip from any to any in via em1
ipfw add pipe 2 ip from any to any out via em1
