# TurDB. `make` builds turdb.so; `make test` runs everything within 8 minutes.
#
# Variants live side by side: build/release, build/debug, build/asan, build/tsan.
#   make VARIANT=asan test      the same tests under another variant

CC      ?= gcc
VARIANT ?= release
OUT     := build/$(VARIANT)
LAYERS  := base wal vfs btree hnsw vtab ext

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
STD  := -std=gnu11 -fPIC -fvisibility=hidden -fno-strict-aliasing -pthread
OPT_release := -O2 -g
OPT_debug   := -O0 -g3 -DTURDB_DEBUG
OPT_asan    := -O1 -g -DTURDB_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -DTURDB_DEBUG -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_ALL  := $(STD) $(WARN) $(OPT_$(VARIANT)) -I. $(CFLAGS)
ifeq ($(VARIANT),release)
CFLAGS_ALL  += $(if $(ASSERTS),,-DNDEBUG)
endif
LDLIBS := -lzstd -lxxhash -lm
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_ALL  := -pthread $(LDFLAGS_$(VARIANT)) $(LDFLAGS)

SOURCES := $(foreach layer,$(LAYERS),$(wildcard $(layer)/*.c))
OBJECTS := $(SOURCES:%.c=$(OUT)/%.o)

# Unit tests link the layers below SQL; tests of SQL load the extension itself.
CORE_SOURCES := $(foreach layer,base wal btree hnsw,$(wildcard $(layer)/*.c)) \
	$(filter-out vfs/door_%.c,$(wildcard vfs/*.c)) $(wildcard vtab/pure_*.c)
CORE_OBJECTS := $(CORE_SOURCES:%.c=$(OUT)/%.o)
HELPER_SOURCES := test/harness.c $(wildcard test/support/*.c) $(wildcard test/sim/*.c)
HELPER_OBJECTS := $(HELPER_SOURCES:%.c=$(OUT)/%.o)
TEST_SOURCES := $(wildcard test/*/*_test.c)
TEST_PROGRAMS := $(TEST_SOURCES:%.c=$(OUT)/%)

.PHONY: all debug asan tsan static test test-programs torture crash fuzz bench demo layers clean tools

all: turdb.so

turdb.so: $(OUT)/turdb.so
	cp $< $@.new && mv $@.new $@

debug asan tsan:
	$(MAKE) VARIANT=$@ build/$@/turdb.so test-programs

$(OUT)/turdb.so: $(OBJECTS) turdb_ext.def
	$(CC) -shared $(LDFLAGS_ALL) -Wl,--version-script=turdb_ext.def -o $@ $(OBJECTS) $(LDLIBS)

static: libturdb.a
libturdb.a: $(OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(OBJECTS)

$(OUT)/libcore.a: $(CORE_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(CORE_OBJECTS)

$(OUT)/libhelper.a: $(HELPER_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(HELPER_OBJECTS)

# Kernels for newer CPUs are compiled for them, one file each, and picked at run time.
$(OUT)/hnsw/kernels_avx2.o: CFLAGS_ALL += $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-mavx2 -mfma -mf16c)
$(OUT)/hnsw/kernels_avx512.o: CFLAGS_ALL += $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c)

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(OUT)/test/%_test: $(OUT)/test/%_test.o $(OUT)/libhelper.a $(OUT)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(OUT)/libhelper.a $(OUT)/libcore.a -lsqlite3 -ldl $(LDLIBS)

test-programs: $(TEST_PROGRAMS) $(OUT)/turdb.so

.SECONDARY:

test: test-programs layers
	test/run $(OUT)

layers:
	tools/layers $(LAYERS)

clean:
	rm -rf build turdb.so libturdb.a

-include $(OBJECTS:.o=.d) $(HELPER_OBJECTS:.o=.d) $(TEST_SOURCES:%.c=$(OUT)/%.d)
-include $(wildcard test/*.mk bench/*.mk examples/*.mk)
