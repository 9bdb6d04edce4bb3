/*
 * page_file_pace.c - when to ask the disk for an image before it is touched.
 *
 * The first reading of a version touches all of it. When such readings wait for the
 * disk, the next ones ask for the whole image at once before they touch it (93 us
 * where faults took 180, for 16 KB at random): the kernel would read 128 KB around
 * it. A run of adjoining images and a walk over leaves want just that, and are left
 * to the kernel: asking ahead for them, by the image or by up to 2 MB, made cold
 * scans of 200 to 500 MB 1.3 to 2 times as long. While nothing waits nothing is
 * asked.
 */
#include "vfs/page_file.h"

enum {
	WAITED_US = 40,   /* longer than any checksum: the disk was asked   */
	COLD_CREDIT = 32, /* so many are watched after one that waited      */
	RUN_MIN = 2,
	RUN_GAP = 16,     /* units that may lie between images of a run     */
	WALK_CREDIT = 8,  /* so many belong to a walk after a hint          */
};

static uint32_t relaxed(const _Atomic uint32_t *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

static void relax(_Atomic uint32_t *at, uint32_t value)
{
	atomic_store_explicit(at, value, memory_order_relaxed);
}

/* Asks for units [from, to) as far as they are mapped in the chunk of `from`. */
static void ask_for(struct page_file *file, uint32_t from, uint64_t to)
{
	uint64_t mapped =
		atomic_load_explicit(&file->units, memory_order_acquire);
	uint64_t end = page_file_chunk_end(page_file_chunk_of(from));
	struct os *os = file->os_file->os;

	end = end < mapped ? end : mapped;
	end = end < to ? end : to;
	if (from < end)
		os->methods->advise(os, page_file_bytes(file, from),
		                    (end - from) * PLACE_SIZE,
		                    OS_ADVICE_WILL_NEED);
}

void page_file_pace_before(struct page_file *file, const struct page_ref *ref)
{
	struct page_file_pace *pace = &file->pace;
	uint32_t units = ref->length / PLACE_SIZE;
	uint32_t gap = ref->place - relaxed(&pace->end);
	uint32_t run = gap <= RUN_GAP ? relaxed(&pace->run) + 1 : 0;
	uint32_t walk = relaxed(&pace->walk);

	relax(&pace->end, ref->place + units);
	relax(&pace->run, run);
	if (relaxed(&pace->cold) == 0 || run >= RUN_MIN)
		return;
	if (walk)
		relax(&pace->walk, walk - 1);
	else
		ask_for(file, ref->place, (uint64_t)ref->place + units);
}

void page_file_pace_after(struct page_file *file, uint64_t took_us)
{
	uint32_t cold = relaxed(&file->pace.cold);

	if (took_us >= WAITED_US)
		relax(&file->pace.cold, COLD_CREDIT);
	else if (cold)
		relax(&file->pace.cold, cold - 1);
}

void page_file_pace_hint(struct page_file *file)
{
	relax(&file->pace.walk, WALK_CREDIT);
}
