/*
 * vector_functions.c - vec_f32(), vec_distance_l2() and the others: SQL on vectors.
 *
 * Names and meanings are sqlite-vec's, so that what users know and have written goes
 * on working; each function is there as turdb_vec_... too, and where sqlite-vec is
 * loaded its names stay its own. A value is a blob; what its elements are is told by
 * a subtype (sqlite-vec's numbers), without one it is float32. JSON text is float32.
 *
 * A vector is taken apart by take(), which says what it is and lends its bytes.
 */
#include "vtab/table.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hnsw/vector.h"

#ifndef SQLITE_RESULT_SUBTYPE
#define SQLITE_RESULT_SUBTYPE 0x001000000 /* SQLite 3.45 wants to know */
#endif

enum { SUBTYPE_F16 = 222, SUBTYPE_F32 = 223, SUBTYPE_BIT = 224,
       SUBTYPE_INT8 = 225 };

struct vector {
	enum hnsw_element element;
	uint32_t dimensions;
	const uint8_t *bytes;
	size_t size;
	uint8_t *own;        /* to be freed, or NULL */
};

const char *vector_element_name(enum hnsw_element element)
{
	switch (element) {
	case HNSW_F16:
		return "float16";
	case HNSW_INT8:
		return "int8";
	case HNSW_BIT:
		return "bit";
	case HNSW_F32:
		break;
	}
	return "float32";
}

unsigned vector_subtype(enum hnsw_element element)
{
	switch (element) {
	case HNSW_F16:
		return SUBTYPE_F16;
	case HNSW_INT8:
		return SUBTYPE_INT8;
	case HNSW_BIT:
		return SUBTYPE_BIT;
	case HNSW_F32:
		break;
	}
	return SUBTYPE_F32;
}

bool vector_subtype_element(unsigned subtype, enum hnsw_element *element)
{
	switch (subtype) {
	case SUBTYPE_F32:
		*element = HNSW_F32;
		return true;
	case SUBTYPE_F16:
		*element = HNSW_F16;
		return true;
	case SUBTYPE_INT8:
		*element = HNSW_INT8;
		return true;
	case SUBTYPE_BIT:
		*element = HNSW_BIT;
		return true;
	default:
		return false;
	}
}

static void release(struct vector *vector)
{
	sqlite3_free(vector->own);
	vector->own = NULL;
}

static int refuse(struct err *err, const char *function, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct err *err, const char *function, const char *format, ...)
{
	char text[300];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	return err_set(err, ERR_INVALID, function, "", "%s", text);
}

/* --- taking vectors --------------------------------------------------------------- */

static const char *skip_space(const char *at)
{
	while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')
		at++;
	return at;
}

/* A JSON number begins with a digit or a minus; strtof takes more than that. */
static bool number_at(const char **at, float *number)
{
	const char *digit = **at == '-' ? *at + 1 : *at;
	char *stop;

	if (!isdigit((unsigned char)*digit) ||
	    (digit[0] == '0' && (digit[1] == 'x' || digit[1] == 'X')))
		return false;
	*number = strtof(*at, &stop);
	*at = stop;
	return isfinite(*number);
}

/* Numbers of a JSON array into `numbers`, which may be NULL: just counts. */
static bool parse_json(const char *text, float *numbers, uint32_t *count)
{
	const char *at = skip_space(text);
	float number;

	*count = 0;
	if (*at != '[')
		return false;
	at = skip_space(at + 1);
	while (*at != ']') {
		if (!number_at(&at, &number) ||
		    *count == VECTOR_DIMENSIONS_MAX)
			return false;
		if (numbers)
			numbers[*count] = number;
		++*count;
		at = skip_space(at);
		if (*at == ',' && *(at = skip_space(at + 1)) != ']')
			continue;
		if (*at != ']' || at[-1] == ',')
			return false;
	}
	return *skip_space(at + 1) == 0;
}

static int take_json(const char *function, sqlite3_value *value,
                     struct vector *vector, struct err *err)
{
	const char *text = (const char *)sqlite3_value_text(value);
	uint32_t count;
	float *numbers;

