/*
 * sim_crash.c - the choices of a crash, and the disk they leave.
 *
 * The shadow says what is durable and what is pending; a plan, drawn from the
 * seed, says what becomes of the pending: one fate per write, one size per
 * file, one state per name. The new disk shares all pages the plan leaves
 * alone with the old one's shadow.
 *
 * Plans are drawn in several styles, for independent coins alone would nearly
 * never give the most telling states: exactly one write lost, exactly one kept,
 * exactly one torn between all those before and none of those after.
 */
#include "test/sim/sim_internal.h"

#include <assert.h>
#include <stdlib.h>

enum fate { FATE_LOST, FATE_KEPT, FATE_TORN };

enum style {
	STYLE_COINS,     /* each write by itself, with one bias                */
	STYLE_ONE_LOST,  /* or torn: all others kept                           */
	STYLE_ONE_KEPT,  /* or torn: all others lost                           */
	STYLE_CUT,       /* kept before some moment, lost after it; torn at it */
	STYLE_FILES,     /* such a moment for each file by itself              */
	STYLE_COUNT
};

struct plan {
	const struct sim_disk *disk;
	const struct sim_shadow *shadow;
	enum sim_crash_kind kind;
	uint64_t random;
	enum style style;
	unsigned bias;          /* of 8: how many are kept                     */
	unsigned granule;       /* of tearing; 0 = nothing is torn             */
	uint64_t chosen;        /* the event the style turns on                */
	uint64_t length;
	bool undo_names, undo_sizes;
	bool map_late;          /* maps as just before the next call           */
	/* events in order, for the report */
	struct { uint32_t event; enum fate fate; } *fates;
	size_t fate_count, fate_capacity;
	struct sim_crash_report report;
};

const char *sim_crash_kind_name(enum sim_crash_kind kind)
{
	static const char *const names[] = {
		[SIM_CRASH_LOST] = "lost",
		[SIM_CRASH_KEPT] = "kept",
		[SIM_CRASH_REORDERED] = "reordered",
		[SIM_CRASH_TORN_512] = "torn512",
		[SIM_CRASH_TORN_4096] = "torn4096",
		[SIM_CRASH_NAMES] = "names",
		[SIM_CRASH_KILL] = "kill",
		[SIM_CRASH_KILL_CUT] = "kill-cut",
	};

	return kind < SIM_CRASH_KINDS ? names[kind] : "unknown";
}

bool sim_crash_is(const struct sim_crash_report *report,
                  enum sim_crash_kind kind)
{
	switch (kind) {
	case SIM_CRASH_LOST:
		return report->writes_lost || report->names_undone ||
		       report->sizes_undone;
	case SIM_CRASH_KEPT:
	case SIM_CRASH_KILL:
		return true;
	case SIM_CRASH_REORDERED:
		return report->reordered > 0;
	case SIM_CRASH_TORN_512:
	case SIM_CRASH_TORN_4096:
		return report->writes_torn > 0;
	case SIM_CRASH_NAMES:
		return report->names_undone > 0;
	case SIM_CRASH_KILL_CUT:
		return report->cut;
	case SIM_CRASH_KINDS:
		break;
	}
	return false;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t state = a ^ (b * UINT64_C(0xff51afd7ed558ccd));

	return sim_random(&state);
}

/* Order does not matter: the same choices give the same print. */
static void print_choice(struct plan *plan, uint64_t what, uint64_t choice)
{
	plan->report.fingerprint += mix(what, choice);
}

static uint64_t draw(struct plan *plan, uint64_t below)
{
	return sim_random(&plan->random) % below;
}

/* Drawing the plan */

static size_t count_pending(const struct sim_shadow *shadow)
{
	size_t count = 0;

	for (size_t i = 0; i < shadow->file_count; i++)
		count += shadow->files[i].pending_count;
	return count;
}

/* The n-th pending event counted over the files: any of them. */
static uint64_t nth_pending(const struct sim_shadow *shadow, size_t n)
{
	for (size_t i = 0; i < shadow->file_count; i++) {
		const struct sim_shadow_file *file = &shadow->files[i];

		if (n < file->pending_count)
			return file->pending[n];
		n -= file->pending_count;
	}
	return 0;
}

