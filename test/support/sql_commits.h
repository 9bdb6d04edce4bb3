/*
 * sql_commits.h - commits that number themselves, and what a crash may take of them.
 *
 * Commit k of a workload inserts k into the table `log(k)`; the schema, which comes
 * first, is commit 0. The workload says in the disk's marks what it began and what
 * it was promised; a crashed disk is held against that.
 */
#ifndef TURDB_TEST_SUPPORT_SQL_COMMITS_H
#define TURDB_TEST_SUPPORT_SQL_COMMITS_H

#include "test/sim/sim.h"
#include "test/support/explore.h"
#include "test/support/sql_rig.h"

/* The pragma that commit k runs with: FULL, sometimes NORMAL or OFF. */
const char *sql_commits_synchronous(uint64_t k);

/* Around the statements of commit k. */
void sql_commits_begun(struct sim_disk *disk, uint64_t k);
void sql_commits_returned(struct sim_disk *disk, uint64_t k);

/* How many commits the database shows: as many as the marks before the crash let
 * it, or ERR_CORRUPT. */
int sql_commits_judge(sqlite3 *db, const struct explore_state *state,
                      int64_t *count, struct err *err);

/* For explore_plan.recover: opens the database and closes it. */
int sql_commits_recover(void *context, struct sim_disk *disk, struct err *err);

#endif
