# The tests that go through SQL, with other versions of SQLite than the system's: those that npm's better-sqlite3 carries.
#   make newer-sqlite SQLITE_OPTIONS='--quick'              one of them, a minute
#   make newer-sqlite SQLITE_OPTIONS='/path/to/sqlite3.c'   an amalgamation of your own
.PHONY: newer-sqlite
newer-sqlite: packages test-programs
	TURDB_BUILD=$(abspath $(OUT)) test/newer-sqlite $(SQLITE_OPTIONS)