static void plan_draw(struct plan *plan, uint64_t seed)
{
	static const unsigned biases[] = { 1, 2, 4, 4, 6, 7 };
	size_t pending = count_pending(plan->shadow);

	plan->random = mix(seed, plan->length * SIM_CRASH_KINDS + plan->kind);
	plan->style = (enum style)draw(plan, STYLE_COUNT);
	plan->bias = biases[draw(plan, 6)];
	plan->granule = plan->kind == SIM_CRASH_TORN_512 ? 512 :
	                plan->kind == SIM_CRASH_TORN_4096 ? 4096 : 0;
	if (pending)
		plan->chosen = nth_pending(plan->shadow,
		                           (size_t)draw(plan, pending));
	switch (plan->kind) {
	case SIM_CRASH_REORDERED:
	case SIM_CRASH_TORN_512:
	case SIM_CRASH_TORN_4096:
		plan->undo_names = draw(plan, 3) == 0;
		plan->undo_sizes = draw(plan, 3) == 0;
		break;
	case SIM_CRASH_NAMES:
		plan->undo_names = true;
		break;
	default:
		break;
	}
	plan->map_late = draw(plan, 2);
}

static bool is_power_loss(enum sim_crash_kind kind)
{
	return kind != SIM_CRASH_KILL && kind != SIM_CRASH_KILL_CUT;
}

static bool is_random(enum sim_crash_kind kind)
{
	return kind == SIM_CRASH_REORDERED || kind == SIM_CRASH_TORN_512 ||
	       kind == SIM_CRASH_TORN_4096;
}

static enum fate coin(struct plan *plan)
{
	return draw(plan, 8) < plan->bias ? FATE_KEPT : FATE_LOST;
}

static enum fate fate_of(struct plan *plan, uint64_t event,
                         uint64_t file_chosen)
{
	enum fate touched = plan->granule ? FATE_TORN : FATE_KEPT;

	if (!is_random(plan->kind))
		return plan->kind == SIM_CRASH_LOST ? FATE_LOST : FATE_KEPT;
	switch (plan->style) {
	case STYLE_COINS:
		return plan->granule && draw(plan, 2) ? FATE_TORN : coin(plan);
	case STYLE_ONE_LOST:
		if (event != plan->chosen)
			return FATE_KEPT;
		return plan->granule ? FATE_TORN : FATE_LOST;
	case STYLE_ONE_KEPT:
		return event == plan->chosen ? touched : FATE_LOST;
	case STYLE_FILES:
		if (event == file_chosen)
			return touched;
		return event < file_chosen ? FATE_KEPT : FATE_LOST;
	case STYLE_CUT:
	case STYLE_COUNT:
		break;
	}
	if (event == plan->chosen)
		return touched;
	return event < plan->chosen ? FATE_KEPT : FATE_LOST;
}

/* Carrying it out */

static void note_fate(struct plan *plan, uint32_t event, enum fate fate)
{
	SIM_GROW(plan->fates, plan->fate_count, plan->fate_capacity);
	plan->fates[plan->fate_count].event = event;
	plan->fates[plan->fate_count++].fate = fate;
	if (fate == FATE_LOST)
		plan->report.writes_lost++;
	else if (fate == FATE_KEPT)
		plan->report.writes_kept++;
	else
		plan->report.writes_torn++;
	if (fate == FATE_KEPT)
		print_choice(plan, event, 1);
}

/* Applies some of a write's sectors; says what that made of it. */
static enum fate apply_torn(struct plan *plan, uint32_t index,
                            const struct sim_event *event,
                            struct sim_image *image)
{
	uint64_t at = event->sector_offset, end = at + event->sector_bytes;
	size_t kept = 0, lost = 0;

	while (at < end) {
		uint64_t next = (at / plan->granule + 1) * plan->granule;

		if (next > end)
			next = end;
		if (coin(plan) == FATE_KEPT) {
			sim_image_write(image, at, event->bytes ?
			                event->bytes +
			                (at - event->sector_offset) : NULL,
			                (size_t)(next - at));
			print_choice(plan, index, 2 + at);
			kept++;
		} else {
			lost++;
		}
		at = next;
	}
	return !kept ? FATE_LOST : !lost ? FATE_KEPT : FATE_TORN;
}

static uint64_t choose_size(struct plan *plan,
                            const struct sim_shadow_file *file)
{
	const struct sim_event *events = plan->disk->trace.events;
	uint64_t last = file->size, chosen;
	size_t pick;

	if (!file->pending_count)
		return last;
	last = events[file->pending[file->pending_count - 1]].size_after;
	if (plan->kind == SIM_CRASH_LOST)
		chosen = file->size;
	else if (plan->undo_sizes) {
		pick = (size_t)draw(plan, file->pending_count + 2);
		chosen = pick >= file->pending_count ? file->size :
			events[file->pending[pick]].size_after;
	} else {
		chosen = last;
	}
	if (chosen != last)
		plan->report.sizes_undone++;
	return chosen;
}

