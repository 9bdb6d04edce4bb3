# TurDB. `make` builds turdb.so; `make test` runs everything in about 3 minutes.
#
# Variants live side by side: build/release, build/debug, build/asan, build/tsan.
#   make VARIANT=asan test      the same tests under another variant

ifeq ($(origin CC),default)
CC      := gcc
endif
VARIANT ?= release
OUT     := build/$(VARIANT)
LAYERS  := base wal vfs btree hnsw vtab ext

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
STD  := -std=gnu11 -fPIC -fvisibility=hidden -fno-strict-aliasing -pthread
OPT_release := -O2 -g
OPT_debug   := -O0 -g3 -DTURDB_DEBUG
OPT_asan    := -O1 -g -DTURDB_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT_static  := -O2 -g -DNDEBUG -DSQLITE_CORE
OPT_tsan    := -O1 -g -DTURDB_DEBUG -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_ALL  := $(STD) $(WARN) $(OPT_$(VARIANT)) -I. $(CFLAGS)
ifeq ($(VARIANT),release)
CFLAGS_ALL  += $(if $(ASSERTS),,-DNDEBUG)
endif
# The extension is optimised as a whole (a scan's row crosses five files: 1.59 -> 1.09 of
# SQLite's time); test programs link the same objects without it.
ifeq ($(VARIANT)$(findstring gcc,$(shell $(CC) --version)),releasegcc)
LTO         := -flto=2 -ffat-lto-objects
LDFLAGS_so  := -O2 -flto=2 -fuse-linker-plugin
LDFLAGS_lto := -fno-use-linker-plugin
endif
LDLIBS := -lzstd -lxxhash -lm
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_ALL  := -pthread $(LDFLAGS_$(VARIANT)) $(LDFLAGS_lto) $(LDFLAGS)

SOURCES := $(foreach layer,$(LAYERS),$(wildcard $(layer)/*.c))
OBJECTS := $(SOURCES:%.c=$(OUT)/%.o)

$(OBJECTS): CFLAGS_ALL += $(LTO)

# Unit tests link the layers below SQL; tests of SQL load the extension itself.
CORE_SOURCES := $(foreach layer,base wal btree hnsw,$(wildcard $(layer)/*.c)) \
	$(filter-out vfs/door_%.c,$(wildcard vfs/*.c)) $(wildcard vtab/pure_*.c)
CORE_OBJECTS := $(CORE_SOURCES:%.c=$(OUT)/%.o)
# The rest, for tests that have SQLite and the whole library in one program.
TOP_OBJECTS := $(filter-out $(CORE_OBJECTS),$(OBJECTS))
HELPER_SOURCES := test/harness.c $(filter-out %_test.c,$(wildcard test/support/*.c) $(wildcard test/sim/*.c))
HELPER_OBJECTS := $(HELPER_SOURCES:%.c=$(OUT)/%.o)
# TEST_WITHOUT='PART...' leaves out the programs that have one of the parts in their path.
TEST_SOURCES := $(foreach source,$(wildcard test/*/*_test.c),$(if $(strip $(foreach \
	part,$(TEST_WITHOUT),$(findstring $(part),$(source)))),,$(source)))
TEST_PROGRAMS := $(TEST_SOURCES:%.c=$(OUT)/%)

.PHONY: all debug asan tsan static static-check objects aarch64 packages test test-programs torture crash fuzz bench demo layers clean tools

all: turdb.so

turdb.so: $(OUT)/turdb.so
	cp $< $@.new && mv $@.new $@

debug asan tsan:
	$(MAKE) VARIANT=$@ build/$@/turdb.so test-programs

$(OUT)/turdb.so: $(OBJECTS) turdb_ext.def
	$(CC) -shared $(LDFLAGS_ALL) $(LDFLAGS_so) -Wl,--version-script=turdb_ext.def -o $@ $(OBJECTS) $(LDLIBS)

# A program's own TurDB: libturdb.a and turdb.h. Built for SQLite linked in, not loaded from.
static:
	$(MAKE) VARIANT=static libturdb.a turdb.h

libturdb.a: $(OUT)/libturdb.a
	cp $< $@

turdb.h: ext/turdb.h
	cp $< $@

$(OUT)/libturdb.a: $(OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(OBJECTS)

static-check: static
	@mkdir -p build/static/test
	$(CC) -std=gnu11 -Wall -Wextra -Werror -I. -o build/static/test/static_program \
		test/ext/static_program.c libturdb.a -lsqlite3 $(LDLIBS) -pthread
	build/static/test/static_program

# Everything compiled, nothing linked: for other compilers.
objects: $(OBJECTS) $(HELPER_OBJECTS) $(TEST_SOURCES:%.c=$(OUT)/%.o)

aarch64:
	$(MAKE) CC=aarch64-linux-gnu-gcc OUT=build/aarch64 CFLAGS="-Werror $(CFLAGS)" aarch64-objects
aarch64-objects: $(OBJECTS)

$(OUT)/libcore.a: $(CORE_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(CORE_OBJECTS)

$(OUT)/libtop.a: $(TOP_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(TOP_OBJECTS)

$(OUT)/libhelper.a: $(HELPER_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(HELPER_OBJECTS)

# Kernels for newer CPUs are compiled for them, one file each, and picked at run time.
$(OUT)/base/checksum_avx2.o: CFLAGS_ALL += $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-mavx2 -fno-lto)
$(OUT)/hnsw/kernels_avx2.o: CFLAGS_ALL += $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-mavx2 -mfma -mf16c -fno-lto)
$(OUT)/hnsw/kernels_avx512.o: CFLAGS_ALL += $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c -fno-lto)

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(OUT)/test/%_test: $(OUT)/test/%_test.o $(OUT)/libhelper.a $(OUT)/libtop.a $(OUT)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(OUT)/libhelper.a $(OUT)/libtop.a $(OUT)/libcore.a -lsqlite3 -ldl $(LDLIBS)

# Crash tests link the store and the log compiled a second time, with the bugs of
# base/plant.h in them behind a switch. No other program has that switch.
PLANTED_SOURCES := $(wildcard wal/*.c) $(filter-out vfs/door_%.c,$(wildcard vfs/*.c))
PLANTED_OBJECTS := $(PLANTED_SOURCES:%.c=$(OUT)/planted/%.o)

$(OUT)/planted/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -DTURDB_PLANT -MMD -MP -c $< -o $@

$(OUT)/libplanted.a: $(PLANTED_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $(PLANTED_OBJECTS)

$(OUT)/test/%_crash_test: $(OUT)/test/%_crash_test.o $(OUT)/libhelper.a $(OUT)/libtop.a $(OUT)/libplanted.a $(OUT)/libcore.a
	$(CC) $(LDFLAGS_ALL) -o $@ $< $(OUT)/libhelper.a $(OUT)/libtop.a $(OUT)/libplanted.a $(OUT)/libcore.a -lsqlite3 -ldl $(LDLIBS)

test-programs: $(TEST_PROGRAMS) $(OUT)/turdb.so

.SECONDARY:

packages:
	@tools/install-packages

test: packages
	$(MAKE) test-programs layers
	test/run $(OUT)

layers:
	tools/layers $(LAYERS)

clean:
	rm -rf build turdb.so libturdb.a turdb.h

-include $(PLANTED_OBJECTS:.o=.d)
-include $(OBJECTS:.o=.d) $(HELPER_OBJECTS:.o=.d) $(TEST_SOURCES:%.c=$(OUT)/%.d)
-include $(wildcard test/*.mk bench/*.mk examples/*.mk)
