# The log alone: appends, groups of committers, replay.
.PHONY: bench-wal
bench-wal: $(OUT)/bench/wal_bench
	$< append 300
	$< raw 1
	for writers in 1 2 4 8; do \
		$< threads $$writers 1 && $< processes $$writers 1 || exit 1; \
	done
	$< replay
$(OUT)/bench/wal_bench: $(OUT)/bench/wal_bench.o $(OUT)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(OUT)/libcore.a $(LDLIBS)
