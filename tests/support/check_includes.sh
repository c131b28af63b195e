#!/usr/bin/env bash
# Arrows between folders point down only, and each foreign library has one home.
# A line that breaks a rule is printed with the rule; the exit code is their presence.
set -u
cd "$1" || exit 2
status=0

# deny <files...> -- <include pattern> <rule>
deny() {
    local pattern=$1 rule=$2
    shift 2
    local hits
    hits=$(grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]+[<\"]($pattern)" "$@" /dev/null)
    if [ -n "$hits" ]; then
        printf '%s\n' "$hits" | sed "s|\$|    <- $rule|"
        status=1
    fi
}

sources() { find "$@" -name '*.[ch]' -o -name '*.def' | sort; }
except() { # <list> <names to leave out...>
    local out=$1
    shift
    for name in "$@"; do out=$(printf '%s\n' "$out" | grep -vE "(^|/)$name\$"); done
    printf '%s\n' "$out"
}

codec=$(sources codec)
lb=$(sources lb)
discovery=$(sources discovery)
base=$(sources sidecar/base)
shared=$(sources sidecar/shared)
data=$(sources sidecar/data)
admin=$(sources sidecar/admin)
all=$(sources codec lb discovery sidecar)

deny '(lb|discovery|sidecar)/|uv\.h|curl/|jansson|yaml|microhttpd|sys/socket|time\.h' \
    'codec uses libc and Thrift alone, no socket and no clock' $codec
deny '(codec|discovery|sidecar)/|uv\.h|curl/|jansson|yaml|microhttpd|sys/socket|time\.h|thrift|glib' \
    'lb knows libc alone, no socket and no clock' $lb
deny 'sidecar/|microhttpd|thrift|glib' 'discovery knows codec and lb, not the process' $discovery

# below <folder> <what it may include of discovery>: anything else of discovery is above it.
below() {
    local others
    others=$(printf '%s\n' base rules store state file etcd http_client resolver | grep -vxE "$2")
    deny "discovery/($(printf '%s' "$others" | tr '\n' '|'))[/.]" \
        "discovery/$1 knows of discovery: $(printf '%s' "$2" | tr '|' ' ')" \
        $(sources discovery/"$1"*)
}
below base 'base'
below rules 'rules|base'
below store 'store|rules|base'
below state 'state|store|rules|base'
below file 'file|store|rules|base'
below http_client 'http_client|base'
below resolver 'resolver|base'
below etcd 'etcd|state|store|rules|base|http_client|resolver'
deny 'discovery/store/(store_internal|view_build|view_probe|snapshot_build|endpoint)' \
    'the insides of the store are its own' \
    $(printf '%s\n' "$discovery" | grep -v '^discovery/store/') $(sources sidecar)
deny 'codec/|lb/' 'discovery/base knows libc and jansson' $(sources discovery/base)

deny 'uv\.h' 'in discovery libuv belongs to the I/O files' \
    $(except "$discovery" etcd_io.c etcd_io.h etcd_fleet.c etcd_fleet.h http_client.c http_client.h resolver.c resolver.h file_source.c \
      file_source.h state_file.c state_file.h state_saver.c state_saver.h)
deny 'sidecar/(data|admin|server|cli)/' 'shared is below data, admin, server and cli' $shared
deny 'sidecar/(admin|server|cli)/' 'data is below admin, server and cli' $data

# under <folder> <the folders of data that are above it>: what is above is unknown below.
under() { deny "sidecar/data/($2)/|sidecar/data/plane" "data/$1 is below $(printf '%s' "$2" | tr '|' ' ')" $(sources sidecar/data/"$1"); }
under loop 'io|route|upstream|call|session'
under io 'route|upstream|call|session'
under route 'loop|io|upstream|call|session'
under upstream 'call|session'
under call 'session'
under session 'none'

deny 'sidecar/(server|cli)/' 'admin is below server and cli' $admin
deny 'sidecar/(shared|data|admin|server|cli)/' 'base uses nothing else of the process' $base
deny 'sidecar/data/session' 'admin never touches a session' $admin
deny 'thrift/c_glib|glib' 'libthrift_c_glib and GLib live in codec/templates.c' \
    $(except "$all" codec/templates.c)
deny 'curl/' 'libcurl lives in discovery/http_client.c' $(except "$all" discovery/http_client.c)
deny 'yaml\.h' 'libyaml lives in discovery/file/yaml_reader.c' $(except "$all" discovery/file/yaml_reader.c)
deny 'microhttpd' 'libmicrohttpd lives in sidecar/admin/http.c' $(except "$all" sidecar/admin/http.c)
deny 'uv\.h' 'state machines take events and time, no libuv' \
    $(find sidecar discovery -name '*_fsm*.[ch]' -o -name 'etcd_codec.[ch]')
deny 'uv\.h' 'in the call path libuv is known to its driver, its transport and the listener' \
    $(except "$(find sidecar/data -name '*.[ch]')" uv_driver.c uv_driver.h transport_uv.c transport_uv.h listener.c listener.h)
deny 'stdatomic\.h' 'atomics live in sidecar/shared and in discovery/base/refcount.h' \
    $(except "$(printf '%s\n' "$all" | grep -v '^sidecar/shared/')" discovery/base/refcount.h)

[ $status -eq 0 ] && echo "includes: every arrow points down"
exit $status