	if (!text)
		return err_set(err, ERR_NOMEM, function, "", "no memory");
	if (!parse_json(text, NULL, &count))
		return refuse(err, function,
		              "the text is not a JSON array of at most %d finite numbers: '%.40s'",
		              VECTOR_DIMENSIONS_MAX, text);
	if (!count)
		return refuse(err, function, "a vector has at least one element");
	numbers = sqlite3_malloc64(count * sizeof *numbers);
	if (!numbers)
		return err_set(err, ERR_NOMEM, function, "", "no memory");
	parse_json(text, numbers, &count);
	*vector = (struct vector){ .element = HNSW_F32, .dimensions = count,
		                   .bytes = (uint8_t *)numbers,
		                   .size = count * sizeof *numbers,
		                   .own = (uint8_t *)numbers };
	return ERR_NONE;
}

static int take_blob(const char *function, sqlite3_value *value,
                     enum hnsw_element element, struct vector *vector,
                     struct err *err)
{
	size_t size = (size_t)sqlite3_value_bytes(value);
	size_t width = element == HNSW_F32 ? 4 : element == HNSW_F16 ? 2 : 1;
	size_t dimensions = element == HNSW_BIT ? size * 8 : size / width;

	if (!size)
		return refuse(err, function, "a vector has at least one element");
	if (size % width)
		return refuse(err, function,
		              "a %s vector is a blob of a multiple of %zu bytes, %zu are given",
		              vector_element_name(element), width, size);
	if (dimensions > VECTOR_DIMENSIONS_MAX)
		return refuse(err, function,
		              "a vector has at most %d elements, %zu are given",
		              VECTOR_DIMENSIONS_MAX, dimensions);
	*vector = (struct vector){ .element = element,
		                   .dimensions = (uint32_t)dimensions,
		                   .bytes = sqlite3_value_blob(value),
		                   .size = size };
	return vector->bytes ? ERR_NONE
	                     : err_set(err, ERR_NOMEM, function, "", "no memory");
}

/* Lends the bytes as long as the argument lives, or owns them: release(). */
static int take(const char *function, sqlite3_value *value,
                struct vector *vector, struct err *err)
{
	enum hnsw_element element = HNSW_F32;

	*vector = (struct vector){ .element = HNSW_F32 };
	switch (sqlite3_value_type(value)) {
	case SQLITE_TEXT:
		return take_json(function, value, vector, err);
	case SQLITE_BLOB:
		vector_subtype_element(sqlite3_value_subtype(value), &element);
		return take_blob(function, value, element, vector, err);
	default:
		return refuse(err, function,
		              "a vector is a blob or a JSON array of numbers");
	}
}

static int take_two(const char *function, sqlite3_value **values,
                    struct vector vectors[2], struct err *err)
{
	int rc = take(function, values[0], &vectors[0], err);

	vectors[1].own = NULL;
	if (!rc)
		rc = take(function, values[1], &vectors[1], err);
	if (!rc && vectors[0].element != vectors[1].element)
		rc = refuse(err, function, "one vector is %s, the other %s",
		            vector_element_name(vectors[0].element),
		            vector_element_name(vectors[1].element));
	if (!rc && vectors[0].dimensions != vectors[1].dimensions)
		rc = refuse(err, function,
		            "one vector has %u elements, the other %u",
		            vectors[0].dimensions, vectors[1].dimensions);
	return rc;
}

float vector_number(enum hnsw_element element, const uint8_t *bytes, uint32_t i)
{
	if (element == HNSW_BIT)
		return (float)(bytes[i / 8] >> i % 8 & 1);
	return vector_element(element, bytes, i);
}

static float element_at(const struct vector *vector, uint32_t i)
{
	return vector_number(vector->element, vector->bytes, i);
}

/* --- giving them back ------------------------------------------------------------- */

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

void vector_number_store(enum hnsw_element element, uint8_t *bytes, uint32_t i,
                         float number)
{
	uint16_t half;

	switch (element) {
	case HNSW_F32:
		memcpy(bytes + (size_t)i * 4, &number, 4);
		break;
	case HNSW_F16:
		half = vector_half_of_float(number);
		memcpy(bytes + (size_t)i * 2, &half, 2);
		break;
	case HNSW_INT8:
		bytes[i] = (uint8_t)(int8_t)number;
		break;
	case HNSW_BIT:
		if (number != 0)
			bytes[i / 8] |= (uint8_t)(1u << i % 8);
		break;
	}
}

