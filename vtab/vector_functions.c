/*
 * vector_functions.c - vec_f32(), vec_distance_l2() and the others: SQL on vectors.
 *
 * Names and meanings are sqlite-vec's, so that what users know and have written goes
 * on working. Each takes its arguments apart with vector_value.c, makes the bytes of a
 * new vector and gives them with the subtype of its elements.
 */
#include "vtab/vector_functions.h"
#include "vtab/vector_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hnsw/vector.h"

/* --- giving vectors ------------------------------------------------------------------ */

static uint8_t *make(sqlite3_context *context, enum hnsw_element element,
                     uint32_t dimensions)
{
	uint8_t *bytes = sqlite3_malloc64(vector_size(element, dimensions));

	if (bytes)
		memset(bytes, 0, vector_size(element, dimensions));
	else
		sqlite3_result_error_nomem(context);
	return bytes;
}

static void give(sqlite3_context *context, enum hnsw_element element,
                 uint32_t dimensions, uint8_t *bytes)
{
	sqlite3_result_blob64(context, bytes, vector_size(element, dimensions),
	                      sqlite3_free);
	sqlite3_result_subtype(context, vector_subtype(element));
}

/* --- vec_f32, vec_f16, vec_int8, vec_bit ------------------------------------------- */

static const struct vector_binding *binding_of(sqlite3_context *context)
{
	return sqlite3_user_data(context);
}

static int convert(sqlite3_context *context, const char *name,
                   enum hnsw_element element, const struct vector_value *from,
                   struct err *err)
{
	uint8_t *bytes = make(context, element, from->dimensions);

	if (!bytes)
		return ERR_NONE;
	for (uint32_t i = 0; i < from->dimensions; i++) {
		float number = vector_value_number(from, i);

		if (!vector_number_fits(element, number)) {
			sqlite3_free(bytes);
			return vector_value_refuse(err, name, "element %u, %g, is no %s",
						   i + 1, (double)number,
						   vector_element_name(element));
		}
		vector_number_store(element, bytes, i, number);
	}
	give(context, element, from->dimensions, bytes);
	return ERR_NONE;
}

/* A blob without a subtype is what the function is called; text and vectors of other
 * elements are converted. */
static void make_vector(sqlite3_context *context, int argc,
                        sqlite3_value **argv)
{
	const struct vector_binding *binding = binding_of(context);
	enum hnsw_element element = binding->function->element;
	enum hnsw_element typed;
	bool plain = sqlite3_value_type(argv[0]) == SQLITE_BLOB &&
	             !vector_subtype_element(sqlite3_value_subtype(argv[0]),
	                                     &typed);
	struct vector_value from = { .own = NULL };
	struct err err;
	int rc;

	(void)argc;
	rc = plain ? vector_value_take_blob(binding->name, argv[0], element,
	                                    &from, &err)
	           : vector_value_take(binding->name, argv[0], &from, &err);
	if (!rc && from.element == element && !from.own) {
		sqlite3_result_blob64(context, from.bytes, from.size,
		                      SQLITE_TRANSIENT);
		sqlite3_result_subtype(context, vector_subtype(element));
	} else if (!rc) {
		rc = convert(context, binding->name, element, &from, &err);
	}
	if (rc)
		vfs_result_error(context, &err);
	vector_value_release(&from);
}

/* --- about one vector -------------------------------------------------------------- */

/* Takes the only argument, or gives the error. */
static bool take_one(sqlite3_context *context, sqlite3_value **argv,
                     struct vector_value *vector)
{
	struct err err;

	if (!vector_value_take(binding_of(context)->name, argv[0], vector, &err))
		return true;
	vfs_result_error(context, &err);
	vector_value_release(vector);
	return false;
}

static void length(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct vector_value vector;

	(void)argc;
	if (!take_one(context, argv, &vector))
		return;
	sqlite3_result_int64(context, vector.dimensions);
	vector_value_release(&vector);
}

static void type(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct vector_value vector;

	(void)argc;
	if (!take_one(context, argv, &vector))
		return;
	sqlite3_result_text(context, vector_element_name(vector.element), -1,
	                    SQLITE_STATIC);
	vector_value_release(&vector);
}

/* As sqlite-vec writes them, with six digits, where these say it all. */
static void append_number(sqlite3_str *text, enum hnsw_element element,
                          float number)
{
	char digits[64];

	if (element == HNSW_INT8 || element == HNSW_BIT) {
		sqlite3_str_appendf(text, "%d", (int)number);
		return;
	}
	if (!isfinite(number)) {
		sqlite3_str_appendall(text, "null");
		return;
	}
	snprintf(digits, sizeof digits, "%f", (double)number);
	if (strtof(digits, NULL) != number)
		snprintf(digits, sizeof digits, "%.9g", (double)number);
	sqlite3_str_appendall(text, digits);
}

