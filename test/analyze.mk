# The library's sources through clang's static analyser: any finding is an error.
#   make -k -j2 analyze       some five minutes of one core; clang-14 is in `tools/install-packages ci`
# What it cannot know stands in the code: a refusal's code is seen by its callers (err_known() in
# base/err.h), and what a function relies on is asserted.
ANALYZED := $(SOURCES:%.c=build/analyze/%.ok)
ANALYZE_FLAGS := -std=gnu11 -fno-strict-aliasing -DTURDB_DEBUG -I. --analyze --analyzer-output text \
	-Xclang -analyzer-werror \
	-Xclang -analyzer-checker=core,unix,security,deadcode,nullability,optin.portability \
	-Xclang -analyzer-disable-checker=security.insecureAPI.DeprecatedOrUnsafeBufferHandling

.PHONY: analyze
analyze: $(ANALYZED)

build/analyze/%_avx2.ok: ANALYZE_FLAGS += -mavx2 -mfma -mf16c
build/analyze/%_avx512.ok: ANALYZE_FLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mf16c

$(ANALYZED): build/analyze/%.ok: %.c $(foreach layer,$(LAYERS),$(wildcard $(layer)/*.h))
	@mkdir -p $(@D)
	clang-14 $(ANALYZE_FLAGS) -o /dev/null $<
	@touch $@
