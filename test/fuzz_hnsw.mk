# Operations on damaged graphs: build/fuzz/hnsw_fuzz [libFuzzer options] [corpus]
FUZZ_HNSW_PROGRAM := build/fuzz/hnsw_fuzz
FUZZ_HNSW_SOURCES := test/fuzz/hnsw_fuzz.c test/support/graph_image.c \
	test/support/memory_pager.c test/harness.c \
	$(filter-out hnsw/kernels_avx%.c,$(wildcard hnsw/*.c)) \
	$(filter-out base/os_posix.c %_avx2.c,$(wildcard base/*.c))
FUZZ_HNSW_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(wildcard base/*_avx2.c) \
	hnsw/kernels_avx2.c hnsw/kernels_avx512.c)

.PHONY: fuzz-programs
fuzz-programs: $(FUZZ_HNSW_PROGRAM)

$(FUZZ_HNSW_PROGRAM): $(FUZZ_HNSW_SOURCES) $(FUZZ_HNSW_OBJECTS) $(wildcard hnsw/*.h base/*.h)
	@mkdir -p $(@D)
	clang-14 $(STD) $(WARN) -O1 -g -DTURDB_DEBUG -I. \
		-fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=undefined \
		-o $@ $(FUZZ_HNSW_SOURCES) $(FUZZ_HNSW_OBJECTS) -lxxhash -lm
