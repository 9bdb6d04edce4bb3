/*
 * explore.c - crash states by the thousand, in worker processes.
 *
 * The workload is played before the workers are forked, so all share one trace.
 * A worker goes through the trace in rounds, always forward, for that is cheap;
 * each round brings a new seed. Rounds end when the states wanted are judged or
 * a whole round brought none that was new. The parent watches: a worker reports
 * where it is before each step, so that its death can be told as a finding.
 */
#define _GNU_SOURCE
#include "test/support/explore.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_MAX = 16, RECRASHES = 4, RUN_LENGTH = 16, CALLS_SHOWN = 24,
       LOOK_US = 5000, LOOKS_A_SECOND = 1000000 / LOOK_US };

/* What a worker tells its parent; in shared memory. */
struct board {
	_Atomic uint64_t progress;
	char at[256]; /* the state or variant being judged */
	uint64_t states, recrashed, by_kind[SIM_CRASH_KINDS];
	_Atomic uint64_t findings;
	char finding[EXPLORE_FINDINGS_MAX][EXPLORE_FINDING_SIZE];
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t state = a * UINT64_C(0xff51afd7ed558ccd) + b;

	return test_random(&state);
}

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

__attribute__((format(printf, 2, 3)))
static void add_finding(struct board *board, const char *format, ...)
{
	va_list arguments;
	uint64_t n = board->findings++;

	if (n >= EXPLORE_FINDINGS_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(board->finding[n], EXPLORE_FINDING_SIZE, format, arguments);
	va_end(arguments);
}

/* Workers */

struct crew {
	unsigned workers, hang_seconds;
	struct board *boards;
	void (*body)(void *job, unsigned worker, struct board *board);
	void *job;
};

static pid_t start_worker(const struct crew *crew, unsigned worker)
{
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	crew->body(crew->job, worker, &crew->boards[worker]);
	fflush(NULL);
	_exit(0);
}

/* Who stands still is counted in looks, not by a clock: a machine that stops worker and
 * watcher together, as for a suspend, is no hang. */
struct watch {
	pid_t child;
	uint64_t progress, looks;
};

static void watch_worker(const struct crew *crew, struct watch *watch,
                         struct board *board)
{
	uint64_t progress = atomic_load(&board->progress);
	int status;

	if (waitpid(watch->child, &status, WNOHANG) == watch->child) {
		watch->child = 0;
		if (WIFSIGNALED(status))
			add_finding(board, "%s: killed by signal %d", board->at,
			            WTERMSIG(status));
		else if (WEXITSTATUS(status))
			add_finding(board, "%s: the process ended with %d",
			            board->at, WEXITSTATUS(status));
		return;
	}
	if (progress != watch->progress) {
		watch->progress = progress;
		watch->looks = 0;
	} else if (++watch->looks > crew->hang_seconds * LOOKS_A_SECOND) {
		kill(watch->child, SIGKILL);
		waitpid(watch->child, &status, 0);
		watch->child = 0;
		add_finding(board, "%s: hangs for %u s", board->at,
		            crew->hang_seconds);
	}
}

static void run_crew(const struct crew *crew)
{
	struct watch watches[WORKERS_MAX];
	unsigned alive = crew->workers;

	for (unsigned i = 0; i < crew->workers; i++)
		watches[i] = (struct watch){ .child = start_worker(crew, i) };
	while (alive) {
		usleep(LOOK_US);
		alive = 0;
		for (unsigned i = 0; i < crew->workers; i++) {
			if (watches[i].child)
				watch_worker(crew, &watches[i],
				             &crew->boards[i]);
			alive += watches[i].child != 0;
		}
	}
}

static struct board *make_boards(unsigned workers)
{
	struct board *boards = mmap(NULL, workers * sizeof *boards,
	                            PROT_READ | PROT_WRITE,
	                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (boards == MAP_FAILED)
		abort();
	return boards;
}

_Atomic uint64_t *explore_counter(void)
{
	void *counter = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE,
	                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (counter == MAP_FAILED)
		abort();
	return counter;
}

static void collect(struct board *boards, unsigned workers,
                    struct explore_result *result)
{
	for (unsigned i = 0; i < workers; i++) {
		const struct board *board = &boards[i];

		result->states += board->states;
		result->recrashed += board->recrashed;
		for (size_t k = 0; k < SIM_CRASH_KINDS; k++)
			result->by_kind[k] += board->by_kind[k];
		for (uint64_t f = 0; f < board->findings; f++) {
			if (f < EXPLORE_FINDINGS_MAX &&
			    result->findings < EXPLORE_FINDINGS_MAX)
				memcpy(result->finding[result->findings],
				       board->finding[f], EXPLORE_FINDING_SIZE);
			result->findings++;
		}
	}
	munmap(boards, workers * sizeof *boards);
}

/* States */

bool explore_is_kill(const struct explore_state *state)
{
	bool killed = state->kind >= SIM_CRASH_KILL;

	return killed && (!state->recrashed || state->rekind >= SIM_CRASH_KILL);
}

uint64_t explore_mark_max(const struct explore_state *state, uint32_t kind,
                          uint64_t none)
{
	uint64_t largest = none;
	bool any = false;

	for (size_t i = 0; i < state->mark_count; i++) {
		if (state->marks[i].kind != kind)
			continue;
		if (!any || state->marks[i].value > largest)
			largest = state->marks[i].value;
		any = true;
	}
	return largest;
}

struct job {
	const struct explore_plan *plan;
	struct sim_disk *disk;
	const struct board *boards; /* of all workers */
	uint64_t length;
	unsigned workers;
	double started;
	uint64_t wanted;          /* by one worker                            */
	unsigned chance;          /* of a million: each prefix and kind       */
	uint64_t *seen;           /* a hash set of states judged              */
	size_t seen_size;
	uint64_t fresh;           /* states judged in this round              */
};

static void make_state(const struct job *job, uint64_t index,
                       enum sim_crash_kind kind, uint64_t seed,
                       struct explore_state *state)
{
	size_t count = 0;
	const struct sim_mark *marks = sim_marks(job->disk, &count);
	uint64_t returned = index;

	if (kind == SIM_CRASH_KILL_CUT && index)
		returned--; /* the last call was cut: it never returned */
	while (count && marks[count - 1].at > returned)
		count--;
	*state = (struct explore_state){ .index = index, .kind = kind,
		                         .seed = seed, .marks = marks,
		                         .mark_count = count };
}

static bool is_new(struct job *job, const struct explore_state *state,
                   const struct sim_crash_report *report)
{
	uint64_t key = mix(report->fingerprint, state->mark_count * 2 +
	                   (state->kind >= SIM_CRASH_KILL)) | 1;
	size_t at = (size_t)key & (job->seen_size - 1);

	while (job->seen[at] && job->seen[at] != key)
		at = (at + 1) & (job->seen_size - 1);
	if (job->seen[at])
		return false;
	job->seen[at] = key;
	return true;
}

/* A state counts for every kind of thing that happened in it. */
static void count_kinds(struct board *board,
                        const struct sim_crash_report *report,
                        enum sim_crash_kind kind)
{
	bool power = kind < SIM_CRASH_KILL;

	for (unsigned k = 0; k < SIM_CRASH_KINDS; k++) {
		enum sim_crash_kind other = (enum sim_crash_kind)k;
		bool torn = other == SIM_CRASH_TORN_512 ||
		            other == SIM_CRASH_TORN_4096;

		if (other == SIM_CRASH_KEPT || other == SIM_CRASH_KILL || torn)
			continue;
		if ((other < SIM_CRASH_KILL) == power &&
		    sim_crash_is(report, other))
			board->by_kind[k]++;
	}
	if (sim_crash_is(report, kind) &&
	    (kind == SIM_CRASH_TORN_512 || kind == SIM_CRASH_TORN_4096))
		board->by_kind[kind]++;
	if (power && !sim_crash_is(report, SIM_CRASH_LOST) &&
	    !report->writes_torn)
		board->by_kind[SIM_CRASH_KEPT]++;
	if (!power && !report->cut)
		board->by_kind[SIM_CRASH_KILL]++;
}

static void describe_last(struct sim_disk *disk, uint64_t index, char *text,
                          size_t size)
{
	if (index == 0)
		snprintf(text, size, "the beginning");
	else
		sim_trace_describe(disk, index - 1, text, size);
}

/* Before anything may go wrong. */
static void announce(const struct job *job, struct board *board,
                     const struct explore_state *state, const char *more)
{
	snprintf(board->at, sizeof board->at,
	         "%s: EXPLORE_STATE=%" PRIu64 ":%s:%" PRIu64 "%s",
	         job->plan->name, state->index,
	         sim_crash_kind_name(state->kind), state->seed, more);
	atomic_fetch_add(&board->progress, 1);
}

static void report_finding(const struct job *job, struct board *board,
                           const struct explore_state *state, int code,
                           const struct err *err)
{
	char last[256];

	describe_last(job->disk, state->index, last, sizeof last);
	add_finding(board, "%s (after %s): %s: %s", board->at, last,
	            err_name(code), err->text);
}

static void judge(const struct job *job, struct board *board,
                  struct sim_disk *disk, const struct explore_state *state)
{
	struct err err = { 0 };
	int code = job->plan->check(job->plan->context, disk, state, &err);

	board->states++;
	if (code)
		report_finding(job, board, state, code, &err);
}

static void recrash_at(const struct job *job, struct board *board,
                       struct sim_disk *disk, struct explore_state state,
                       uint64_t index, enum sim_crash_kind kind, uint64_t seed)
{
	struct sim_disk *again;
	char more[128];

	snprintf(more, sizeof more, ":%" PRIu64 ":%s:%" PRIu64, index,
	         sim_crash_kind_name(kind), seed);
	announce(job, board, &state, more);
	again = sim_crash(disk, index, kind, seed, NULL);
	sim_trace_stop(again);
	state.recrashed = true;
	state.rekind = kind;
	judge(job, board, again, &state);
	board->recrashed++;
	sim_disk_close(again);
}

/* Lets the crashed disk recover under a running trace. */
static bool recover(const struct job *job, struct board *board,
                    struct sim_disk *disk, const struct explore_state *state)
{
	const struct explore_plan *plan = job->plan;
	struct err err = { 0 };
	int code;

	announce(job, board, state, "");
	code = plan->recover ? plan->recover(plan->context, disk, &err) :
		plan->check(plan->context, disk, state, &err);
	if (code && plan->recover)
		report_finding(job, board, state, code, &err);
	return code == ERR_NONE;
}

static void recrash(const struct job *job, struct board *board,
                    const struct explore_state *state)
{
	struct sim_disk *disk = sim_crash(job->disk, state->index, state->kind,
	                                  state->seed, NULL);
	uint64_t random = mix(state->seed, state->index);

	if (recover(job, board, disk, state)) {
		uint64_t length = sim_trace_length(disk);

		for (unsigned i = 0; i < RECRASHES; i++) {
			uint64_t index = test_random(&random) % (length + 1);
			enum sim_crash_kind kind = (enum sim_crash_kind)(
				test_random(&random) % SIM_CRASH_KINDS);

			recrash_at(job, board, disk, *state, index, kind,
			           test_random(&random) % 1000);
		}
	}
	sim_disk_close(disk);
}

static void explore_state(struct job *job, struct board *board, uint64_t index,
                          enum sim_crash_kind kind, uint64_t seed)
{
	struct sim_crash_report report;
	struct explore_state state;
	struct sim_disk *disk;
	bool fresh;

	make_state(job, index, kind, seed, &state);
	announce(job, board, &state, "");
	disk = sim_crash(job->disk, index, kind, seed, &report);
	fresh = (kind != SIM_CRASH_KILL_CUT || report.cut) &&
	        is_new(job, &state, &report);
	if (fresh) {
		sim_trace_stop(disk);
		judge(job, board, disk, &state);
		count_kinds(board, &report, kind);
		job->fresh++;
	}
	sim_disk_close(disk);
	if (fresh && job->plan->recrash_every &&
	    job->fresh % job->plan->recrash_every == 0)
		recrash(job, board, &state);
}

/* Rounds */

static bool has_enough(const struct job *job)
{
	uint64_t findings = 0;

	for (unsigned i = 0; i < job->workers; i++)
		findings += atomic_load(&job->boards[i].findings);
	return findings >= (job->plan->enough ? job->plan->enough
	                                      : EXPLORE_FINDINGS_MAX);
}

static bool is_over(const struct job *job, const struct board *board)
{
	return board->states >= job->wanted || has_enough(job) ||
	       (job->plan->seconds && seconds_now() - job->started >
	        job->plan->seconds);
}

static bool is_drawn(const struct job *job, uint64_t index, unsigned kind,
                     uint64_t round)
{
	return mix(mix(job->plan->seed + round, index), kind) % 1000000 <
	       job->chance;
}

/* Without sampling, what has only one outcome needs only one round. A cut has
 * as many outcomes as the write has bytes, few of them telling. */
static bool needs_round(const struct job *job, unsigned kind, uint64_t round)
{
	if (kind == SIM_CRASH_KILL_CUT && round % 4)
		return false;
	return round == 0 || job->chance < 1000000 ||
	       (kind != SIM_CRASH_LOST && kind != SIM_CRASH_KEPT &&
	        kind != SIM_CRASH_KILL);
}

static void explore_prefix(struct job *job, struct board *board,
                           uint64_t index, uint64_t round)
{
	for (unsigned kind = 0; kind < SIM_CRASH_KINDS; kind++)
		if (needs_round(job, kind, round) &&
		    is_drawn(job, index, kind, round) && !is_over(job, board))
			explore_state(job, board, index,
			              (enum sim_crash_kind)kind,
			              job->plan->seed + round);
}

static void crash_worker(void *context, unsigned worker, struct board *board)
{
	struct job *job = context;

	sim_disk_forked(job->disk);
	job->seen_size = 1024;
	while (job->seen_size < 4 * job->wanted)
		job->seen_size *= 2;
	job->seen = calloc(job->seen_size, sizeof *job->seen);
	if (!job->seen)
		abort();
	for (uint64_t round = 0; !is_over(job, board); round++) {
		uint64_t before = job->fresh;

		for (uint64_t n = 0; n <= job->length; n++)
			if (n / RUN_LENGTH % job->workers == worker)
				explore_prefix(job, board, n, round);
		if (job->fresh == before && job->chance == 1000000)
			break;
	}
	free(job->seen);
}

/* One state alone */

static bool parse_crash(const char **text, uint64_t *index,
                        enum sim_crash_kind *kind, uint64_t *seed)
{
	char name[32];
	int used = 0;

	if (sscanf(*text, "%" SCNu64 ":%31[a-z0-9-]:%" SCNu64 "%n", index, name,
	           seed, &used) != 3)
		return false;
	for (unsigned k = 0; k < SIM_CRASH_KINDS; k++) {
		if (strcmp(sim_crash_kind_name((enum sim_crash_kind)k), name))
			continue;
		*kind = (enum sim_crash_kind)k;
		*text += used + ((*text)[used] == ':');
		return true;
	}
	return false;
}

static void show_calls(struct sim_disk *disk, uint64_t index)
{
	uint64_t from = index > CALLS_SHOWN ? index - CALLS_SHOWN : 0;
	char text[256];

	for (uint64_t i = from; i < index; i++) {
		sim_trace_describe(disk, i, text, sizeof text);
		printf("note   %s\n", text);
	}
}

static void show_report(const struct sim_crash_report *report)
{
	printf("note   crash: %u writes lost, %u kept, %u torn, %u reordered, "
	       "%u sizes and %u names undone%s\n", report->writes_lost,
	       report->writes_kept, report->writes_torn, report->reordered,
	       report->sizes_undone, report->names_undone,
	       report->cut ? ", cut" : "");
}

static void explore_alone(struct job *job, struct board *board,
                          const char *text)
{
	struct sim_crash_report report;
	struct explore_state state;
	struct sim_disk *disk;
	enum sim_crash_kind kind;
	uint64_t index, seed;

	if (!parse_crash(&text, &index, &kind, &seed) || index > job->length) {
		add_finding(board, "EXPLORE_STATE is not index:kind:seed");
		return;
	}
	make_state(job, index, kind, seed, &state);
	announce(job, board, &state, "");
	disk = sim_crash(job->disk, index, kind, seed, &report);
	show_calls(job->disk, index);
	show_report(&report);
	if (!*text) {
		judge(job, board, disk, &state);
	} else if (parse_crash(&text, &index, &kind, &seed) &&
	           recover(job, board, disk, &state) &&
	           index <= sim_trace_length(disk)) {
		show_calls(disk, index);
		recrash_at(job, board, disk, state, index, kind, seed);
	} else {
		add_finding(board, "EXPLORE_STATE: no such recovery");
	}
	sim_disk_close(disk);
}

/* From outside */

static void prepare(struct job *job)
{
	const struct explore_plan *plan = job->plan;
	uint64_t by_round = plan->states / (plan->rounds ? plan->rounds : 1);
	uint64_t slots;

	job->length = sim_trace_length(job->disk);
	job->workers = plan->workers ? plan->workers : 2;
	if (job->workers > WORKERS_MAX)
		job->workers = WORKERS_MAX;
	job->wanted = (plan->states + job->workers - 1) / job->workers;
	slots = (job->length + 1) * SIM_CRASH_KINDS;
	job->chance = slots <= by_round ? 1000000 :
		(unsigned)(by_round * 1000000 / slots);
	if (!job->chance)
		job->chance = 1;
	job->started = seconds_now();
}

bool explore_crashes(const struct explore_plan *plan,
                     struct explore_result *result, struct err *err)
{
	const char *alone = getenv("EXPLORE_STATE");
	struct job job = { .plan = plan };
	struct crew crew;

	memset(result, 0, sizeof *result);
	job.disk = sim_disk_create(&plan->options);
	if (plan->work(plan->context, job.disk, err)) {
		sim_disk_close(job.disk);
		return false;
	}
	prepare(&job);
	crew = (struct crew){
		.workers = job.workers,
		.hang_seconds = plan->hang_seconds ? plan->hang_seconds : 60,
		.boards = make_boards(job.workers),
		.body = crash_worker,
		.job = &job,
	};
	job.boards = crew.boards;
	if (alone)
		explore_alone(&job, crew.boards, alone);
	else
		run_crew(&crew);
	collect(crew.boards, crew.workers, result);
	result->trace_length = job.length;
	result->seconds = seconds_now() - job.started;
	sim_disk_close(job.disk);
	return true;
}

static void print_findings(const char *name,
                           const struct explore_result *result)
{
	for (uint64_t i = 0; i < result->findings && i < EXPLORE_FINDINGS_MAX;
	     i++)
		printf("note %s: %s\n", name, result->finding[i]);
}

void explore_print(const struct explore_plan *plan,
                   const struct explore_result *result)
{
	printf("note %s: %" PRIu64 " states of %" PRIu64 " calls in %.1f s:",
	       plan->name, result->states, result->trace_length,
	       result->seconds);
	for (unsigned k = 0; k < SIM_CRASH_KINDS; k++)
		printf(" %s %" PRIu64 ",",
		       sim_crash_kind_name((enum sim_crash_kind)k),
		       result->by_kind[k]);
	printf(" recrashed %" PRIu64 "; %" PRIu64 " findings\n",
	       result->recrashed, result->findings);
	print_findings(plan->name, result);
}

void explore_expect(struct test *t, const struct explore_plan *plan)
{
	struct explore_result result;

	if (!explore_crashes(plan, &result, &t->err)) {
		test_fail(t, __FILE__, __LINE__, "%s: the workload failed: %s",
		          plan->name, t->err.text);
		return;
	}
	explore_print(plan, &result);
	if (result.findings) {
		test_fail(t, __FILE__, __LINE__, "%s", result.finding[0]);
		return;
	}
	for (unsigned k = 0; k < SIM_CRASH_KINDS && !getenv("EXPLORE_STATE");
	     k++)
		if (!result.by_kind[k])
			test_fail(t, __FILE__, __LINE__,
			          "%s: no state was of kind %s", plan->name,
			          sim_crash_kind_name((enum sim_crash_kind)k));
}

/* Variants */

struct variant_job {
	const struct explore_variants *variants;
	unsigned workers;
};

static bool play_variant(const struct explore_variants *variants, uint64_t n,
                         struct board *board)
{
	struct err err = { 0 };
	bool reached = true;
	int code;

	snprintf(board->at, sizeof board->at, "%s: EXPLORE_VARIANT=%" PRIu64,
	         variants->name, n);
	atomic_fetch_add(&board->progress, 1);
	code = variants->play(variants->context, n, &reached, &err);
	if (code)
		add_finding(board, "%s: %s: %s", board->at, err_name(code),
		            err.text);
	board->states += reached;
	return reached && board->findings < (variants->enough
	                                             ? variants->enough
	                                             : EXPLORE_FINDINGS_MAX);
}

static void variant_worker(void *context, unsigned worker,
                           struct board *board)
{
	const struct variant_job *job = context;
	const struct explore_variants *variants = job->variants;
	uint64_t step = variants->step ? variants->step : 1;

	for (uint64_t i = worker; !variants->limit || i < variants->limit;
	     i += job->workers)
		if (!play_variant(variants, variants->first + i * step, board))
			break;
}

uint64_t explore_each(const struct explore_variants *variants,
                      struct explore_result *result)
{
	const char *alone = getenv("EXPLORE_VARIANT");
	struct variant_job job = { .variants = variants };
	struct crew crew;

	memset(result, 0, sizeof *result);
	job.workers = variants->workers ? variants->workers : 2;
	if (job.workers > WORKERS_MAX)
		job.workers = WORKERS_MAX;
	crew = (struct crew){
		.workers = job.workers,
		.hang_seconds = variants->hang_seconds ?
			variants->hang_seconds : 60,
		.boards = make_boards(job.workers),
		.body = variant_worker,
		.job = &job,
	};
	result->seconds = -seconds_now();
	if (alone)
		play_variant(variants, strtoull(alone, NULL, 10), crew.boards);
	else
		run_crew(&crew);
	collect(crew.boards, crew.workers, result);
	result->seconds += seconds_now();
	return result->states;
}

void explore_each_expect(struct test *t,
                         const struct explore_variants *variants)
{
	struct explore_result result;
	uint64_t played = explore_each(variants, &result);

	printf("note %s: %" PRIu64 " variants in %.1f s; %" PRIu64
	       " findings\n", variants->name, played, result.seconds,
	       result.findings);
	print_findings(variants->name, &result);
	if (result.findings)
		test_fail(t, __FILE__, __LINE__, "%s", result.finding[0]);
	else if (!played)
		test_fail(t, __FILE__, __LINE__, "%s: nothing was played",
		          variants->name);
}
