#!/bin/sh
# One replica on one folder; user test:tester, key testing. S3's access key is "test:tester".
set -e
cd /etc/swift
mkdir -p /srv/node/d1
printf '[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n' > swift.conf
port=6200
for kind in object container account; do
  swift-ring-builder $kind.builder create 4 1 1 > /dev/null
  swift-ring-builder $kind.builder add r1z1-127.0.0.1:$port/d1 1 > /dev/null
  swift-ring-builder $kind.builder rebalance > /dev/null
  cat > $kind.conf <<END
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
mount_check = false
user = swift
workers = 0
fallocate_reserve = 0
[pipeline:main]
pipeline = $kind-server
[app:$kind-server]
use = egg:swift#$kind
END
  port=$((port + 1))
done
cat > proxy.conf <<END
[DEFAULT]
bind_ip = 0.0.0.0
bind_port = 8080
user = swift
workers = 0
[pipeline:main]
pipeline = catch_errors gatekeeper cache s3api tempauth slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:11211
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
END
memcached -l 127.0.0.1 -m 16 &
for kind in object container account; do swift-$kind-server -v $kind.conf & done
exec swift-proxy-server -v proxy.conf