static void apply_pending(struct plan *plan,
                          const struct sim_shadow_file *file,
                          struct sim_image *image)
{
	const struct sim_event *events = plan->disk->trace.events;
	uint64_t chosen = 0;

	if (file->pending_count)
		chosen = file->pending[draw(plan, file->pending_count)];
	for (size_t i = 0; i < file->pending_count; i++) {
		uint32_t index = file->pending[i];
		const struct sim_event *event = &events[index];
		enum fate fate = fate_of(plan, index, chosen);

		if (event->kind == SIM_EVENT_SIZE) {
			if (fate != FATE_LOST)
				sim_event_apply(event, image);
			if (fate != FATE_LOST &&
			    event->size_after < event->size_before)
				print_choice(plan, index, 1);
			continue;
		}
		if (fate == FATE_KEPT)
			sim_event_apply(event, image);
		else if (fate == FATE_TORN)
			fate = apply_torn(plan, index, event, image);
		note_fate(plan, index, fate);
	}
}

/* The last call's write stops at any of its bytes; its memory of whole sectors
 * holds the payload somewhere in the middle. */
static uint64_t apply_cut(struct plan *plan,
                          const struct sim_shadow_file *file,
                          struct sim_image *image)
{
	uint32_t index = (uint32_t)plan->length - 1;
	const struct sim_event *event = &plan->disk->trace.events[index];
	uint64_t done = 1 + draw(plan, event->size - 1);
	const uint8_t *payload = event->bytes ? event->bytes +
		(event->offset - event->sector_offset) : NULL;

	for (size_t i = 0; i + 1 < file->pending_count; i++)
		sim_event_apply(&plan->disk->trace.events[file->pending[i]],
		                image);
	sim_image_write(image, event->offset, payload, (size_t)done);
	plan->report.cut = true;
	print_choice(plan, index, 2 + done);
	return event->size_before > event->offset + done ?
		event->size_before : event->offset + done;
}

static bool is_cut_here(const struct plan *plan, uint32_t inode)
{
	const struct sim_event *last;

	if (plan->kind != SIM_CRASH_KILL_CUT || plan->length == 0)
		return false;
	last = &plan->disk->trace.events[plan->length - 1];
	return last->kind == SIM_EVENT_WRITE && last->inode == inode &&
	       last->size > 1;
}

static struct sim_page *make_garbage(struct plan *plan)
{
	struct sim_page *page = sim_page_make(NULL);

	for (size_t i = 0; i < SIM_PAGE_SIZE; i += 8)
		store_le64(page->bytes + i, sim_random(&plan->random));
	return page;
}

