/*
 * plant.h - bugs that tests plant, to prove that crash exploration finds them.
 *
 * Each takes away one thing that crash safety hangs on. Compiled in only with
 * TURDB_PLANT, into a second set of objects that the crash tests link (Makefile);
 * elsewhere PLANTED() is the constant false.
 */
#ifndef TURDB_BASE_PLANT_H
#define TURDB_BASE_PLANT_H

enum store_plant {
	PLANT_ACK_WITHOUT_SYNC = 1 << 0,      /* a durable commit does not wait      */
	PLANT_CHECKSUM_UNCHECKED = 1 << 1,    /* a torn log record counts             */
	PLANT_LOG_DROPPED_EARLY = 1 << 2,     /* log dropped before data is synced    */
	PLANT_REUSE_UNDER_READER = 1 << 3,    /* a reader's places are free           */
	PLANT_REUSE_UNDER_CANDIDATE = 1 << 4, /* the checkpoint candidate's are       */
	PLANT_REUSE_PLACED = 1 << 5,          /* a place that PLACED names is taken   */
	PLANT_PLACED_OVER_LOGGED = 1 << 6,    /* PLACED put where a record wrote      */
	PLANT_SAVEPOINT_KEPT = 1 << 7,        /* rollback to a savepoint restores not */
	PLANT_PUBLISH_BEFORE_RECORD = 1 << 8, /* visible before it is in the log      */
	PLANT_SEGMENT_DIR_UNSYNCED = 1 << 9,  /* segment used before its directory is */
	PLANT_SALT_REPEATED = 1 << 10,        /* old segment's bytes chain on         */
	PLANT_SUPERBLOCK_UNSYNCED = 1 << 11,  /* superblock trusted unsynced          */
	PLANT_PLACED_UNSYNCED = 1 << 12,      /* PLACED recorded before data is synced */
	PLANT_FOUND_UNCHECKED = 1 << 13,      /* a replay takes whatever lies there     */
	PLANT_FOUND_UNWRITTEN = 1 << 14,      /* an image that is there stays as it is  */
	PLANT_REPLAY_PARTS = 1 << 29,         /* no bug: a replay takes small parts   */
	PLANT_REPLAY_SMALL = 1 << 30,         /* no bug: a replay keeps few changes  */
};

#ifdef TURDB_PLANT
#define PLANTED(holder, bug) (((holder)->plants & (uint32_t)(bug)) != 0)
#else
#define PLANTED(holder, bug) (0)
#endif

#endif
