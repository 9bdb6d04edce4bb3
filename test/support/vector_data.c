/*
 * vector_data.c - made-up vectors, and the exact answers over them.
 */
#include "test/support/vector_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "hnsw/kernels.h"

enum { LATENT = 28, HIDDEN = 88, CLUSTERS = 1000 };

struct vector_data {
	uint32_t dimensions;
	uint64_t seed;
	float *inner;   /* HIDDEN x LATENT     */
	float *offsets; /* HIDDEN              */
	float *outer;   /* dimensions x HIDDEN */
	float *centres; /* CLUSTERS x LATENT   */
	float *spreads; /* CLUSTERS x LATENT   */
	double *shares; /* cumulated, CLUSTERS */
};

static uint64_t next(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static double uniform(uint64_t *state)
{
	return ((double)(next(state) >> 11) + 0.5) * 0x1p-53;
}

static float normal(uint64_t *state)
{
	double u = uniform(state), v = uniform(state);

	return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static float *normals(uint64_t *state, size_t count, double scale)
{
	float *values = malloc(count * sizeof *values);
	size_t i;

	for (i = 0; i < count; i++)
		values[i] = normal(state) * (float)scale;
	return values;
}

static void spreads_make(struct vector_data *data, uint64_t *state)
{
	size_t c, l;

	data->spreads = malloc(CLUSTERS * LATENT * sizeof(float));
	for (c = 0; c < CLUSTERS; c++) {
		double scale = 0.8 * exp(0.35 * (double)normal(state));

		for (l = 0; l < LATENT; l++)
			data->spreads[c * LATENT + l] =
				(float)(scale * exp(0.5 * (double)normal(state)));
	}
}

static void shares_make(struct vector_data *data)
{
	double total = 0;
	size_t c;

	data->shares = malloc(CLUSTERS * sizeof(double));
	for (c = 0; c < CLUSTERS; c++)
		data->shares[c] = total += pow((double)c + 3, -0.7);
	for (c = 0; c < CLUSTERS; c++)
		data->shares[c] /= total;
}

struct vector_data *vector_data_open(uint32_t dimensions, uint64_t seed)
{
	struct vector_data *data = malloc(sizeof *data);
	uint64_t state = seed;

	data->dimensions = dimensions;
	data->seed = seed;
	data->inner = normals(&state, HIDDEN * LATENT, 1.2 / sqrt(LATENT));
	data->offsets = normals(&state, HIDDEN, 0.5);
	data->outer = normals(&state, (size_t)dimensions * HIDDEN,
	                      1 / sqrt(HIDDEN));
	data->centres = normals(&state, CLUSTERS * LATENT, 1);
	spreads_make(data, &state);
	shares_make(data);
	return data;
}

void vector_data_close(struct vector_data *data)
{
	free(data->inner);
	free(data->offsets);
	free(data->outer);
	free(data->centres);
	free(data->spreads);
	free(data->shares);
	free(data);
}

static size_t cluster_pick(const struct vector_data *data, double share)
{
	size_t low = 0, high = CLUSTERS - 1;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (data->shares[middle] < share)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static float dot(const float *a, const float *b, size_t n)
{
	float sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

void vector_data_make(const struct vector_data *data, uint32_t stream,
                      uint64_t index, float *vector)
{
	uint64_t state = data->seed ^ (uint64_t)stream << 56 ^
	                 index * UINT64_C(0xd1342543de82ef95);
	float latent[LATENT], hidden[HIDDEN];
	size_t cluster, i;

	next(&state);
	cluster = cluster_pick(data, uniform(&state));
	for (i = 0; i < LATENT; i++)
		latent[i] = data->centres[cluster * LATENT + i] +
		            data->spreads[cluster * LATENT + i] * normal(&state);
	for (i = 0; i < HIDDEN; i++)
		hidden[i] = tanhf(data->offsets[i] +
		                  dot(&data->inner[i * LATENT], latent, LATENT));
	for (i = 0; i < data->dimensions; i++)
		vector[i] = dot(&data->outer[i * HIDDEN], hidden, HIDDEN) +
		            0.04f * normal(&state);
}

float *vector_data_block(const struct vector_data *data, uint32_t stream,
                         size_t count)
{
	float *block = malloc(count * data->dimensions * sizeof *block);
	size_t i;

	for (i = 0; i < count; i++)
		vector_data_make(data, stream, i, block + i * data->dimensions);
	return block;
}

static void nearest_keep(uint32_t *indices, float *distances, uint32_t k,
                         uint32_t index, float distance)
{
	uint32_t i;

	if (distance >= distances[k - 1])
		return;
	for (i = k - 1; i > 0 && distances[i - 1] > distance; i--) {
		distances[i] = distances[i - 1];
		indices[i] = indices[i - 1];
	}
	distances[i] = distance;
	indices[i] = index;
}

void vector_data_truth(const float *rows, size_t row_count,
                       const float *queries, size_t query_count,
                       uint32_t dimensions, uint32_t k, uint32_t *indices,
                       float *distances)
{
	const struct hnsw_kernels *kernels =
		hnsw_kernels_for(cpu_level_pick(NULL));
	size_t q, i, block;

	for (i = 0; i < query_count * k; i++)
		distances[i] = INFINITY;
	for (block = 0; block < row_count; block += 256) {
		for (q = 0; q < query_count; q++) {
			for (i = block; i < row_count && i < block + 256; i++)
				nearest_keep(indices + q * k, distances + q * k,
				             k, (uint32_t)i,
				             kernels->l2[HNSW_F32](
						     rows + i * dimensions,
						     queries + q * dimensions,
						     dimensions));
		}
	}
}
