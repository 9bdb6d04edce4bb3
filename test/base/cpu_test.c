/*
 * cpu_test.c - the level picked is one this machine has; a wish only lowers it.
 */
#include "test/harness.h"

#include "base/cpu.h"

static bool machine_says(const char *flag)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	char line[8192], word[64];
	bool found = false;

	snprintf(word, sizeof word, " %s ", flag);
	while (file && !found && fgets(line, sizeof line, file)) {
		char *end = strchr(line, '\n');

		if (end)
			*end = ' ';
		found = strncmp(line, "flags", 5) == 0 && strstr(line, word);
	}
	if (file)
		fclose(file);
	return found;
}

static void the_best_level_is_what_the_machine_has(struct test *t)
{
	enum cpu_level best = cpu_level_pick(NULL);

#if defined(__x86_64__)
	bool avx2 = machine_says("avx2") && machine_says("fma") &&
	            machine_says("f16c");
	bool avx512 = machine_says("avx512f") && machine_says("avx512bw") &&
	              machine_says("avx512dq") && machine_says("avx512vl") &&
	              machine_says("avx512_vnni");

	EXPECT_EQ(t, best, avx512 ? CPU_AVX512 : avx2 ? CPU_AVX2 : CPU_C);
#elif defined(__aarch64__)
	(void)machine_says;
	EXPECT_EQ(t, best, CPU_NEON);
#else
	(void)machine_says;
	EXPECT_EQ(t, best, CPU_C);
#endif
}

static void a_wish_can_only_lower_it(struct test *t)
{
	enum cpu_level best = cpu_level_pick(NULL);

	EXPECT_EQ(t, cpu_level_pick("c"), CPU_C);
	EXPECT(t, cpu_level_pick("avx2") <= best);
	EXPECT(t, cpu_level_pick("avx512") <= best);
	EXPECT(t, cpu_level_pick("neon") <= best);
	if (best >= CPU_AVX2)
		EXPECT_EQ(t, cpu_level_pick("avx2"), CPU_AVX2);
	EXPECT_EQ(t, cpu_level_pick("quantum"), best);
	EXPECT_EQ(t, cpu_level_pick(""), best);
}

static void levels_have_names_that_are_wishes(struct test *t)
{
	enum cpu_level best = cpu_level_pick(NULL);

	EXPECT_EQ(t, cpu_level_pick(cpu_level_name(best)), best);
	EXPECT_STR(t, cpu_level_name(CPU_C), "c");
	EXPECT_STR(t, cpu_level_name(CPU_NEON), "neon");
	EXPECT_STR(t, cpu_level_name(CPU_AVX2), "avx2");
	EXPECT_STR(t, cpu_level_name(CPU_AVX512), "avx512");
}

static const struct test_case cases[] = {
	CASE(the_best_level_is_what_the_machine_has),
	CASE(a_wish_can_only_lower_it),
	CASE(levels_have_names_that_are_wishes),
};
TEST_MAIN(cases)
