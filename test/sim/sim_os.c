/*
 * sim_os.c - the simulated table's directories and files.
 *
 * Every call first passes sim_enter(). What remains is the ordinary work, under
 * the disk's mutex, and an event for the trace.
 */
#define _GNU_SOURCE
#include "test/sim/sim_internal.h"

#include <assert.h>
#include <stdlib.h>

enum { NAME_MAX_BYTES = 255 };

/* Paths */

struct place {
	uint32_t directory;
	const char *name; /* the last part; empty means the directory itself */
	size_t name_size;
	uint32_t inode;   /* 0 = not there                                  */
	char path[4096];  /* from "/", without it                           */
};

static bool leaves_directory(const char *name)
{
	size_t size = strlen(name);

	return name[0] == '/' || strcmp(name, "..") == 0 ||
	       strncmp(name, "../", 3) == 0 || strstr(name, "/../") ||
	       (size >= 3 && strcmp(name + size - 3, "/..") == 0);
}

static uint32_t look_up(const struct sim_disk *disk, uint32_t directory,
                        const char *name, size_t size)
{
	long link;

	if (size == 0 || (size == 1 && name[0] == '.'))
		return directory;
	link = sim_link_find(disk, directory, name, size);
	return link < 0 ? 0 : disk->links[link].inode;
}

/* Walks to the last part of `name`. Under the mutex. */
static int find_place(struct sim_disk *disk, uint32_t from, const char *name,
                      const char *operation, struct place *place,
                      struct err *err)
{
	const char *slash;

	place->directory = from;
	snprintf(place->path, sizeof place->path, "%s%s%s",
	         disk->inodes[from].path,
	         disk->inodes[from].path[0] && name[0] ? "/" : "", name);
	for (const char *part = name;; part = slash + 1) {
		size_t size;

		slash = strchr(part, '/');
		size = slash ? (size_t)(slash - part) : strlen(part);
		if (size > NAME_MAX_BYTES)
			return err_set(err, ERR_CANTOPEN, operation, name,
			               "File name too long");
		place->name = part;
		place->name_size = size;
		place->inode = look_up(disk, place->directory, part, size);
		if (!slash)
			return ERR_NONE;
		if (!place->inode)
			return err_set(err, ERR_MISSING, operation, name,
			               "No such file or directory");
		if (disk->inodes[place->inode].kind != OS_NODE_DIRECTORY)
			return err_set(err, ERR_CANTOPEN, operation, name,
			               "Not a directory");
		place->directory = place->inode;
	}
}

/* `dir` NULL means the user's path, from "/". */
static int find_under(struct sim_disk *disk, struct os_file *dir,
                      const char *name, const char *operation,
                      struct place *place, struct err *err)
{
	if (!dir)
		return find_place(disk, SIM_ROOT, name + (name[0] == '/'),
		                  operation, place, err);
	if (leaves_directory(name))
		return err_set(err, ERR_INVALID, operation, name,
		               "the name leaves the database directory");
	return find_place(disk, sim_file_of(dir)->inode, name, operation, place,
	                  err);
}

static const char *path_of(struct os_file *dir, const char *name,
                           char path[4096])
{
	const char *base = dir ? sim_file_of(dir)->path : "";

	name += name[0] == '/';
	snprintf(path, 4096, "%s%s%s", base, base[0] && name[0] ? "/" : "",
	         name);
	return path;
}

static int fail_missing(struct err *err, const char *operation,
                        const char *name)
{
	return err_set(err, ERR_MISSING, operation, name,
	               "No such file or directory");
}

/* Open files */

static struct os_file *add_file(struct sim_process *process, uint32_t inode,
                                const char *name, bool writable)
{
	struct sim_file *made = sim_allocate(sizeof *made);
	size_t size = strlen(name);

	made->file.os = &process->os;
	if (size < sizeof made->file.name)
		memcpy(made->file.name, name, size + 1);
	else
		snprintf(made->file.name, sizeof made->file.name, "...%s",
		         name + size - 124);
	made->inode = inode;
	made->path = process->disk->inodes[inode].path;
	made->writable = writable;
	made->next = process->files;
	made->link = &process->files;
	if (made->next)
		made->next->link = &made->next;
	process->files = made;
	process->disk->inodes[inode].opens++;
	return &made->file;
}

