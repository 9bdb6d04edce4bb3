# bench-hnsw: graphs against hnswlib (libhnswlib-dev) called directly.
HNSW_BENCH_PROGRAM := $(OUT)/bench/hnsw_bench

$(OUT)/bench/hnswlib_shim.o: bench/hnswlib_shim.cpp bench/hnswlib_shim.h
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O3 -march=native -g -I. -c $< -o $@

$(HNSW_BENCH_PROGRAM): $(OUT)/bench/hnsw_bench.o $(OUT)/bench/hnswlib_shim.o $(OUT)/libhelper.a $(OUT)/libcore.a
	$(CXX) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS)

.PHONY: bench-hnsw
bench-hnsw: $(HNSW_BENCH_PROGRAM)
	$(HNSW_BENCH_PROGRAM) $(BENCH_ARGUMENTS)
