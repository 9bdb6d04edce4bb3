/*
 * kernels_table.h - the last lines of each kernels_*.c: what is made of its functions
 * in the same way for every CPU, and the table of all.
 *
 * It takes the file's own l2_, ip_, l1_ (f32, f16, int8), cosine_ (f32, f16), hamming
 * and code_weigh. KERNELS_ONE_BY_ONE, which needs code_dot(): many vectors are taken
 * one at a time; else the file has l2_f32_many, ip_f32_many and code_dots, too.
 */

static void cosine_int8(const void *a, const void *b, size_t n, float sums[3])
{
	sums[0] = ip_int8(a, b, n);
	sums[1] = ip_int8(a, a, n);
	sums[2] = ip_int8(b, b, n);
}

static void code_gaps(const uint8_t *code, const uint8_t *const *codes,
                      size_t count, size_t n, float *gaps)
{
	size_t j;

	for (j = 0; j < count; j++)
		gaps[j] = l1_int8(code, codes[j], n);
}

#ifdef KERNELS_ONE_BY_ONE

static void l2_f32_many(const void *query, const uint8_t *const *vectors,
                        size_t count, size_t n, float *sums)
{
	size_t j;

	for (j = 0; j < count; j++)
		sums[j] = l2_f32(query, vectors[j], n);
}

static void ip_f32_many(const void *query, const uint8_t *const *vectors,
                        size_t count, size_t n, float *sums)
{
	size_t j;

	for (j = 0; j < count; j++)
		sums[j] = ip_f32(query, vectors[j], n);
}

static void code_dots(const int16_t *weights, const uint8_t *const *codes,
                      size_t count, size_t n, float *dots)
{
	size_t j;

	for (j = 0; j < count; j++)
		dots[j] = (float)code_dot(weights, codes[j], n);
}

#endif

#define KERNELS_TABLE(name, cpu)                                              \
	const struct hnsw_kernels name = {                                    \
		.level = cpu,                                                 \
		.l2 = { [HNSW_F32] = l2_f32, [HNSW_F16] = l2_f16,             \
			[HNSW_INT8] = l2_int8 },                              \
		.ip = { [HNSW_F32] = ip_f32, [HNSW_F16] = ip_f16,             \
			[HNSW_INT8] = ip_int8 },                              \
		.l1 = { [HNSW_F32] = l1_f32, [HNSW_F16] = l1_f16,             \
			[HNSW_INT8] = l1_int8 },                              \
		.cosine = { [HNSW_F32] = cosine_f32, [HNSW_F16] = cosine_f16, \
			    [HNSW_INT8] = cosine_int8 },                      \
		.hamming = hamming,                                           \
		.l2_f32_many = l2_f32_many,                                   \
		.ip_f32_many = ip_f32_many,                                   \
		.code_weigh = code_weigh,                                     \
		.code_dots = code_dots,                                       \
		.code_gaps = code_gaps,                                       \
	};