/* Gives a name to an inode, 0 to unlink, and tells the trace. */
static void set_link(struct sim_disk *disk, enum sim_call call,
                     const struct place *place, uint32_t inode)
{
	uint32_t number = sim_link_make(disk, place->directory, place->name,
	                                place->name_size);
	struct sim_link *link = &disk->links[number];

	if (link->inode) {
		disk->inodes[link->inode].linked = false;
		sim_inode_settle(&disk->inodes[link->inode]);
	}
	link->inode = inode;
	if (inode)
		disk->inodes[inode].linked = true;
	sim_trace_add(disk, &(struct sim_event){
		.kind = SIM_EVENT_LINK, .call = call,
		.inode = place->directory, .link = number, .target = inode,
	});
}

/* Directories */

static int sim_directory_open(struct os *os, const char *path,
                              struct os_file **dir, struct err *err)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_disk *disk = process->disk;
	struct place place;
	int rc;

	rc = sim_enter(process, SIM_CALL_DIRECTORY_OPEN, "open directory",
	                path, path + (path[0] == '/'), err).code;
	if (!rc)
		rc = find_under(disk, NULL, path, "open directory", &place,
		                err);
	if (!rc && !place.inode)
		rc = fail_missing(err, "open directory", path);
	if (!rc && disk->inodes[place.inode].kind != OS_NODE_DIRECTORY)
		rc = err_set(err, ERR_CANTOPEN, "open directory", path,
		             "Not a directory");
	if (!rc)
		*dir = add_file(process, place.inode, path, false);
	return sim_leave(disk, rc);
}

static int sim_directory_make(struct os *os, struct os_file *dir,
                              const char *name, struct err *err)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_disk *disk = process->disk;
	struct place place;
	char path[4096];
	int rc;

	rc = sim_enter(process, SIM_CALL_DIRECTORY_MAKE, "make directory",
	                name, path_of(dir, name, path), err).code;
	if (!rc)
		rc = find_under(disk, dir, name, "make directory", &place,
		                err);
	if (!rc && place.inode)
		rc = err_set(err, ERR_EXISTS, "make directory", name,
		             "File exists");
	if (!rc)
		set_link(disk, SIM_CALL_DIRECTORY_MAKE, &place,
		         sim_inode_make(disk, OS_NODE_DIRECTORY, 0755,
		                        place.path));
	return sim_leave(disk, rc);
}

/* The directory `name` under `dir`, or `dir` itself; 0 with a sentence. */
static uint32_t subdirectory(struct os_file *dir, const char *name,
                             const char *operation, int *rc, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(dir);
	struct place place;

	if (*rc)
		return 0;
	if (!name)
		return sim_file_of(dir)->inode;
	*rc = find_under(disk, dir, name, operation, &place, err);
	if (*rc)
		return 0;
	if (!place.inode)
		*rc = fail_missing(err, operation, name);
	else if (disk->inodes[place.inode].kind != OS_NODE_DIRECTORY)
		*rc = err_set(err, ERR_CANTOPEN, operation, name,
		              "Not a directory");
	return *rc ? 0 : place.inode;
}

/* `each` runs without the mutex, for it may make calls. */
static int sim_directory_list(struct os_file *dir, const char *name,
                              int (*each)(void *context, const char *entry),
                              void *context, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(dir);
	uint32_t directory;
	int rc;

	rc = sim_enter_file(dir, SIM_CALL_DIRECTORY_LIST, "list directory",
	                err).code;
	directory = subdirectory(dir, name, "list directory", &rc, err);
	for (size_t i = 0; !rc && i < disk->link_count; i++) {
		char entry[NAME_MAX_BYTES + 1];

		if (disk->links[i].directory != directory ||
		    !disk->links[i].inode)
			continue;
		strcpy(entry, disk->links[i].name);
		pthread_mutex_unlock(&disk->mutex);
		rc = each(context, entry);
		pthread_mutex_lock(&disk->mutex);
	}
	return sim_leave(disk, rc);
}

