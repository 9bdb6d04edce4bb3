/*
 * crew.c - one piece of work in parts, which several threads do at once.
 *
 * For what a user waits for, as a recovery. The caller does the first part himself, and
 * those for which no thread can be had: on the simulated disk all of them, one after
 * the other, so that a run there is always the same. The parts share nothing that one
 * of them writes, and every part comes to its end, so that the error is that of the
 * first part which failed, whoever was faster.
 */
#include "vfs/store_private.h"

struct member {
	store_crew_fn *work;
	void *context;
	struct os_thread *thread; /* NULL: the caller */
	uint32_t part;
	int rc;
	struct err err;
};

uint32_t store_crew_size(const struct store *store)
{
	const struct os_methods *os = store->os->methods;
	uint32_t processors = os->processors ? os->processors(store->os) : 1;

	return processors < 1 ? 1 : processors > CREW_MAX ? CREW_MAX : processors;
}

static void run(void *context)
{
	struct member *member = context;

	member->rc = member->work(member->context, member->part, &member->err);
}

static void start(struct os *os, struct member *member)
{
	struct err ignored;

	if (!os->methods->thread_start ||
	    os->methods->thread_start(os, run, member, &member->thread, &ignored))
		member->thread = NULL;
}

int store_crew_run(struct store *store, uint32_t parts, store_crew_fn *work,
                   void *context, struct err *err)
{
	struct member members[CREW_MAX];
	struct os *os = store->os;

	assert(parts >= 1 && parts <= CREW_MAX);
	for (uint32_t i = 0; i < parts; i++)
		members[i] = (struct member){ .work = work, .context = context,
		                              .part = i };
	for (uint32_t i = 1; i < parts; i++)
		start(os, &members[i]);
	for (uint32_t i = 0; i < parts; i++)
		if (!members[i].thread)
			run(&members[i]);
	for (uint32_t i = 1; i < parts; i++)
		if (members[i].thread)
			os->methods->thread_join(os, members[i].thread);
	for (uint32_t i = 0; i < parts; i++)
		if (members[i].rc) {
			if (err)
				*err = members[i].err;
			return members[i].rc;
		}
	return ERR_NONE;
}
