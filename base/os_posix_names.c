/*
 * os_posix_names.c - directories, and what a name in one refers to.
 *
 * Names are opened relative to a directory's descriptor, so that the database stays
 * itself when its directory is renamed; the last part is never followed through a
 * symbolic link, and no part leads out of the directory. O_NONBLOCK lets the open of a
 * FIFO return, so that it can be refused.
 *
 * Networks      Refused are NFS, SMB/CIFS, AFS, Coda, NCP, Ceph, Lustre, GPFS,
 *               BeeGFS, PanFS, GFS2, OCFS2, OrangeFS, 9P (another machine or
 *               the host writes behind it) and the shared folders of
 *               VirtualBox and Parallels. What hides behind FUSE (sshfs,
 *               GlusterFS) shows one number for all and cannot be told.
 * Safety        (O1) Every descriptor is close-on-exec and at least 3, so that
 *               a stray write to stdout never lands in a database. (O2) Every
 *               open file is a regular file.
 */
#include "base/os_posix.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/heap.h"

enum { DESCRIPTOR_FIRST = 3, LIST_BUFFER_SIZE = 4096 };

/* --- descriptors ------------------------------------------------------------------- */

static bool leaves_directory(const char *name)
{
	if (name[0] == '/')
		return true;
	for (const char *part = name; part; part = strchr(part, '/')) {
		part += *part == '/';
		if (part[0] == '.' && part[1] == '.' &&
		    (part[2] == 0 || part[2] == '/'))
			return true;
	}
	return false;
}

static int check_name(const char *operation, const char *name, struct err *err)
{
	if (leaves_directory(name))
		return err_set(err, ERR_INVALID, operation, name,
		               "the name leaves the database directory");
	return ERR_NONE;
}

/* Keeps (O1); -1 with errno on failure. */
static int open_descriptor(int at, const char *name, int flags, mode_t mode)
{
	int descriptor, higher, number;

	do
		descriptor = openat(at, name, flags | O_CLOEXEC, mode);
	while (descriptor < 0 && errno == EINTR);
	if (descriptor < 0 || descriptor >= DESCRIPTOR_FIRST)
		return descriptor;
	higher = fcntl(descriptor, F_DUPFD_CLOEXEC, DESCRIPTOR_FIRST);
	number = errno;
	close(descriptor);
	errno = number;
	return higher;
}

static void copy_name(char to[128], const char *name)
{
	size_t size = strlen(name);

	if (size < 128)
		memcpy(to, name, size + 1);
	else
		snprintf(to, 128, "...%s", name + size - 124);
}

static int make_file(struct os *os, int descriptor, const char *name,
                     struct os_file **file, struct err *err)
{
	struct posix_file *made =
		heap_allocate(posix_of(os)->heap, sizeof *made);

	if (!made)
		return err_set(err, ERR_NOMEM, "open", name, "out of memory");
	made->file.os = os;
	copy_name(made->file.name, name);
	made->descriptor = descriptor;
	*file = &made->file;
	return ERR_NONE;
}

/* --- directories ------------------------------------------------------------------- */

int os_posix_directory_open(struct os *os, const char *path,
                            struct os_file **dir, struct err *err)
{
	int descriptor, rc;

	descriptor = open_descriptor(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (descriptor < 0)
		return os_posix_fail_open(err, "open directory", path, false);
	rc = make_file(os, descriptor, path, dir, err);
	if (rc)
		close(descriptor);
	return rc;
}

int os_posix_directory_make(struct os *os, struct os_file *dir,
                            const char *name, struct err *err)
{
	int rc = dir ? check_name("make directory", name, err) : ERR_NONE;

	(void)os;
	if (rc)
		return rc;
	if (mkdirat(dir ? descriptor_of(dir) : AT_FDCWD, name, 0777))
		return os_posix_fail(err, "make directory", name);
	return ERR_NONE;
}

/* A descriptor of its own: the position of a listing lies in it. */
static int open_subdirectory(struct os_file *dir, const char *name,
                             const char *operation, int *descriptor,
                             struct err *err)
{
	int rc = name ? check_name(operation, name, err) : ERR_NONE;