static int sim_directory_sync(struct os_file *dir, const char *name,
                              struct err *err)
{
	struct sim_disk *disk = sim_disk_of(dir);
	uint32_t directory;
	char path[4096];
	int rc;

	rc = sim_enter(sim_process_of(dir->os), SIM_CALL_DIRECTORY_SYNC,
	                "sync directory", name ? name : dir->name,
	                path_of(dir, name ? name : "", path), err).code;
	directory = subdirectory(dir, name, "sync directory", &rc, err);
	if (!rc)
		sim_trace_add(disk, &(struct sim_event){
			.kind = SIM_EVENT_DIRECTORY_SYNC,
			.call = SIM_CALL_DIRECTORY_SYNC, .inode = directory,
		});
	return sim_leave(disk, rc);
}

static void fill_identity(const struct sim_disk *disk, uint32_t number,
                          struct os_identity *identity)
{
	const struct sim_inode *inode = &disk->inodes[number];

	*identity = (struct os_identity){
		.device = 1,
		.inode = number,
		.size = inode->size,
		.allocated = inode->size,
		.mode = inode->mode,
		.kind = inode->kind,
	};
}

static int sim_identify(struct os *os, struct os_file *dir, const char *path,
                        struct os_identity *identity, struct err *err)
{
	struct sim_process *process = sim_process_of(os);
	struct sim_disk *disk = process->disk;
	struct place place;
	char whole[4096];
	int rc;

	rc = sim_enter(process, SIM_CALL_IDENTIFY, "look at", path,
	                path_of(dir, path, whole), err).code;
	if (rc)
		return sim_leave(disk, rc);
	rc = find_under(disk, dir, path, "look at", &place, err);
	if (rc == ERR_INVALID)
		return sim_leave(disk, rc);
	if (rc || !place.inode)
		*identity = (struct os_identity){ .kind = OS_NODE_MISSING };
	else
		fill_identity(disk, place.inode, identity);
	return sim_leave(disk, ERR_NONE);
}

static int sim_unlink(struct os_file *dir, const char *name, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(dir);
	struct place place;
	char path[4096];
	int rc;

	rc = sim_enter(sim_process_of(dir->os), SIM_CALL_UNLINK, "unlink", name,
	                path_of(dir, name, path), err).code;
	if (!rc)
		rc = find_under(disk, dir, name, "unlink", &place, err);
	if (!rc && !place.inode)
		rc = fail_missing(err, "unlink", name);
	if (!rc && disk->inodes[place.inode].kind != OS_NODE_FILE)
		rc = err_set(err, ERR_CANTOPEN, "unlink", name,
		             "Is a directory");
	if (!rc)
		set_link(disk, SIM_CALL_UNLINK, &place, 0);
	return sim_leave(disk, rc);
}

static bool sim_is_network(struct os_file *dir)
{
	return sim_disk_of(dir)->options.network;
}

/* Files */

static bool would_create(struct sim_disk *disk, struct os_file *dir,
                         const char *name, unsigned flags)
{
	struct place place;
	bool missing;

	if (!(flags & OS_OPEN_CREATE))
		return false;
	pthread_mutex_lock(&disk->mutex);
	missing = find_under(disk, dir, name, "open", &place, NULL) ==
	          ERR_NONE && !place.inode;
	pthread_mutex_unlock(&disk->mutex);
	return missing;
}

static int open_found(struct sim_disk *disk, const struct place *place,
                      const char *name, unsigned flags, struct err *err)
{
	if (flags & OS_OPEN_EXCLUSIVE)
		return err_set(err, ERR_EXISTS, "open", name, "File exists");
	if (disk->inodes[place->inode].kind != OS_NODE_FILE)
		return err_set(err, ERR_CANTOPEN, "open", name,
		               "it is not a regular file");
	if (flags & OS_OPEN_WRITE && disk->read_only)
		return err_set(err, ERR_READONLY, "open", name,
		               "Read-only file system");
	return ERR_NONE;
}

