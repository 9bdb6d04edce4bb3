#!/bin/bash
# Every seventh file of SQLite's own tests, each database a directory (all of them: make sqlite-suite); a few of them with
# the address sanitizer.
cd "$(dirname "$0")/../.." || exit 1
case ${TURDB_BUILD:-} in
*/asan) exec test/sqlite-suite --every 37 ;;
*/tsan)
	echo "skip sqlite_suite: its files use one thread; make sqlite-suite VARIANT=tsan runs it"
	echo "total: 0 passed, 0 failed, 1 skipped"
	exit ;;
esac
exec test/sqlite-suite --seventh
