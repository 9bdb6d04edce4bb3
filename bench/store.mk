# Below SQL: what a one-row commit costs.
.PHONY: bench-store
bench-store: $(OUT)/bench/store_bench
	$<
$(OUT)/bench/store_bench: $(OUT)/bench/store_bench.o $(OUT)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(OUT)/libcore.a $(LDLIBS)

# How long a recovery takes for a gigabyte of log, measured with RECOVERY_MB of it.
RECOVERY_MB ?= 64
.PHONY: bench-recovery
bench-recovery: $(OUT)/bench/recovery_bench
	$< $(RECOVERY_MB) /tmp
$(OUT)/bench/recovery_bench: $(OUT)/bench/recovery_bench.o $(OUT)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(OUT)/libcore.a $(LDLIBS)