static int sim_open(struct os_file *dir, const char *name, unsigned flags,
                    uint32_t mode, struct os_file **file, struct err *err)
{
	struct sim_process *process = sim_process_of(dir->os);
	struct sim_disk *disk = process->disk;
	struct place place;
	char path[4096];
	int rc;

	assert(flags & OS_OPEN_WRITE || !(flags & OS_OPEN_CREATE));
	rc = sim_enter(process, would_create(disk, dir, name, flags) ?
	                SIM_CALL_CREATE : SIM_CALL_OPEN, "open", name,
	                path_of(dir, name, path), err).code;
	if (!rc)
		rc = find_under(disk, dir, name, "open", &place, err);
	if (rc)
		return sim_leave(disk, rc);
	if (place.inode) {
		rc = open_found(disk, &place, name, flags, err);
	} else if (!(flags & OS_OPEN_CREATE)) {
		rc = fail_missing(err, "open", name);
	} else {
		place.inode = sim_inode_make(disk, OS_NODE_FILE, mode,
		                             place.path);
		set_link(disk, SIM_CALL_CREATE, &place, place.inode);
	}
	if (!rc)
		*file = add_file(process, place.inode, name,
		                 flags & OS_OPEN_WRITE);
	return sim_leave(disk, rc);
}

static void sim_close(struct os_file *file)
{
	struct sim_process *process = sim_process_of(file->os);

	pthread_mutex_lock(&process->disk->mutex);
	sim_file_remove(process, sim_file_of(file));
	pthread_mutex_unlock(&process->disk->mutex);
}

static int sim_read(struct os_file *file, uint64_t offset, void *bytes,
                    size_t size, size_t *got, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	const struct sim_inode *inode;
	size_t there;
	int rc = sim_enter_file(file, SIM_CALL_READ, "read", err).code;

	if (rc)
		return sim_leave(disk, rc);
	inode = sim_inode_of(file);
	there = offset >= inode->size ? 0 : size;
	if (there > inode->size - offset)
		there = (size_t)(inode->size - offset);
	sim_inode_read(inode, offset, bytes, there);
	if (got)
		*got = there;
	else if (there < size)
		rc = err_set(err, ERR_CORRUPT, "read", file->name,
		             "it ends at %llu, wanted %zu bytes from %llu",
		             (unsigned long long)inode->size, size,
		             (unsigned long long)offset);
	return sim_leave(disk, rc);
}

static int sim_fault_in(struct os_file *file, uint64_t offset, void *at,
                        size_t size, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	const struct sim_inode *inode;
	int rc = sim_enter_file(file, SIM_CALL_READ, "read", err).code;

	(void)at;
	inode = sim_inode_of(file);
	if (!rc && (size > inode->size || offset > inode->size - size))
		rc = err_set(err, ERR_CORRUPT, "read", file->name,
		             "it ends at %llu, wanted %zu bytes from %llu",
		             (unsigned long long)inode->size, size,
		             (unsigned long long)offset);
	return sim_leave(disk, rc);
}

/* The sectors that the write touches, as the page cache has them afterwards. */
static uint8_t *gather_sectors(const struct sim_inode *inode, uint64_t offset,
                               const struct span *spans, size_t span_count,
                               struct sim_event *event)
{
	uint64_t start = offset / SIM_SECTOR_SIZE * SIM_SECTOR_SIZE;
	uint64_t end = (offset + event->size + SIM_SECTOR_SIZE - 1) /
	               SIM_SECTOR_SIZE * SIM_SECTOR_SIZE;
	uint8_t *bytes = sim_resize(NULL, (size_t)(end - start));
	uint8_t *at = bytes + (offset - start);
	uint64_t left = event->size;

