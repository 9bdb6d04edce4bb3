#!/bin/bash
# Every seventh file of SQLite's own tests, each database a directory (all of them: make sqlite-suite).
cd "$(dirname "$0")/../.." || exit 1
case ${TURDB_BUILD:-} in
*/asan | */tsan)
	echo "skip sqlite_suite: takes too long under sanitizers; make sqlite-suite VARIANT=asan runs it"
	echo "total: 0 passed, 0 failed, 1 skipped"
	exit ;;
esac
exec test/sqlite-suite --seventh
