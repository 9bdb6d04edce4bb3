/*
 * sql_commits.c - commits that number themselves, and what a crash may take of them.
 */
#include "test/support/sql_commits.h"

/* Marks hold k + 1, for 0 is none. */
enum { MARK_STARTED = 1, MARK_RETURNED, MARK_DURABLE };

static bool is_durable(uint64_t k)
{
	return k == 0 || (k % 5 != 2 && k % 5 != 4);
}

const char *sql_commits_synchronous(uint64_t k)
{
	return is_durable(k) ? "PRAGMA synchronous=FULL"
	     : k % 5 == 2 ? "PRAGMA synchronous=NORMAL"
	     : "PRAGMA synchronous=OFF";
}

void sql_commits_begun(struct sim_disk *disk, uint64_t k)
{
	sim_mark(disk, MARK_STARTED, k + 1);
}

void sql_commits_returned(struct sim_disk *disk, uint64_t k)
{
	sim_mark(disk, MARK_RETURNED, k + 1);
	if (is_durable(k))
		sim_mark(disk, MARK_DURABLE, k + 1);
}

static int count_commits(sqlite3 *db, int64_t *count, struct err *err)
{
	int64_t tables;
	int rc = sql_number(db, "SELECT count(*) FROM sqlite_schema", &tables,
	                    err);

	*count = 0;
	if (rc || !tables)
		return rc;
	return sql_number(db, "SELECT ifnull(max(k), 0) + 1 FROM log", count, err);
}

int sql_commits_judge(sqlite3 *db, const struct explore_state *state,
                      int64_t *count, struct err *err)
{
	int64_t floor = (int64_t)explore_mark_max(
		state, explore_is_kill(state) ? MARK_RETURNED : MARK_DURABLE, 0);
	int64_t ceiling = (int64_t)explore_mark_max(state, MARK_STARTED, 0);
	int rc = count_commits(db, count, err);

	if (!rc && (*count < floor || *count > ceiling))
		rc = err_set(err, ERR_CORRUPT, "recover", "app",
		             "%lld commits are there; %lld were acknowledged, %lld had begun",
		             (long long)*count, (long long)floor,
		             (long long)ceiling);
	return rc;
}

int sql_commits_recover(void *context, struct sim_disk *disk, struct err *err)
{
	struct sql_process process;
	int rc = sql_process_start(&process, disk, err);

	(void)context;
	if (!rc)
		rc = sql_open(&process, "", err);
	sql_process_end(&process);
	return rc;
}
