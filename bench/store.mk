# Below SQL: what a one-row commit costs.
.PHONY: bench-store
bench-store: $(OUT)/bench/store_bench
	$<
$(OUT)/bench/store_bench: $(OUT)/bench/store_bench.o $(OUT)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(OUT)/libcore.a $(LDLIBS)