/* How many of the changes that maps saw came before the crash. */
static size_t changes_before(const struct plan *plan)
{
	const struct sim_trace *trace = &plan->disk->trace;
	uint64_t end = plan->length + plan->map_late;
	size_t low = 0, high = trace->change_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (trace->changes[middle].at < end)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What maps held, up to the crash, for the pages of one file: backwards, for what
 * was put last into a page is what counts. */
static void apply_map(struct plan *plan, uint32_t inode,
                      struct sim_image *image, unsigned fate_of_all)
{
	const struct sim_map_change *changes = plan->disk->trace.changes;
	bool *settled = sim_allocate(plan->disk->inodes[inode].seen.count);

	for (size_t i = changes_before(plan); i-- > 0;) {
		const struct sim_map_change *change = &changes[i];
		unsigned fate = fate_of_all;

		if (change->inode != inode || settled[change->number])
			continue;
		if (is_power_loss(plan->kind) && fate == 4)
			fate = (unsigned)draw(plan, 4);
		settled[change->number] = fate != 0;
		if (fate == 1) {
			sim_image_set_page(image, change->number, NULL);
		} else if (fate == 2) {
			sim_image_set_page(image, change->number,
			                   make_garbage(plan));
		} else if (fate == 3) {
			change->page->references++;
			sim_image_set_page(image, change->number, change->page);
		}
	}
	free(settled);
}

/* Old bytes, zeros, garbage, the map's bytes, or a mixture. */
static void settle_map(struct plan *plan, uint32_t inode,
                       struct sim_image *image)
{
	const struct sim_inode *from = &plan->disk->inodes[inode];
	unsigned fate = 3;

	if (!from->mapped || from->mapped_at > plan->length)
		return;
	if (is_power_loss(plan->kind)) {
		fate = (unsigned)draw(plan, 5);
		print_choice(plan, inode, UINT64_MAX - fate);
		if (fate == 2 || fate == 4)
			print_choice(plan, inode, plan->random);
	}
	apply_map(plan, inode, image, fate);
}

static void crash_file(struct plan *plan, struct sim_disk *made,
                       uint32_t number)
{
	const struct sim_inode *from = &plan->disk->inodes[number];
	const struct sim_shadow_file *file = &plan->shadow->files[number];
	struct sim_inode *to = &made->inodes[number];
	uint64_t size;

	sim_image_copy(&to->first, &file->image);
	if (is_cut_here(plan, number)) {
		size = apply_cut(plan, file, &to->first);
	} else {
		size = choose_size(plan, file);
		print_choice(plan, mix(number, 7), size);
		apply_pending(plan, file, &to->first);
	}
	settle_map(plan, number, &to->first);
	sim_image_cut(&to->first, size);
	to->first_size = size;
	to->mode = from->mode;
	sim_inode_fill(made, number, &to->first, size);
	sim_inode_charge(to, size);
}

/* Names */

static uint32_t link_state(const struct plan *plan,
                           const struct sim_shadow_link *link, size_t state)
{
	if (state == 0)
		return link->inode;
	return plan->disk->trace.events[link->pending[state - 1]].target;
}

static uint32_t choose_link(struct plan *plan, uint32_t number)
{
	const struct sim_shadow_link *link = &plan->shadow->links[number];
	size_t state = link->pending_count;

	if (plan->kind == SIM_CRASH_LOST)
		state = 0;
	else if (plan->undo_names && link->pending_count)
		state = (size_t)draw(plan, link->pending_count + 1);
	if (state != link->pending_count)
		plan->report.names_undone++;
	if (link->pending_count)
		print_choice(plan, mix(number, 3), state);
	return link_state(plan, link, state);
}

/* Directories come before what is in them, for inodes are numbered as made.
 * Links follow the numbers of the old disk, without those that are gone. */
static void crash_names(struct plan *plan, struct sim_disk *made)
{
	for (uint32_t i = 0; i < plan->shadow->link_count; i++) {
		const struct sim_link *from = &plan->disk->links[i];
		uint32_t inode = choose_link(plan, i);
		uint32_t link;

		if (!inode || !made->inodes[from->directory].linked)
			continue;
		link = sim_link_make(made, from->directory, from->name,
		                     strlen(from->name));
		made->links[link].inode = made->links[link].first = inode;
		made->inodes[inode].linked = true;
	}
}

static void prepare_inodes(const struct plan *plan, struct sim_disk *made)
{
	for (size_t i = SIM_ROOT + 1; i < plan->shadow->file_count; i++) {
		SIM_GROW(made->inodes, made->inode_count,
		         made->inode_capacity);
		made->inodes[made->inode_count++] = (struct sim_inode){
			.kind = OS_NODE_MISSING, .memory = -1
		};
	}
}

static void crash_inodes(struct plan *plan, struct sim_disk *made)
{
	for (uint32_t i = SIM_ROOT + 1; i < made->inode_count; i++) {
		const struct sim_inode *from = &plan->disk->inodes[i];
		struct sim_inode *to = &made->inodes[i];

		if (!to->linked)
			continue;
		to->path = strdup(from->path);
		to->kind = from->kind;
		to->mode = from->mode;
		if (from->kind != OS_NODE_FILE)
			continue;
		crash_file(plan, made, i);
	}
}

static int compare_fates(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

static void count_reordered(struct plan *plan)
{
	bool lost = false;

	if (plan->fate_count == 0)
		return;
	qsort(plan->fates, plan->fate_count, sizeof plan->fates[0],
	      compare_fates);
	for (size_t i = 0; i < plan->fate_count; i++) {
		if (plan->fates[i].fate != FATE_LOST && lost)
			plan->report.reordered++;
		if (plan->fates[i].fate != FATE_KEPT)
			lost = true;
	}
}

struct sim_disk *sim_crash(struct sim_disk *disk, uint64_t length,
                           enum sim_crash_kind kind, uint64_t seed,
                           struct sim_crash_report *report)
{
	struct sim_disk *made = sim_disk_relative(disk);
	struct plan plan = { .disk = disk, .kind = kind, .length = length };

	pthread_mutex_lock(&disk->mutex);
	if (length == disk->trace.count)
		sim_trace_observe(disk);
	sim_shadow_seek(disk, length);
	plan.shadow = &disk->trace.shadow;
	plan_draw(&plan, seed);
	plan.report.fingerprint = mix(plan.shadow->durable_epoch, 11);
	made->random_state = mix(seed, length);
	prepare_inodes(&plan, made);
	crash_names(&plan, made);
	crash_inodes(&plan, made);
	count_reordered(&plan);
	pthread_mutex_unlock(&disk->mutex);
	free(plan.fates);
	if (report)
		*report = plan.report;
	return made;
}
