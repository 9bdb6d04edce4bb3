/*
 * door_names_test.c - the table of open databases' names, against a plain list.
 */
#include "test/harness.h"

#include "vfs/door.h"

enum { NAMES = 300 };

struct model {
	char texts[NAMES][8];
	bool there[NAMES];
	struct door_file *files; /* never looked into */
};

/* Only the address counts: SQLite's memory comes back under other names. */
static void expect_agreement(struct test *t, struct door_names *names,
                             const struct model *model)
{
	for (uint32_t i = 0; i < NAMES; i++) {
		struct door_file *found = door_names_find(names, model->texts[i]);

		EXPECT(t, found == (model->there[i] ? &model->files[i] : NULL));
	}
}

/* A database that is closed is found no more, and one that is open always, however
 * the table has grown meanwhile. (vfs/door_names N1) */
static void a_name_leads_to_its_database_while_that_is_open(struct test *t)
{
	struct model model = { .files = calloc(NAMES, sizeof *model.files) };
	uint64_t random = t->seed, steps = test_scaled(3000, 500);
	static struct door_names *names; /* lasts as long as the process */
	static struct heap heap;

	heap_init(&heap);
	EXPECT_OK(t, door_names_open(&heap, &names, &t->err));
	for (uint32_t i = 0; i < NAMES; i++)
		snprintf(model.texts[i], sizeof model.texts[i], "n%u", i);
	for (uint64_t step = 0; step < steps && !t->failed; step++) {
		uint32_t i = (uint32_t)(test_random(&random) %
		                        (step / 10 % NAMES + 1));

		if (model.there[i])
			door_names_remove(names, model.texts[i]);
		else
			EXPECT_OK(t, door_names_add(names, model.texts[i],
			                            &model.files[i], &t->err));
		model.there[i] = !model.there[i];
		if (step % 16 == 0)
			expect_agreement(t, names, &model);
	}
	for (uint32_t i = 0; i < NAMES; i++)
		if (model.there[i])
			door_names_remove(names, model.texts[i]);
	memset(model.there, 0, sizeof model.there);
	expect_agreement(t, names, &model);
	free(model.files);
}

static const struct test_case cases[] = {
	CASE(a_name_leads_to_its_database_while_that_is_open),
};
TEST_MAIN(cases)
