# Fuzzing with libFuzzer (clang-14):
#   make fuzz [FUZZ_SECONDS=600] [FUZZ="store wal"]
# What it finds lies in build/fuzz/crashes; move it to test/fuzz/regressions/NAME,
# where `make test` (test/fuzz/fuzz_test.c) tries it from then on. The corpus is renewed,
# without what only repeats, by
#   NAME_fuzz -set_cover_merge=1 -use_counters=0 -max_len=4096 test/fuzz/corpus/NAME build/fuzz/corpus/NAME
FUZZ_SECONDS ?= 60
FUZZ_ALL := $(patsubst test/fuzz/%_fuzz.c,%,$(wildcard test/fuzz/*_fuzz.c))
FUZZ ?= $(FUZZ_ALL)
FUZZ_PROGRAMS := $(FUZZ_ALL:%=$(OUT)/%_fuzz)
FUZZ_OBJECTS := $(FUZZ_ALL:%=$(OUT)/test/fuzz/%_fuzz.o)
FUZZ_MAINS := $(FUZZ_ALL:%=$(OUT)/test/fuzz/%_main.o)
FUZZ_LIBS := $(OUT)/libhelper.a $(OUT)/libtop.a $(OUT)/libcore.a
# What is tested leads the fuzzer, not the disk it is tested on.
FUZZ_PLAIN := -fno-sanitize=all -fno-sanitize-coverage=trace-pc-guard,inline-8bit-counters,pc-table,trace-cmp,indirect-calls,trace-gep,trace-div,stack-depth -O2
FUZZ_CFLAGS := -O1 -g -DTURDB_DEBUG -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=undefined -fno-omit-frame-pointer

.PHONY: fuzz-build fuzz-programs

fuzz: fuzz-build
	test/fuzz/run build/fuzz $(FUZZ_SECONDS) $(FUZZ)

fuzz-build:
	$(MAKE) VARIANT=fuzz CC=clang-14 CFLAGS='$(FUZZ_CFLAGS)' fuzz-programs

fuzz-programs: $(FUZZ_PROGRAMS)

$(FUZZ_PROGRAMS): $(OUT)/%_fuzz: $(OUT)/test/fuzz/%_fuzz.o $(OUT)/test/fuzz/%_main.o $(FUZZ_LIBS)
	$(CC) -fsanitize=fuzzer,address,undefined -pthread -o $@ $(filter %.o,$^) \
		$(FUZZ_LIBS) -lsqlite3 -ldl $(LDLIBS)

$(FUZZ_MAINS): $(OUT)/test/fuzz/%_main.o: test/fuzz/fuzz_main.c test/fuzz/fuzz.h
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -DFUZZ_TARGET=$*_fuzz -c $< -o $@

# The same targets without libFuzzer, in one program of the tests.
$(OUT)/test/fuzz/fuzz_test: $(OUT)/test/fuzz/fuzz_test.o $(FUZZ_OBJECTS) $(FUZZ_LIBS)
	$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(FUZZ_LIBS) -lsqlite3 -ldl $(LDLIBS)

ifeq ($(VARIANT),fuzz)
$(HELPER_OBJECTS): CFLAGS_ALL += $(FUZZ_PLAIN)
endif

-include $(FUZZ_OBJECTS:.o=.d)
