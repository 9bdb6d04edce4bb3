# Through SQL: turdb tables and ordinary tables in a directory, against stock SQLite.
# `make bench` runs every bench program. Sizes: make bench BENCH_SQL="-n 1000000".
.PHONY: bench-sql bench-commit
BENCH_SIDE := $(OUT)/bench/side.o
bench: bench-sql bench-commit
bench-sql: $(OUT)/bench/sql_bench turdb.so
	$< -l ./turdb.so $(BENCH_SQL)
# Syncs are timed at real-time priority where that is allowed: who waits for the disk
# otherwise queues for a core as well.
bench-commit: $(OUT)/bench/commit_bench turdb.so
	$$(chrt -f 1 true 2>/dev/null && echo chrt -f 1) $< -l ./turdb.so $(BENCH_COMMIT)
$(OUT)/bench/%_bench: $(OUT)/bench/%_bench.o $(BENCH_SIDE)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ -lsqlite3
