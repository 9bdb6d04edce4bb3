# Through SQL, against stock SQLite and hnswlib; and `make bench`, which runs every bench program, one after the other.
# Sizes: make bench BENCH_SQL="-n 1000000" BENCH_COMMIT="-r 9" BENCH_KNN="-n 20000" BENCH_SPEEDTEST="--size 20" BENCH_HNSW=100000
.PHONY: bench-sql bench-commit bench-knn bench-latency bench-speedtest bench-readers
BENCH_SIDE := $(OUT)/bench/side.o
BENCH_HNSW := 20000
bench:
	tools/install-packages build bench
	$(MAKE) turdb.so
	$(MAKE) bench-sql
	$(MAKE) bench-commit
	$(MAKE) bench-latency
	$(MAKE) bench-readers
	$(MAKE) bench-speedtest
	$(MAKE) bench-knn
	$(MAKE) bench-store
	$(MAKE) bench-wal
	$(MAKE) bench-btree
	$(MAKE) bench-hnsw BENCH_ARGUMENTS="$(BENCH_HNSW)"

# turdb tables, and ordinary tables in a directory, against stock SQLite: CPU time.
bench-sql: $(OUT)/bench/sql_bench turdb.so
	$< -l ./turdb.so $(BENCH_SQL)

# The same for one-row commits: wall time. At real-time priority where that is allowed:
# who waits for the disk otherwise queues for a core as well.
bench-commit: $(OUT)/bench/commit_bench turdb.so
	$$(chrt -f 1 true 2>/dev/null && echo chrt -f 1) $< -l ./turdb.so $(BENCH_COMMIT)

# How long the slow ones among durable commits take, across many checkpoints.
bench-latency: $(OUT)/bench/latency_bench turdb.so
	$$(chrt -f 1 true 2>/dev/null && echo chrt -f 1) $< -l ./turdb.so $(BENCH_LATENCY)

# What a second reading thread adds.
bench-readers: $(OUT)/bench/reader_bench turdb.so
	$$(chrt -f 1 true 2>/dev/null && echo chrt -f 1) $< -l ./turdb.so $(BENCH_READERS)
	$$(chrt -f 1 true 2>/dev/null && echo chrt -f 1) $< -l ./turdb.so -w $(BENCH_READERS)

# SQLite's own speedtest1 on both VFSes: ordinary tables only.
bench-speedtest: turdb.so
	bench/speedtest_bench.py $(BENCH_SPEEDTEST)

# Vectors through SQL against hnswlib called directly (libhnswlib-dev).
bench-knn: $(OUT)/bench/knn_bench turdb.so
	$< -l ./turdb.so $(BENCH_KNN)

$(OUT)/bench/sql_bench: $(OUT)/bench/sql_bench.o $(BENCH_SIDE)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ -lsqlite3
$(OUT)/bench/reader_bench: $(OUT)/bench/reader_bench.o $(BENCH_SIDE)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ -lsqlite3
$(OUT)/bench/commit_bench: $(OUT)/bench/commit_bench.o $(BENCH_SIDE)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ -lsqlite3
$(OUT)/bench/latency_bench: $(OUT)/bench/latency_bench.o $(BENCH_SIDE)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ -lsqlite3
$(OUT)/bench/knn_bench: $(OUT)/bench/knn_bench.o $(OUT)/bench/hnswlib_shim.o $(BENCH_SIDE) $(OUT)/libhelper.a $(OUT)/libcore.a
	$(CXX) $(LDFLAGS_ALL) -o $@ $^ -lsqlite3 $(LDLIBS)