	if (rc)
		return rc;
	*descriptor = open_descriptor(descriptor_of(dir), name ? name : ".",
	                              O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (*descriptor < 0)
		return os_posix_fail_open(err, operation, name ? name : dir->name,
		                          false);
	return ERR_NONE;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int list_buffer(const char *buffer, long size,
                       int (*each)(void *context, const char *entry),
                       void *context)
{
	long at = 0;
	int rc = 0;

	while (at < size && !rc) {
		const struct dirent64 *entry =
			(const struct dirent64 *)(const void *)(buffer + at);

		if (!is_dot(entry->d_name))
			rc = each(context, entry->d_name);
		at += entry->d_reclen;
	}
	return rc;
}

/* Asks the kernel itself: readdir() would take its buffer from malloc. */
int os_posix_directory_list(struct os_file *dir, const char *name,
                            int (*each)(void *context, const char *entry),
                            void *context, struct err *err)
{
	_Alignas(struct dirent64) char buffer[LIST_BUFFER_SIZE];
	int descriptor, rc;
	long size;

	rc = open_subdirectory(dir, name, "list directory", &descriptor, err);
	if (rc)
		return rc;
	do {
		size = syscall(SYS_getdents64, descriptor, buffer,
		               sizeof buffer);
		if (size < 0)
			rc = os_posix_fail(err, "list directory",
			                   name ? name : dir->name);
		else
			rc = list_buffer(buffer, size, each, context);
	} while (!rc && size > 0);
	close(descriptor);
	return rc;
}

/* A file system that cannot sync a directory says EINVAL: it keeps names in
 * its own way, and there is nothing to wait for. */
int os_posix_directory_sync(struct os_file *dir, const char *name,
                            struct err *err)
{
	const char *resource = name ? name : dir->name;
	int descriptor, rc;

	rc = open_subdirectory(dir, name, "sync directory", &descriptor, err);
	if (rc)
		return rc;
	if (os_posix_sync_repeat(fsync, descriptor) && errno != EINVAL)
		rc = os_posix_fail_as(err, ERR_IO, "sync directory", resource, errno);
	close(descriptor);
	return rc;
}

bool os_posix_is_network(struct os_file *dir)
{
	struct statfs info;

	if (fstatfs(descriptor_of(dir), &info))
		return false;
	switch ((uint32_t)info.f_type) {
	case 0x00006969: /* NFS */
	case 0x0000517b: /* SMB */
	case 0xff534d42: /* CIFS */
	case 0xfe534d42: /* SMB2 */
	case 0x0000564c: /* NCP */
	case 0x73757245: /* Coda */
	case 0x5346414f: /* AFS */
	case 0x6b414653: /* kAFS */
	case 0x00c36400: /* Ceph */
	case 0x0bd00bd0: /* Lustre */
	case 0x47504653: /* GPFS */
	case 0x19830326: /* BeeGFS */
	case 0xaad7aaea: /* PanFS */
	case 0x01161970: /* GFS2 */
	case 0x7461636f: /* OCFS2 */
	case 0x20030528: /* OrangeFS */
	case 0x01021997: /* 9P */
	case 0x786f4256: /* VirtualBox shared folder */
	case 0x7c7c6673: /* Parallels shared folder */
		return true;
	default:
		return false;
	}
}

/* --- names ------------------------------------------------------------------------- */

static enum os_node_kind kind_of(mode_t mode)
{
	if (S_ISREG(mode))
		return OS_NODE_FILE;
	return S_ISDIR(mode) ? OS_NODE_DIRECTORY : OS_NODE_OTHER;
}

static void fill_identity(const struct stat *info,
                          struct os_identity *identity)
{
	*identity = (struct os_identity){
		.device = info->st_dev,
		.inode = info->st_ino,
		.size = (uint64_t)info->st_size,
		.allocated = (uint64_t)info->st_blocks * 512,
		.mode = info->st_mode & 07777,
		.kind = kind_of(info->st_mode),
	};
}

int os_posix_identify(struct os *os, struct os_file *dir, const char *path,
                      struct os_identity *identity, struct err *err)
{
	struct stat info;
	int rc = dir ? check_name("look at", path, err) : ERR_NONE;

	(void)os;
	if (rc)
		return rc;
	if (fstatat(dir ? descriptor_of(dir) : AT_FDCWD, path, &info,
	            dir ? AT_SYMLINK_NOFOLLOW : 0) == 0)
		fill_identity(&info, identity);
	else if (errno == ENOENT || errno == ENOTDIR)
		*identity = (struct os_identity){ .kind = OS_NODE_MISSING };
	else
		return os_posix_fail_open(err, "look at", path, false);
	return ERR_NONE;
}

int os_posix_identity(struct os_file *file, struct os_identity *identity,
                      struct err *err)
{
	struct stat info;

	if (fstat(descriptor_of(file), &info))
		return os_posix_fail(err, "look at", file->name);
	fill_identity(&info, identity);
	return ERR_NONE;
}

int os_posix_unlink(struct os_file *dir, const char *name, struct err *err)
{
	int rc = check_name("unlink", name, err);

	if (rc)
		return rc;
	if (unlinkat(descriptor_of(dir), name, 0))
		return os_posix_fail(err, "unlink", name);
	return ERR_NONE;
}

/* --- files ------------------------------------------------------------------------- */

static int open_mode(unsigned flags)
{
	int mode = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

	mode |= flags & OS_OPEN_WRITE ? O_RDWR : O_RDONLY;
	if (flags & OS_OPEN_CREATE)
		mode |= O_CREAT;
	if (flags & OS_OPEN_EXCLUSIVE)
		mode |= O_EXCL;
	return mode;
}

/* What root makes in another user's directory is that user's, who could not write it
 * otherwise. Not when it has a second name, which may be a trap. */
static void give_to_directory_owner(int descriptor, int at, const char *name,
                                    const struct stat *info)
{
	const char *end = strrchr(name, '/');
	char part[PATH_MAX] = ".";
	struct stat dir;

	if (geteuid() != 0 || info->st_size || info->st_nlink != 1 ||
	    (end && (size_t)(end - name) >= sizeof part))
		return;
	if (end) {
		memcpy(part, name, (size_t)(end - name));
		part[end - name] = 0;
	}
	if (fstatat(at, part, &dir, AT_SYMLINK_NOFOLLOW) ||
	    (dir.st_uid == info->st_uid && dir.st_gid == info->st_gid))
		return;
	if (fchown(descriptor, dir.st_uid, dir.st_gid))
		return; /* it stays root's: as good as can be */
}

/* Where nobody knows the flag, blocks are written over anyway. */
static void write_in_place(int descriptor)
{
	int attributes;

	if (ioctl(descriptor, FS_IOC_GETFLAGS, &attributes) == 0) {
		attributes |= FS_NOCOW_FL;
		ioctl(descriptor, FS_IOC_SETFLAGS, &attributes);
	}
}

/* Keeps (O2) and gives a file that is still empty its exact mode. */
static int check_opened(int descriptor, int at, const char *name,
                        unsigned flags, uint32_t mode, struct err *err)
{
	struct stat info;

	if (fstat(descriptor, &info))
		return os_posix_fail(err, "open", name);
	if (!S_ISREG(info.st_mode))
		return err_set(err, ERR_CANTOPEN, "open", name,
		               "it is not a regular file");
	if (flags & OS_OPEN_MODE_EXACT && flags & OS_OPEN_CREATE &&
	    info.st_size == 0 && (info.st_mode & 07777) != mode &&
	    fchmod(descriptor, mode))
		return os_posix_fail(err, "set the mode of", name);
	if (flags & OS_OPEN_IN_PLACE && info.st_size == 0)
		write_in_place(descriptor);
	if (flags & OS_OPEN_CREATE)
		give_to_directory_owner(descriptor, at, name, &info);
	return ERR_NONE;
}

int os_posix_file_open(struct os_file *dir, const char *name, unsigned flags,
                       uint32_t mode, struct os_file **file, struct err *err)
{
	int descriptor, rc;

	assert(flags & OS_OPEN_WRITE || !(flags & OS_OPEN_CREATE));
	rc = check_name("open", name, err);
	if (rc)
		return rc;
	descriptor = open_descriptor(descriptor_of(dir), name,
	                             open_mode(flags), mode);
	if (descriptor < 0)
		return os_posix_fail_open(err, "open", name, flags & OS_OPEN_WRITE);
	rc = check_opened(descriptor, descriptor_of(dir), name, flags, mode,
	                  err);
	if (rc)
		goto close_descriptor;
	rc = make_file(dir->os, descriptor, name, file, err);
	if (rc)
		goto close_descriptor;
	return ERR_NONE;

close_descriptor:
	close(descriptor);
	return rc;
}

void os_posix_file_close(struct os_file *file)
{
	struct heap *heap = posix_of(file->os)->heap;

	close(descriptor_of(file));
	heap_free(heap, file);
}