	if (offset > start)
		sim_inode_read(inode, start, bytes, (size_t)(offset - start));
	if (end > offset + event->size)
		sim_inode_read(inode, offset + event->size, at + event->size,
		               (size_t)(end - offset - event->size));
	for (size_t i = 0; i < span_count && left; i++) {
		size_t part = spans[i].size < left ? spans[i].size :
			(size_t)left;

		memcpy(at, spans[i].data, part);
		at += part;
		left -= part;
	}
	event->sector_offset = start;
	event->sector_bytes = end - start;
	return bytes;
}

static void write_traced(struct sim_disk *disk, uint32_t number,
                         uint64_t offset, const struct span *spans,
                         size_t span_count, uint64_t size)
{
	struct sim_inode *inode = &disk->inodes[number];
	struct sim_event event = {
		.kind = SIM_EVENT_WRITE, .call = SIM_CALL_WRITE,
		.inode = number, .offset = offset, .size = size,
		.size_before = inode->size,
	};
	uint8_t *bytes = gather_sectors(inode, offset, spans, span_count,
	                                &event);
	uint8_t *payload = bytes + (offset - event.sector_offset);

	if (sim_is_zero(bytes, (size_t)event.sector_bytes)) {
		free(bytes);
		bytes = payload = NULL;
	}
	sim_inode_write(inode, offset, payload, (size_t)size);
	sim_inode_charge(inode, inode->size);
	event.bytes = bytes;
	event.size_after = inode->size;
	sim_trace_add(disk, &event);
}

/* How many of `size` bytes at `offset` find room. */
static uint64_t room_for(const struct sim_disk *disk,
                         const struct sim_inode *inode, uint64_t offset,
                         uint64_t size)
{
	uint64_t used = sim_used(disk), end;

	if (!disk->options.capacity)
		return size;
	end = inode->charged;
	if (disk->options.capacity > used)
		end += (disk->options.capacity - used) / SIM_PAGE_SIZE *
		       SIM_PAGE_SIZE;
	if (offset + size <= end)
		return size;
	return offset >= end ? 0 : end - offset;
}

static int fail_full(struct err *err, const char *operation, const char *name)
{
	return err_set(err, ERR_FULL, operation, name,
	               "No space left on device");
}

static int sim_write(struct os_file *file, uint64_t offset,
                     const struct span *spans, size_t span_count,
                     struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	struct sim_verdict verdict = sim_enter_file(file, SIM_CALL_WRITE, "write", err);
	uint64_t wanted = 0, size;
	int rc = verdict.code;

	for (size_t i = 0; i < span_count; i++)
		wanted += spans[i].size;
	if (!sim_file_of(file)->writable)
		return sim_leave(disk, sim_fail_readonly(err, "write", file->name));
	if ((rc && !verdict.partial) || wanted == 0)
		return sim_leave(disk, rc);
	size = verdict.partial ? sim_random(&disk->random_state) % wanted :
		wanted;
	size = room_for(disk, sim_inode_of(file), offset, size);
	if (!rc && size < wanted)
		rc = fail_full(err, "write", file->name);
	if (size)
		write_traced(disk, sim_file_of(file)->inode, offset, spans,
		             span_count, size);
	if (verdict.dies)
		sim_process_die(sim_process_of(file->os));
	return sim_leave(disk, rc);
}

/* What the failed sync forgot: what is durable comes back from the disk. */
static void evict(struct sim_disk *disk, uint32_t number, uint64_t before)
{
	struct sim_inode *inode = &disk->inodes[number];
	const struct sim_shadow_file *file;

	sim_shadow_seek(disk, before);
	file = &disk->trace.shadow.files[number];
	for (size_t i = 0; i < file->pending_count; i++) {
		const struct sim_event *event =
			&disk->trace.events[file->pending[i]];
		uint64_t end = event->sector_offset + event->sector_bytes;

		if (event->kind != SIM_EVENT_WRITE)
			continue;
		for (uint64_t at = event->sector_offset;
		     at < end && at < inode->size; at += SIM_SECTOR_SIZE) {
			size_t page = (size_t)(at / SIM_PAGE_SIZE);
			size_t part = inode->size - at < SIM_SECTOR_SIZE ?
				(size_t)(inode->size - at) : SIM_SECTOR_SIZE;
			const struct sim_page *old =
				page < file->image.count ?
				file->image.pages[page] : NULL;

			sim_inode_write(inode, at, old ? old->bytes +
			                at % SIM_PAGE_SIZE : NULL, part);
		}
	}
}

