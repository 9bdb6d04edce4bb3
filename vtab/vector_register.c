/*
 * vector_register.c - under which names a connection gets the functions on vectors.
 *
 * Each is there as turdb_vec_...; under sqlite-vec's own name only where sqlite-vec is
 * not loaded. What SQLite is handed with a function is made once for the process.
 */
#include "vtab/vector_functions.h"
#include "vtab/vector_value.h"

#include <stdio.h>

#ifndef SQLITE_RESULT_SUBTYPE
#define SQLITE_RESULT_SUBTYPE 0x001000000 /* SQLite 3.45 wants to know */
#endif

/* What all connections of a process share. */
struct vtab_process {
	_Atomic bool alone; /* connections begin without sqlite-vec's functions */
	struct vector_binding bindings[]; /* two of each function: with turdb_ and without */
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

/* Where sqlite-vec's functions may be. A connection that is being opened has what
 * the automatic extensions before this one gave it, and those were there when this
 * library was loaded: asking once, at the first opening, answers for all later ones.
 * Asking costs four times as much as everything else here. */
static int sqlite_vec_look(struct connection *connection, bool *there)
{
	struct vtab_process *process = connection->environment.process->tables;
	bool opening = connection->environment.opening;
	int rc;

	*there = false;
	if (opening && atomic_load_explicit(&process->alone,
	                                    memory_order_relaxed))
		return SQLITE_OK;
	rc = sqlite_vec_find(connection->db, there);
	if (!rc)
		atomic_store_explicit(&process->alone, opening && !*there,
		                      memory_order_relaxed);
	return rc;
}

static void bind(struct vector_binding *binding, const struct vector_function *function,
                 const struct hnsw_kernels *kernels, const char *prefix)
{
	binding->function = function;
	binding->kernels = kernels;
	snprintf(binding->name, sizeof binding->name, "%s%s", prefix,
	         function->name);
}

int vtab_process_open(struct vfs_environment *environment, struct err *err)
{
	const struct hnsw_kernels *kernels = hnsw_kernels_for(environment->cpu);
	struct vtab_process *process = heap_lasting(
		environment->heap,
		sizeof *process + 2 * VECTOR_FUNCTIONS * sizeof(struct vector_binding));

	if (!process)
		return err_set(err, ERR_NOMEM, "load extension", "turdb",
		               "no memory for its functions");
	for (size_t i = 0; i < VECTOR_FUNCTIONS; i++) {
		bind(&process->bindings[2 * i], &vector_functions[i], kernels, "turdb_");
		bind(&process->bindings[2 * i + 1], &vector_functions[i], kernels, "");
	}
	environment->tables = process;
	return ERR_NONE;
}

void vtab_process_close(struct vfs_environment *environment)
{
	heap_free(environment->heap, environment->tables);
	environment->tables = NULL;
}

static int register_function(sqlite3 *db, struct vector_binding *binding)
{
	const struct vector_function *function = binding->function;
	int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS |
	            SQLITE_SUBTYPE;

	if (function->gives_vector)
		flags |= SQLITE_RESULT_SUBTYPE;
	return sqlite3_create_function_v2(db, binding->name,
	                                  function->arguments, flags, binding,
	                                  function->run, NULL, NULL, NULL);
}

int vector_functions_register(struct connection *connection)
{
	struct vector_binding *bindings =
		connection->environment.process->tables->bindings;
	bool there;
	int rc = sqlite_vec_look(connection, &there);

	for (size_t i = 0; i < VECTOR_FUNCTIONS && !rc; i++) {
		rc = register_function(connection->db, &bindings[2 * i]);
		if (!rc && !there)
			rc = register_function(connection->db,
			                       &bindings[2 * i + 1]);
	}
	if (!rc)
		rc = sqlite3_create_module_v2(connection->db, "turdb_vec_each",
		                              &vector_each_module, NULL, NULL);
	if (!rc && !there)
		rc = sqlite3_create_module_v2(connection->db, "vec_each",
		                              &vector_each_module, NULL, NULL);
	return rc;
}
