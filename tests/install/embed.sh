#!/bin/bash
# embed.sh LIBDIR PROGRAM.c: builds the program as a user would, by pkg-config alone, against the
# installed shared library and the static one, and runs it. Used by make installcheck, with
# PKG_CONFIG_SYSROOT_DIR where it was installed under a DESTDIR.
set -u -o pipefail

libdir=$1 program=$2
read -ra compiler <<<"${CC:-cc}"
pkg_config=${PKG_CONFIG:-pkg-config}
export PKG_CONFIG_PATH=$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
unset REDIS_URL REDIS_HOST REDIS_PORT REDIS_PASSWORD REDIS_DB
work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-install.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

# check KIND LIBRARY-AND-FLAGS...
check() {
    local kind=$1 said
    shift
    read -ra flags <<<"$("$pkg_config" --cflags nearcache)" || exit 1
    "${compiler[@]}" ${flags[@]+"${flags[@]}"} "$program" -o "$work/$kind" "$@" || {
        echo "installcheck: does not link ($kind): $*" >&2
        exit 1
    }
    said=$(LD_LIBRARY_PATH=$libdir "$work/$kind") && [ -n "$said" ] || {
        echo "installcheck: the program does not run ($kind)" >&2
        exit 1
    }
    echo "installcheck: $kind: fine"
}

if [ -e "$libdir/libnearcache.so" ]; then
    read -ra shared <<<"$("$pkg_config" --libs nearcache)" || exit 1
    check shared "${shared[@]}"
fi
if [ -e "$libdir/libnearcache.a" ]; then
    read -ra static <<<"$("$pkg_config" --static --libs nearcache | sed "s/-lnearcache//")" || exit 1
    check static "$libdir/libnearcache.a" "${static[@]}"
fi