static void tell_other_descriptors(struct sim_disk *disk,
                                   const struct sim_file *self)
{
	for (struct sim_process *process = disk->processes; process;
	     process = process->next)
		for (struct sim_file *file = process->files; file;
		     file = file->next)
			if (file->inode == self->inode && file != self)
				file->sync_failed = true;
}

static void sync_drops(struct os_file *file, enum sim_fault_effect effect)
{
	struct sim_disk *disk = sim_disk_of(file);
	uint32_t number = sim_file_of(file)->inode;
	uint64_t before = disk->trace.count;

	sim_trace_add(disk, &(struct sim_event){
		.kind = SIM_EVENT_SYNC_LOST, .call = SIM_CALL_SYNC,
		.inode = number,
	});
	tell_other_descriptors(disk, sim_file_of(file));
	if (effect == SIM_FAULT_EVICT && !disk->trace.stopped)
		evict(disk, number, before);
}

static int sim_sync(struct os_file *file, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	struct sim_verdict verdict = sim_enter_file(file, SIM_CALL_SYNC,
	                                            "sync", err);

	if (verdict.effect == SIM_FAULT_DROP ||
	    verdict.effect == SIM_FAULT_EVICT)
		sync_drops(file, verdict.effect);
	if (verdict.code)
		return sim_leave(disk, verdict.code);
	if (sim_file_of(file)->sync_failed) {
		sim_file_of(file)->sync_failed = false;
		return sim_leave(disk, err_set(err, ERR_IO, "sync", file->name,
		                               "Input/output error"));
	}
	sim_trace_add(disk, &(struct sim_event){
		.kind = SIM_EVENT_SYNC, .call = SIM_CALL_SYNC,
		.inode = sim_file_of(file)->inode,
	});
	return sim_leave(disk, ERR_NONE);
}

/* Durable is nothing of it, but a failure is the sync's: see base/os.h. */
static int sim_write_back(struct os_file *file, uint64_t offset, uint64_t size,
                          struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	struct sim_verdict verdict = sim_enter_file(file, SIM_CALL_SYNC,
	                                            "sync", err);

	(void)offset, (void)size;
	if (verdict.effect == SIM_FAULT_DROP ||
	    verdict.effect == SIM_FAULT_EVICT)
		sync_drops(file, verdict.effect);
	return sim_leave(disk, verdict.code);
}

static int sim_size(struct os_file *file, uint64_t *bytes, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	int rc = sim_enter_file(file, SIM_CALL_IDENTIFY, "read the size of",
	                    err).code;

	if (!rc)
		*bytes = sim_inode_of(file)->size;
	return sim_leave(disk, rc);
}

static int sim_identity(struct os_file *file, struct os_identity *identity,
                        struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	int rc = sim_enter_file(file, SIM_CALL_IDENTIFY, "look at", err).code;

	if (!rc)
		fill_identity(disk, sim_file_of(file)->inode, identity);
	return sim_leave(disk, rc);
}

static void resize_traced(struct sim_disk *disk, enum sim_call call,
                          uint32_t number, uint64_t offset, uint64_t size,
                          uint64_t size_after)
{
	struct sim_inode *inode = &disk->inodes[number];

	sim_trace_add(disk, &(struct sim_event){
		.kind = SIM_EVENT_SIZE, .call = call, .inode = number,
		.offset = offset, .size = size,
		.size_before = inode->size, .size_after = size_after,
	});
	if (size_after != inode->size)
		sim_inode_set_size(inode, size_after);
}

