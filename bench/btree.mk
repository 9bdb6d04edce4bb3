# Below SQL: a tree against LMDB, over memory pages. Needs liblmdb-dev.
.PHONY: bench-btree
bench-btree: $(OUT)/bench/btree_bench
	$<
$(OUT)/bench/btree_bench: $(OUT)/bench/btree_bench.o $(OUT)/libhelper.a $(OUT)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(OUT)/libhelper.a $(OUT)/libcore.a -llmdb $(LDLIBS)
-include $(OUT)/bench/btree_bench.d