static void to_json(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	sqlite3_str *text;
	struct vector_value vector;
	char *json;

	(void)argc;
	if (!take_one(context, argv, &vector))
		return;
	text = sqlite3_str_new(sqlite3_context_db_handle(context));
	for (uint32_t i = 0; i < vector.dimensions; i++) {
		sqlite3_str_appendchar(text, 1, i ? ',' : '[');
		append_number(text, vector.element, vector_value_number(&vector, i));
	}
	sqlite3_str_appendchar(text, 1, ']');
	vector_value_release(&vector);
	json = sqlite3_str_finish(text);
	if (!json) {
		sqlite3_result_error_nomem(context);
		return;
	}
	sqlite3_result_text(context, json, -1, sqlite3_free);
	sqlite3_result_subtype(context, 'J');
}

static void normalize(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	const char *name = binding_of(context)->name;
	struct vector_value vector;
	struct err err;
	double norm = 0;
	uint8_t *bytes;
	int rc = vector_value_take(name, argv[0], &vector, &err);

	(void)argc;
	if (!rc && vector.element != HNSW_F32 && vector.element != HNSW_F16)
		rc = vector_value_refuse(&err, name, "a %s vector cannot be normalized",
					 vector_element_name(vector.element));
	if (rc) {
		vfs_result_error(context, &err);
		goto release;
	}
	for (uint32_t i = 0; i < vector.dimensions; i++) {
		double number = (double)vector_value_number(&vector, i);

		norm += number * number;
	}
	norm = sqrt(norm);
	bytes = make(context, vector.element, vector.dimensions);
	for (uint32_t i = 0; bytes && i < vector.dimensions; i++)
		vector_number_store(vector.element, bytes, i,
		              norm > 0 ? (float)((double)vector_value_number(&vector, i) /
		                                 norm)
		                       : 0.0f);
	if (bytes)
		give(context, vector.element, vector.dimensions, bytes);

release:
	vector_value_release(&vector);
}

static int slice_bounds(const char *name, const struct vector_value *vector,
                        sqlite3_value **argv, int64_t *start, int64_t *end,
                        struct err *err)
{
	*start = sqlite3_value_int64(argv[1]);
	*end = sqlite3_value_int64(argv[2]);
	if (*start < 0 || *end > vector->dimensions || *start >= *end)
		return vector_value_refuse(err, name,
					   "elements %lld to below %lld of %u are asked for",
					   (long long)*start, (long long)*end,
					   vector->dimensions);
	if (vector->element == HNSW_BIT && (*start % 8 || *end % 8))
		return vector_value_refuse(err, name,
					   "bits are sliced at multiples of 8, not %lld and %lld",
					   (long long)*start, (long long)*end);
	return ERR_NONE;
}

static void slice(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	const char *name = binding_of(context)->name;
	struct vector_value vector;
	int64_t start, end;
	struct err err;
	uint8_t *bytes;
	int rc = vector_value_take(name, argv[0], &vector, &err);

	(void)argc;
	if (!rc)
		rc = slice_bounds(name, &vector, argv, &start, &end, &err);
	if (rc) {
		vfs_result_error(context, &err);
		goto release;
	}
	bytes = make(context, vector.element, (uint32_t)(end - start));
	if (bytes) {
		memcpy(bytes,
		       vector.bytes + vector_size(vector.element,
		                                  (uint32_t)start),
		       vector_size(vector.element, (uint32_t)(end - start)));
		give(context, vector.element, (uint32_t)(end - start), bytes);
	}

release:
	vector_value_release(&vector);
}

/* -1..1 in 255 steps. */
static void quantize_int8(sqlite3_context *context, int argc,
                          sqlite3_value **argv)
{
	const char *name = binding_of(context)->name;
	const char *how = argc > 1 ? (const char *)sqlite3_value_text(argv[1])
	                           : "unit";
	struct vector_value vector;
	struct err err;
	uint8_t *bytes;
	int rc = vector_value_take(name, argv[0], &vector, &err);

	if (!rc && vector.element != HNSW_F32 && vector.element != HNSW_F16)
		rc = vector_value_refuse(&err, name, "a %s vector cannot be quantized",
					 vector_element_name(vector.element));
	if (!rc && (!how || sqlite3_stricmp(how, "unit") != 0))
		rc = vector_value_refuse(&err, name, "the second argument must be 'unit'");
	for (uint32_t i = 0; !rc && i < vector.dimensions; i++)
		if (isnan(vector_value_number(&vector, i)))
			rc = vector_value_refuse(&err, name,
						 "element %u is not a number", i);
	if (rc) {
		vfs_result_error(context, &err);
		goto release;
	}
	bytes = make(context, HNSW_INT8, vector.dimensions);
	for (uint32_t i = 0; bytes && i < vector.dimensions; i++) {
		double step = 2.0 / 255;
		double level = ((double)vector_value_number(&vector, i) + 1) / step - 128;

		vector_number_store(HNSW_INT8, bytes, i,
		              (float)(level < -128 ? -128
		                      : level > 127 ? 127 : trunc(level)));
	}
	if (bytes)
		give(context, HNSW_INT8, vector.dimensions, bytes);

release:
	vector_value_release(&vector);
}