/* --- vec_f32, vec_f16, vec_int8, vec_bit ------------------------------------------- */

/* What a function's pointer carries. */
struct function {
	const char *name;
	int arguments;
	void (*run)(sqlite3_context *, int, sqlite3_value **);
	enum hnsw_element element;
	enum hnsw_metric metric;
	bool gives_vector;
};

struct binding {
	const struct function *function;
	const struct hnsw_kernels *kernels;
	char name[32];
};

static const struct binding *binding_of(sqlite3_context *context)
{
	return sqlite3_user_data(context);
}

bool vector_number_fits(enum hnsw_element element, float number)
{
	switch (element) {
	case HNSW_INT8:
		return number >= -128 && number <= 127 &&
		       number == floorf(number);
	case HNSW_BIT:
		return number == 0 || number == 1;
	case HNSW_F16:
		return fabsf(number) < 65520;
	case HNSW_F32:
		break;
	}
	return true;
}

static int convert(sqlite3_context *context, const char *name,
                   enum hnsw_element element, const struct vector *from,
                   struct err *err)
{
	uint8_t *bytes = make(context, element, from->dimensions);

	if (!bytes)
		return ERR_NONE;
	for (uint32_t i = 0; i < from->dimensions; i++) {
		float number = element_at(from, i);

		if (!vector_number_fits(element, number)) {
			sqlite3_free(bytes);
			return refuse(err, name, "element %u, %g, is no %s",
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
	const struct binding *binding = binding_of(context);
	enum hnsw_element element = binding->function->element;
	enum hnsw_element typed;
	bool plain = sqlite3_value_type(argv[0]) == SQLITE_BLOB &&
	             !vector_subtype_element(sqlite3_value_subtype(argv[0]),
	                                     &typed);
	struct vector from = { .own = NULL };
	struct err err;
	int rc;

	(void)argc;
	rc = plain ? take_blob(binding->name, argv[0], element, &from, &err)
	           : take(binding->name, argv[0], &from, &err);
	if (!rc && from.element == element && !from.own) {
		sqlite3_result_blob64(context, from.bytes, from.size,
		                      SQLITE_TRANSIENT);
		sqlite3_result_subtype(context, vector_subtype(element));
	} else if (!rc) {
		rc = convert(context, binding->name, element, &from, &err);
	}
	if (rc)
		vfs_result_error(context, &err);
	release(&from);
}

/* --- about one vector -------------------------------------------------------------- */

static void length(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct vector vector;
	struct err err;

	(void)argc;
	if (take(binding_of(context)->name, argv[0], &vector, &err))
		vfs_result_error(context, &err);
	else
		sqlite3_result_int64(context, vector.dimensions);
	release(&vector);
}

static void type(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	struct vector vector;
	struct err err;

	(void)argc;
	if (take(binding_of(context)->name, argv[0], &vector, &err))
		vfs_result_error(context, &err);
	else
		sqlite3_result_text(context, vector_element_name(vector.element), -1,
		                    SQLITE_STATIC);
	release(&vector);
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
	struct vector vector;
	struct err err;
	char *json;

	(void)argc;
	if (take(binding_of(context)->name, argv[0], &vector, &err)) {
		vfs_result_error(context, &err);
		return;
	}
	text = sqlite3_str_new(sqlite3_context_db_handle(context));
	for (uint32_t i = 0; i < vector.dimensions; i++) {
		sqlite3_str_appendchar(text, 1, i ? ',' : '[');
		append_number(text, vector.element, element_at(&vector, i));
	}
	sqlite3_str_appendchar(text, 1, ']');
	release(&vector);
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
	struct vector vector;
	struct err err;
	double norm = 0;
	uint8_t *bytes;
	int rc = take(name, argv[0], &vector, &err);

	(void)argc;
	if (!rc && vector.element != HNSW_F32 && vector.element != HNSW_F16)
		rc = refuse(&err, name, "a %s vector cannot be normalized",
		            vector_element_name(vector.element));
	if (rc) {
		vfs_result_error(context, &err);
		goto release;
	}
	for (uint32_t i = 0; i < vector.dimensions; i++) {
		double number = (double)element_at(&vector, i);

		norm += number * number;
	}
	norm = sqrt(norm);
	bytes = make(context, vector.element, vector.dimensions);
	for (uint32_t i = 0; bytes && i < vector.dimensions; i++)
		vector_number_store(vector.element, bytes, i,
		              norm > 0 ? (float)((double)element_at(&vector, i) /
		                                 norm)
		                       : 0.0f);
	if (bytes)
		give(context, vector.element, vector.dimensions, bytes);

release:
	release(&vector);
}

static int slice_bounds(const char *name, const struct vector *vector,
                        sqlite3_value **argv, int64_t *start, int64_t *end,
                        struct err *err)
{
	*start = sqlite3_value_int64(argv[1]);
	*end = sqlite3_value_int64(argv[2]);
	if (*start < 0 || *end > vector->dimensions || *start >= *end)
		return refuse(err, name,
		              "elements %lld to below %lld of %u are asked for",
		              (long long)*start, (long long)*end,
		              vector->dimensions);
	if (vector->element == HNSW_BIT && (*start % 8 || *end % 8))
		return refuse(err, name,
		              "bits are sliced at multiples of 8, not %lld and %lld",
		              (long long)*start, (long long)*end);
	return ERR_NONE;
}

static void slice(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	const char *name = binding_of(context)->name;
	struct vector vector;
	int64_t start, end;
	struct err err;
	uint8_t *bytes;
	int rc = take(name, argv[0], &vector, &err);

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
	release(&vector);
}

/* -1..1 in 255 steps. */
static void quantize_int8(sqlite3_context *context, int argc,
                          sqlite3_value **argv)
{
	const char *name = binding_of(context)->name;
	const char *how = argc > 1 ? (const char *)sqlite3_value_text(argv[1])
	                           : "unit";
	struct vector vector;
	struct err err;
	uint8_t *bytes;
	int rc = take(name, argv[0], &vector, &err);

	if (!rc && vector.element != HNSW_F32 && vector.element != HNSW_F16)
		rc = refuse(&err, name, "a %s vector cannot be quantized",
		            vector_element_name(vector.element));
	if (!rc && (!how || sqlite3_stricmp(how, "unit") != 0))
		rc = refuse(&err, name, "the second argument must be 'unit'");
	if (rc) {
		vfs_result_error(context, &err);
		goto release;
	}
	bytes = make(context, HNSW_INT8, vector.dimensions);
	for (uint32_t i = 0; bytes && i < vector.dimensions; i++) {
		double step = 2.0 / 255;
		double level = ((double)element_at(&vector, i) + 1) / step - 128;

		vector_number_store(HNSW_INT8, bytes, i,
		              (float)(level < -128 ? -128
		                      : level > 127 ? 127 : trunc(level)));
	}
	if (bytes)
		give(context, HNSW_INT8, vector.dimensions, bytes);

release:
	release(&vector);
}

static void quantize_binary(sqlite3_context *context, int argc,
                            sqlite3_value **argv)
{
	const char *name = binding_of(context)->name;
	struct vector vector;
	struct err err;
	uint8_t *bytes;
	int rc = take(name, argv[0], &vector, &err);

	(void)argc;
	if (!rc && vector.element == HNSW_BIT)
		rc = refuse(&err, name, "it is a bit vector already");
	if (!rc && vector.dimensions % 8)
		rc = refuse(&err, name,
		            "the number of elements must be a multiple of 8, it is %u",
		            vector.dimensions);
	if (rc) {
		vfs_result_error(context, &err);
		goto release;
	}
	bytes = make(context, HNSW_BIT, vector.dimensions);
	for (uint32_t i = 0; bytes && i < vector.dimensions; i++)
		vector_number_store(HNSW_BIT, bytes, i, element_at(&vector, i) > 0);
	if (bytes)
		give(context, HNSW_BIT, vector.dimensions, bytes);

release:
	release(&vector);
}

/* --- about two --------------------------------------------------------------------- */

static void add_or_subtract(sqlite3_context *context, sqlite3_value **argv,
                            float sign)
{
	const char *name = binding_of(context)->name;
	struct vector vectors[2];
	struct err err;
	uint8_t *bytes;
	int rc = take_two(name, argv, vectors, &err);

	if (!rc && vectors[0].element == HNSW_BIT)
		rc = refuse(&err, name, "bit vectors have no sum or difference");
	if (rc) {
		vfs_result_error(context, &err);
		goto release;
	}
	bytes = make(context, vectors[0].element, vectors[0].dimensions);
	for (uint32_t i = 0; bytes && i < vectors[0].dimensions; i++) {
		float sum = element_at(&vectors[0], i) +
		            sign * element_at(&vectors[1], i);

		if (vectors[0].element == HNSW_INT8)
			bytes[i] = (uint8_t)(int)sum; /* wraps, as there */
		else
			vector_number_store(vectors[0].element, bytes, i, sum);
	}
	if (bytes)
		give(context, vectors[0].element, vectors[0].dimensions, bytes);

release:
	release(&vectors[0]);
	release(&vectors[1]);
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
	const struct binding *binding = binding_of(context);
	enum hnsw_metric metric = binding->function->metric;
	struct vector vectors[2];
	struct err err;
	int rc = take_two(binding->name, argv, vectors, &err);

	(void)argc;
	if (!rc && (vectors[0].element == HNSW_BIT) != (metric == HNSW_HAMMING))
		rc = refuse(&err, binding->name, "it is not defined for %s vectors",
		            vector_element_name(vectors[0].element));
	if (rc)
		vfs_result_error(context, &err);
	else
		sqlite3_result_double(context, hnsw_distance(
			binding->kernels, metric, vectors[0].element,
			vectors[0].dimensions, vectors[0].bytes,
			vectors[1].bytes));
	release(&vectors[0]);
	release(&vectors[1]);
}

/* --- vec_each: a row for each element ---------------------------------------------- */

enum { EACH_VALUE, EACH_VECTOR };

struct each_cursor {
	sqlite3_vtab_cursor base;
	struct vector vector;
	sqlite3_value *kept;   /* lends the vector's bytes */
	uint32_t at;
};

static struct each_cursor *each_of(sqlite3_vtab_cursor *cursor)
{
	return (struct each_cursor *)(void *)cursor;
}

static int each_connect(sqlite3 *db, void *context, int argc,
                        const char *const *argv, sqlite3_vtab **vtab,
                        char **message)
{
	int rc = sqlite3_declare_vtab(db, "CREATE TABLE x(value, vector HIDDEN)");

	(void)context, (void)argc, (void)argv, (void)message;
	if (rc)
		return rc;
	sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
	*vtab = sqlite3_malloc64(sizeof **vtab);
	if (!*vtab)
		return SQLITE_NOMEM;
	memset(*vtab, 0, sizeof **vtab);
	return SQLITE_OK;
}

static int each_disconnect(sqlite3_vtab *vtab)
{
	sqlite3_free(vtab);
	return SQLITE_OK;
}

static int each_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
	(void)vtab;
	info->estimatedCost = 100;
	info->estimatedRows = 100;
	for (int i = 0; i < info->nConstraint; i++) {
		if (info->aConstraint[i].iColumn != EACH_VECTOR ||
		    info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
			continue;
		if (!info->aConstraint[i].usable)
			return SQLITE_CONSTRAINT;
		info->aConstraintUsage[i].argvIndex = 1;
		info->aConstraintUsage[i].omit = 1;
		return SQLITE_OK;
	}
	sqlite3_free(vtab->zErrMsg);
	vtab->zErrMsg = sqlite3_mprintf("vec_each needs a vector: vec_each('[1, 2]')");
	return SQLITE_ERROR;
}

static int each_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **opened)
{
	struct each_cursor *cursor = sqlite3_malloc64(sizeof *cursor);

	(void)vtab;
	if (!cursor)
		return SQLITE_NOMEM;
	memset(cursor, 0, sizeof *cursor);
	*opened = &cursor->base;
	return SQLITE_OK;
}

static void each_clear(struct each_cursor *cursor)
{
	release(&cursor->vector);
	sqlite3_value_free(cursor->kept);
	cursor->kept = NULL;
	cursor->vector.dimensions = 0;
	cursor->at = 0;
}

static int each_close(sqlite3_vtab_cursor *closed)
{
	each_clear(each_of(closed));
	sqlite3_free(closed);
	return SQLITE_OK;
}

static int each_filter(sqlite3_vtab_cursor *filtered, int number,
                       const char *text, int argc, sqlite3_value **argv)
{
	struct each_cursor *cursor = each_of(filtered);
	struct err err;
	int rc;

	(void)number, (void)text, (void)argc;
	each_clear(cursor);
	cursor->kept = sqlite3_value_dup(argv[0]);
	if (!cursor->kept)
		return SQLITE_NOMEM;
	rc = take("vec_each", cursor->kept, &cursor->vector, &err);
	if (!rc)
		return SQLITE_OK;
	each_clear(cursor);
	sqlite3_free(filtered->pVtab->zErrMsg);
	filtered->pVtab->zErrMsg = sqlite3_mprintf("%s", err.text);
	return rc == ERR_NOMEM ? SQLITE_NOMEM : SQLITE_ERROR;
}

static int each_next(sqlite3_vtab_cursor *cursor)
{
	each_of(cursor)->at++;
	return SQLITE_OK;
}

static int each_eof(sqlite3_vtab_cursor *cursor)
{
	return each_of(cursor)->at >= each_of(cursor)->vector.dimensions;
}

static int each_column(sqlite3_vtab_cursor *read, sqlite3_context *context,
                       int column)
{
	struct each_cursor *cursor = each_of(read);
	float number = element_at(&cursor->vector, cursor->at);

	if (column == EACH_VECTOR)
		sqlite3_result_value(context, cursor->kept);
	else if (cursor->vector.element == HNSW_INT8 ||
	         cursor->vector.element == HNSW_BIT)
		sqlite3_result_int(context, (int)number);
	else
		sqlite3_result_double(context, (double)number);
	return SQLITE_OK;
}

static int each_rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *rowid)
{
	*rowid = each_of(cursor)->at;
	return SQLITE_OK;
}

static const sqlite3_module each_module = {
	.xConnect = each_connect,
	.xBestIndex = each_best_index,
	.xDisconnect = each_disconnect,
	.xOpen = each_open,
	.xClose = each_close,
	.xFilter = each_filter,
	.xNext = each_next,
	.xEof = each_eof,
	.xColumn = each_column,
	.xRowid = each_rowid,
};

/* --- registering ------------------------------------------------------------------- */

static const struct function functions[] = {
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

/* Only a lack of memory is an error; whatever else is wrong with the connection,
 * SQLite says later. */
static int sqlite_vec_find(sqlite3 *db, bool *there)
{
	sqlite3_stmt *statement = NULL;
	int rc;

	/* Naming the function would tell the log of a mistake; the table
	 * pragma_function_list would read the schema, which may be damaged. */
	sqlite3_prepare_v2(db, "PRAGMA function_list", -1, &statement, NULL);
	*there = false;
	while (!*there && statement && sqlite3_step(statement) == SQLITE_ROW)
		*there = sqlite3_stricmp((const char *)sqlite3_column_text(
						 statement, 0),
		                         "vec_version") == 0;
	rc = sqlite3_errcode(db);
	sqlite3_finalize(statement);
	return rc == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
}

static int register_function(struct connection *connection,
                             const struct function *function,
                             const char *prefix)
{
	struct binding *binding = sqlite3_malloc64(sizeof *binding);
	int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS |
	            SQLITE_SUBTYPE;

	if (!binding)
		return SQLITE_NOMEM;
	binding->function = function;
	binding->kernels = connection->kernels;
	snprintf(binding->name, sizeof binding->name, "%s%s", prefix,
	         function->name);
	if (function->gives_vector)
		flags |= SQLITE_RESULT_SUBTYPE;
	return sqlite3_create_function_v2(connection->db, binding->name,
	                                  function->arguments, flags, binding,
	                                  function->run, NULL, NULL,
	                                  sqlite3_free);
}

int vector_functions_register(struct connection *connection)
{
	bool there;
	int rc = sqlite_vec_find(connection->db, &there);

	for (size_t i = 0; i < sizeof functions / sizeof functions[0] && !rc;
	     i++) {
		rc = register_function(connection, &functions[i], "turdb_");
		if (!rc && !there)
			rc = register_function(connection, &functions[i], "");
	}
	if (!rc)
		rc = sqlite3_create_module_v2(connection->db, "turdb_vec_each",
		                              &each_module, NULL, NULL);
	if (!rc && !there)
		rc = sqlite3_create_module_v2(connection->db, "vec_each",
		                              &each_module, NULL, NULL);
	return rc;
}
