/*
 * door_breath.c - lets sqlite3_interrupt() and the progress handler into long work.
 *
 * SQLite looks for both while it runs a statement, and does not run one while a call
 * of ours is under way. So every BREATH_US some steps of a statement are run on the
 * connection, which SQLite counts like any others: a progress handler that is to
 * be called every 100,000 steps is called a few times a second, and what it ends
 * with SQLITE_INTERRUPT is our call. From SQLite 3.41 on an interrupt is asked for
 * in every breath.
 *
 * (I1) Whatever may take long breathes: an interrupt or the progress handler ends it.
 */
#include "vfs/vfs.h"

SQLITE_EXTENSION_INIT3

enum { BREATH_US = 20000 };

/* Some 4,000 steps: about 0.1 ms. */
static const char some_steps[] =
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 400) SELECT max(i) FROM n";

/* What SQLite 3.41 can be asked, whose header this need not be compiled with. */
static bool is_interrupted(sqlite3 *db)
{
	if (sqlite3_libversion_number() < 3041000)
		return false;
#if SQLITE_VERSION_NUMBER >= 3041000
	return sqlite3_is_interrupted(db);
#elif defined(SQLITE_CORE)
	(void)db;
	return false;
#else
	return ((const struct {
		sqlite3_api_routines routines;
		int (*is_interrupted)(sqlite3 *);
	} *)(const void *)sqlite3_api)->is_interrupted(db);
#endif
}

static int interrupted(struct err *err)
{
	return err_set(err, ERR_INTERRUPT, "run statement", "", "interrupted");
}

static int run_steps(struct vfs_breath *breath, struct err *err)
{
	int rc;

	if (!breath->statement &&
	    sqlite3_prepare_v2(breath->db, some_steps, -1, &breath->statement,
	                       NULL))
		return ERR_NONE; /* an authorizer may forbid it */
	rc = sqlite3_step(breath->statement);
	sqlite3_reset(breath->statement);
	return (rc & 0xff) == SQLITE_INTERRUPT ? interrupted(err) : ERR_NONE;
}

/* (I1) */
static int take(struct breath *base, struct err *err)
{
	struct vfs_breath *breath = (struct vfs_breath *)base;
	uint64_t now = breath->os->methods->monotonic_us(breath->os);
	int rc;

	if (is_interrupted(breath->db))
		return interrupted(err);
	if (now < breath->due_us)
		return ERR_NONE;
	rc = run_steps(breath, err);
	breath->due_us = now + BREATH_US;
	return rc;
}

void vfs_breath_init(struct vfs_breath *breath, sqlite3 *db, struct os *os)
{
	*breath = (struct vfs_breath){ .base.take = take, .db = db, .os = os };
}

void vfs_breath_end(struct vfs_breath *breath)
{
	sqlite3_finalize(breath->statement);
	breath->statement = NULL;
}