static void quantize_binary(sqlite3_context *context, int argc,
                            sqlite3_value **argv)
{
	const char *name = binding_of(context)->name;
	struct vector_value vector;
	struct err err;
	uint8_t *bytes;
	int rc = vector_value_take(name, argv[0], &vector, &err);

	(void)argc;
	if (!rc && vector.element == HNSW_BIT)
		rc = vector_value_refuse(&err, name, "it is a bit vector already");
	if (!rc && vector.dimensions % 8)
		rc = vector_value_refuse(&err, name,
					 "the number of elements must be a multiple of 8, it is %u",
					 vector.dimensions);
	if (rc) {
		vfs_result_error(context, &err);
		goto release;
	}
	bytes = make(context, HNSW_BIT, vector.dimensions);
	for (uint32_t i = 0; bytes && i < vector.dimensions; i++)
		vector_number_store(HNSW_BIT, bytes, i, vector_value_number(&vector, i) > 0);
	if (bytes)
		give(context, HNSW_BIT, vector.dimensions, bytes);

release:
	vector_value_release(&vector);
}

/* --- about two --------------------------------------------------------------------- */

static void add_or_subtract(sqlite3_context *context, sqlite3_value **argv,
                            float sign)
{
	const char *name = binding_of(context)->name;
	struct vector_value vectors[2];
	struct err err;
	uint8_t *bytes;
	int rc = vector_value_take_two(name, argv, vectors, &err);

	if (!rc && vectors[0].element == HNSW_BIT)
		rc = vector_value_refuse(&err, name, "bit vectors have no sum or difference");
	if (rc) {
		vfs_result_error(context, &err);
		goto release;
	}
	bytes = make(context, vectors[0].element, vectors[0].dimensions);
	for (uint32_t i = 0; bytes && i < vectors[0].dimensions; i++) {
		float sum = vector_value_number(&vectors[0], i) +
		            sign * vector_value_number(&vectors[1], i);

		if (vectors[0].element == HNSW_INT8)
			bytes[i] = (uint8_t)(int)sum; /* wraps, as there */
		else
			vector_number_store(vectors[0].element, bytes, i, sum);
	}
	if (bytes)
		give(context, vectors[0].element, vectors[0].dimensions, bytes);

release:
	vector_value_release(&vectors[0]);
	vector_value_release(&vectors[1]);
}

static void add(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	(void)argc;
	add_or_subtract(context, argv, 1);
}

static void subtract(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	(void)argc;
	add_or_subtract(context, argv, -1);
}

static void distance(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	const struct vector_binding *binding = binding_of(context);
	enum hnsw_metric metric = binding->function->metric;
	struct vector_value vectors[2];
	struct err err;
	int rc = vector_value_take_two(binding->name, argv, vectors, &err);

	(void)argc;
	if (!rc && (vectors[0].element == HNSW_BIT) != (metric == HNSW_HAMMING))
		rc = vector_value_refuse(&err, binding->name, "it is not defined for %s vectors",
					 vector_element_name(vectors[0].element));
	if (rc)
		vfs_result_error(context, &err);
	else
		sqlite3_result_double(context, hnsw_distance(
			binding->kernels, metric, vectors[0].element,
			vectors[0].dimensions, vectors[0].bytes,
			vectors[1].bytes));
	vector_value_release(&vectors[0]);
	vector_value_release(&vectors[1]);
}

/* --- all of them ------------------------------------------------------------------- */

const struct vector_function vector_functions[VECTOR_FUNCTIONS] = {
	{ "vec_f32", 1, make_vector, HNSW_F32, 0, true },
	{ "vec_f16", 1, make_vector, HNSW_F16, 0, true },
	{ "vec_int8", 1, make_vector, HNSW_INT8, 0, true },
	{ "vec_bit", 1, make_vector, HNSW_BIT, 0, true },
	{ "vec_length", 1, length, 0, 0, false },
	{ "vec_type", 1, type, 0, 0, false },
	{ "vec_to_json", 1, to_json, 0, 0, true },
	{ "vec_add", 2, add, 0, 0, true },
	{ "vec_sub", 2, subtract, 0, 0, true },
	{ "vec_normalize", 1, normalize, 0, 0, true },
	{ "vec_slice", 3, slice, 0, 0, true },
	{ "vec_quantize_int8", 1, quantize_int8, 0, 0, true },
	{ "vec_quantize_int8", 2, quantize_int8, 0, 0, true },
	{ "vec_quantize_binary", 1, quantize_binary, 0, 0, true },
	{ "vec_distance_l2", 2, distance, 0, HNSW_L2, false },
	{ "vec_distance_l1", 2, distance, 0, HNSW_L1, false },
	{ "vec_distance_cosine", 2, distance, 0, HNSW_COSINE, false },
	{ "vec_distance_ip", 2, distance, 0, HNSW_IP, false },
	{ "vec_distance_hamming", 2, distance, 0, HNSW_HAMMING, false },
};
