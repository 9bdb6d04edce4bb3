# SQLite's own test-suite with every database a directory, all of veryquick: test/suite/known.list says what differs.
#   make sqlite-suite SUITE_OPTIONS='--page-size 16384'    some 175 files beside SQLite's own VFS, with larger pages
#   make sqlite-suite VARIANT=asan                         under sanitizers
.PHONY: sqlite-suite
sqlite-suite: packages $(OUT)/turdb.so
	TURDB_BUILD=$(abspath $(OUT)) test/sqlite-suite $(SUITE_OPTIONS)
