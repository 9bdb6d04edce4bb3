# Replays logs of arbitrary bytes: build/fuzz/wal_fuzz [libFuzzer options] [corpus]
FUZZ_WAL_PROGRAM := build/fuzz/wal_fuzz
FUZZ_WAL_SOURCES := test/fuzz/wal_fuzz.c $(wildcard wal/*.c) \
	$(filter-out base/os_posix.c %_avx2.c,$(wildcard base/*.c))
FUZZ_WAL_OBJECTS := $(patsubst %.c,$(OUT)/%.o,$(wildcard base/*_avx2.c))

.PHONY: fuzz-programs
fuzz-programs: $(FUZZ_WAL_PROGRAM)

$(FUZZ_WAL_PROGRAM): $(FUZZ_WAL_SOURCES) $(FUZZ_WAL_OBJECTS) $(wildcard wal/*.h base/*.h)
	@mkdir -p $(@D)
	clang-14 $(STD) $(WARN) -O1 -g -DTURDB_DEBUG -I. \
		-fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=undefined \
		-o $@ $(FUZZ_WAL_SOURCES) $(FUZZ_WAL_OBJECTS) -lxxhash -lm
