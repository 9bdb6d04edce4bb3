# SQLite's own test-suite with every database a directory, all of veryquick: test/suite/known.list says what differs.
.PHONY: sqlite-suite
sqlite-suite: packages $(OUT)/turdb.so
	TURDB_BUILD=$(abspath $(OUT)) test/sqlite-suite
