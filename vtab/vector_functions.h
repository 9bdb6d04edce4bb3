/*
 * vector_functions.h - SQL on vectors, as it is registered; private to vtab/.
 */
#ifndef TURDB_VTAB_VECTOR_FUNCTIONS_H
#define TURDB_VTAB_VECTOR_FUNCTIONS_H

#include "vtab/table.h"

/* A function, by the name that it has in sqlite-vec. */
struct vector_function {
	const char *name;
	int arguments;
	void (*run)(sqlite3_context *, int, sqlite3_value **);
	enum hnsw_element element;
	enum hnsw_metric metric;
	bool gives_vector;
};

/* What SQLite hands to it: which it is, and as what it was called. */
struct vector_binding {
	const struct vector_function *function;
	const struct hnsw_kernels *kernels;
	char name[32];
};

enum { VECTOR_FUNCTIONS = 19 };
extern const struct vector_function vector_functions[VECTOR_FUNCTIONS];

#endif
