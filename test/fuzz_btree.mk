# Operations and damage on trees, arbitrary bytes as keys and rows:
#   build/fuzz/btree_fuzz, build/fuzz/codec_fuzz [libFuzzer options] [corpus]
FUZZ_BTREE_PROGRAMS := build/fuzz/btree_fuzz build/fuzz/codec_fuzz
FUZZ_BTREE_SOURCES := $(wildcard btree/*.c) test/harness.c \
	test/support/memory_pager.c test/support/tree_bed.c \
	test/support/sorted_model.c \
	base/err.c base/heap.c base/checksum.c
FUZZ_BTREE_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(wildcard base/*_avx2.c))
FUZZ_BTREE_HEADERS := $(wildcard btree/*.h base/*.h test/support/*.h)

.PHONY: fuzz-programs
fuzz-programs: $(FUZZ_BTREE_PROGRAMS)

$(FUZZ_BTREE_PROGRAMS): build/fuzz/%: test/fuzz/%.c $(FUZZ_BTREE_SOURCES) $(FUZZ_BTREE_OBJECTS) $(FUZZ_BTREE_HEADERS)
	@mkdir -p $(@D)
	clang-14 $(STD) $(WARN) -O1 -g -DTURDB_DEBUG -I. \
		-fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=undefined \
		-o $@ $< $(FUZZ_BTREE_SOURCES) $(FUZZ_BTREE_OBJECTS) -lxxhash -lm
