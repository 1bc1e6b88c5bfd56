# NC_PROBE_FLAGS(VARIABLE, FLAGS): appends each flag that the compiler knows to VARIABLE. A clang
# only warns about a warning that it does not know, hence -Werror while asking.
AC_DEFUN([NC_PROBE_FLAGS], [
m4_foreach_w([nc_flag], [$2], [
    AS_VAR_PUSHDEF([nc_known], [nc_cv_flag_[]nc_flag])
    AC_CACHE_CHECK([whether $CC knows nc_flag], [nc_known], [
        nc_saved_CFLAGS=$CFLAGS
        CFLAGS="$CFLAGS -Werror nc_flag"
        AC_COMPILE_IFELSE([AC_LANG_PROGRAM()],
            [AS_VAR_SET([nc_known], [yes])], [AS_VAR_SET([nc_known], [no])])
        CFLAGS=$nc_saved_CFLAGS
    ])
    AS_VAR_IF([nc_known], [yes], [$1="$$1 nc_flag"])
    AS_VAR_POPDEF([nc_known])
])])

# NC_REQUIRE_PKG(PREFIX, MODULE, DEBIAN-PACKAGE): a module of pkg-config without which there is
# nothing to build.
AC_DEFUN([NC_REQUIRE_PKG], [
PKG_CHECK_MODULES([$1], [$2], [],
    [AC_MSG_ERROR([$2 is missing; on Debian: apt-get install $3])])
])

# NC_OPTIONAL_PKG(PREFIX, MODULE, DEBIAN-PACKAGE, WHAT-IS-LEFT-OUT): sets have_PREFIX to yes, or to
# the text for the summary.
AC_DEFUN([NC_OPTIONAL_PKG], [
PKG_CHECK_MODULES([$1], [$2], [have_$1=yes],
    [have_$1="no: $4 (apt-get install $3)"])
])