static int sim_truncate(struct os_file *file, uint64_t bytes, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	struct sim_inode *inode;
	int rc = sim_enter_file(file, SIM_CALL_TRUNCATE, "truncate", err).code;

	if (!rc && !sim_file_of(file)->writable)
		rc = sim_fail_readonly(err, "truncate", file->name);
	if (rc)
		return sim_leave(disk, rc);
	resize_traced(disk, SIM_CALL_TRUNCATE, sim_file_of(file)->inode, bytes, 0,
	              bytes);
	inode = sim_inode_of(file);
	if (inode->charged > bytes) {
		inode->charged = 0;
		sim_inode_charge(inode, bytes);
	}
	return sim_leave(disk, ERR_NONE);
}

static int sim_allocate_space(struct os_file *file, uint64_t offset,
                              uint64_t size, struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	struct sim_inode *inode;
	uint64_t end = offset + size;
	int rc = sim_enter_file(file, SIM_CALL_ALLOCATE, "allocate space for",
	                    err).code;

	if (!rc && !sim_file_of(file)->writable)
		rc = sim_fail_readonly(err, "allocate space for", file->name);
	inode = sim_inode_of(file);
	if (!rc && room_for(disk, inode, offset, size) < size)
		rc = fail_full(err, "allocate space for", file->name);
	if (rc)
		return sim_leave(disk, rc);
	resize_traced(disk, SIM_CALL_ALLOCATE, sim_file_of(file)->inode, offset,
	              size, end > inode->size ? end : inode->size);
	sim_inode_charge(inode, end);
	return sim_leave(disk, ERR_NONE);
}

/* Zeros that reach the disk like any other write: late, in part, or never. */
static int sim_punch(struct os_file *file, uint64_t offset, uint64_t size,
                     struct err *err)
{
	struct sim_disk *disk = sim_disk_of(file);
	struct sim_inode *inode;
	int rc = sim_enter_file(file, SIM_CALL_PUNCH, "give back space of",
	                        err).code;

	if (!rc && !sim_file_of(file)->writable)
		rc = sim_fail_readonly(err, "give back space of", file->name);
	inode = sim_inode_of(file);
	if (rc || offset >= inode->size)
		return sim_leave(disk, rc);
	if (size > inode->size - offset)
		size = inode->size - offset;
	sim_inode_write(inode, offset, NULL, (size_t)size);
	sim_trace_add(disk, &(struct sim_event){
		.kind = SIM_EVENT_WRITE, .call = SIM_CALL_PUNCH,
		.inode = sim_file_of(file)->inode, .offset = offset,
		.size = size, .sector_offset = offset, .sector_bytes = size,
		.size_before = inode->size, .size_after = inode->size,
	});
	return sim_leave(disk, ERR_NONE);
}

/* Work is parted as for so many, though one after the other does it. */
static uint32_t sim_processors(struct os *os)
{
	(void)os;
	return 3;
}

const struct os_methods sim_methods = {
	.directory_open = sim_directory_open,
	.directory_make = sim_directory_make,
	.directory_list = sim_directory_list,
	.directory_sync = sim_directory_sync,
	.identify = sim_identify,
	.unlink = sim_unlink,
	.is_network = sim_is_network,
	.open = sim_open,
	.close = sim_close,
	.read = sim_read,
	.write = sim_write,
	.sync = sim_sync,
	.write_back = sim_write_back,
	.size = sim_size,
	.truncate = sim_truncate,
	.allocate = sim_allocate_space,
	.punch = sim_punch,
	.identity = sim_identity,
	.reserve = sim_reserve,
	.map = sim_map,
	.unreserve = sim_unreserve,
	.fault_in = sim_fault_in,
	.advise = sim_advise,
	.sparse = sim_sparse,
	.lock = sim_lock_byte,
	.lock_probe = sim_lock_probe,
	.wait = sim_wait,
	.wake = sim_wake,
	.processors = sim_processors,
	.monotonic_us = sim_monotonic_us,
	.wall_ms = sim_wall_ms,
	.sleep_us = sim_sleep_us,
	.random = sim_random_bytes,
	.process_id = sim_process_id,
	.fork_canary = sim_fork_canary,
};
