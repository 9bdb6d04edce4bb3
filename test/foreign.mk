# Tests of programs that nobody here wrote, each database a directory: test/foreign/known.list says what differs.
#   make foreign-suites FOREIGN_OPTIONS='peewee perl'
.PHONY: foreign-suites
foreign-suites: packages $(OUT)/turdb.so
	TURDB_BUILD=$(abspath $(OUT)) test/foreign-suites $(FOREIGN_OPTIONS)
