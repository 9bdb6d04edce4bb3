/*
 * place.c - the words in shared memory that tell where the log stands.
 *
 * Any process can be killed between two instructions, so nothing here relies
 * on two stores happening together. (P1) A place is filled while it is not in
 * use and becomes the one in use by one store. (P2) A claim names its owner and
 * a count; taking it over from the dead is a compare-and-swap against the very
 * claim that was found dead, so a claim taken since is never stolen. (P3)
 * `durable` only grows.
 */
#include "wal/wal_private.h"

#include <assert.h>

/* Fields of a place are stored with release: a reader that sees a field of a
 * later filling sees the sequence that went before it. */
#define PUT(word, value) \
	atomic_store_explicit(&(word), (value), memory_order_release)
#define GET(word) atomic_load_explicit(&(word), memory_order_acquire)

static void copy_place(const struct wal_place *from, struct wal_position *to)
{
	to->appended = GET(from->appended);
	to->last_checksum = GET(from->last_checksum);
	to->segment_first = GET(from->segment_first);
	to->segment_end = GET(from->segment_end);
	to->segment_salt = GET(from->segment_salt);
	to->previous_first = GET(from->previous_first);
	to->segment_no = GET(from->segment_no);
	to->previous_no = GET(from->previous_no);
}

void wal_position_read(struct wal_shared *shared,
                       struct wal_position *position)
{
	uint64_t sequence;

	do {
		sequence = GET(shared->place_sequence);
		copy_place(&shared->place[sequence & 1], position);
	} while (atomic_load_explicit(&shared->place_sequence,
	                              memory_order_relaxed) != sequence);
}

void wal_position_publish(struct wal_shared *shared,
                          const struct wal_position *position)
{
	uint64_t sequence = GET(shared->place_sequence) + 1;
	struct wal_place *to = &shared->place[sequence & 1];

	assert(position->appended >= GET(shared->appended) && /* (P1) */
	       position->appended >= position->segment_first &&
	       position->appended <= position->segment_end);
	PUT(to->appended, position->appended);
	PUT(to->last_checksum, position->last_checksum);
	PUT(to->segment_first, position->segment_first);
	PUT(to->segment_end, position->segment_end);
	PUT(to->segment_salt, position->segment_salt);
	PUT(to->previous_first, position->previous_first);
	PUT(to->segment_no, position->segment_no);
	PUT(to->previous_no, position->previous_no);
	PUT(shared->place_sequence, sequence);
	PUT(shared->appended, position->appended);
}

static uint32_t owner_of(uint64_t word)
{
	return (uint32_t)word;
}

static uint64_t with_owner(uint64_t word, uint32_t owner)
{
	return (((word >> 32) + 1) << 32) | owner;
}

static bool is_dead(struct wal *wal, uint32_t owner)
{
	const struct wal_options *options = &wal->options;

	return owner != options->process + 1 && options->process_lives &&
	       !options->process_lives(options->context, owner - 1);
}

/* (P2) */
uint64_t wal_claim_take(struct wal *wal, struct wal_claim *claim, bool look)
{
	uint64_t old = atomic_load(&claim->owner), mine;

	if (owner_of(old) && !(look && is_dead(wal, owner_of(old))))
		return 0;
	mine = with_owner(old, wal->options.process + 1);
	return atomic_compare_exchange_strong(&claim->owner, &old, mine) ?
		mine : 0;
}

void wal_claim_release(struct wal_claim *claim, uint64_t token)
{
	atomic_compare_exchange_strong(&claim->owner, &token,
	                               with_owner(token, 0));
}

void wal_claim_forget(struct wal *wal, struct wal_claim *claim)
{
	uint64_t word = atomic_load(&claim->owner);

	if (owner_of(word) == wal->options.process + 1)
		wal_claim_release(claim, word);
}

/* (P3) */
void wal_durable_raise(struct wal_shared *shared, uint64_t lsn)
{
	uint64_t known = atomic_load(&shared->durable);

	while (known < lsn &&
	       !atomic_compare_exchange_weak(&shared->durable, &known, lsn))
		;
}

/* (wal/sync Y3) */
int wal_poison(struct wal *wal, const char *operation, const char *resource,
               const struct err *reason, struct err *err)
{
	atomic_store(&wal->shared->failed, 1);
	return err_set(err, ERR_OUTCOME, operation, resource,
	               "%s; what was committed last may be lost, and the "
	               "database refuses writes until every process has "
	               "closed it", reason->text);
}
