/*
 * sql_rig_environment.c - the part of sql_rig that sees the library's side.
 */
#include "vfs/vfs.h"

void sql_rig_environment_set(struct vfs_environment *environment, struct os *os,
                             struct store_environment *stores);
struct heap *sql_rig_environment_heap(struct vfs_environment *environment);
void sql_rig_environment_own(struct vfs_environment *environment);
int sql_rig_view_control(void);
void sql_rig_environment_last_error(struct vfs_environment *environment,
                                    char text[ERR_TEXT_SIZE]);

void sql_rig_environment_set(struct vfs_environment *environment, struct os *os,
                             struct store_environment *stores)
{
	environment->os = os;
	environment->stores = stores;
}

struct heap *sql_rig_environment_heap(struct vfs_environment *environment)
{
	return environment->heap;
}

void sql_rig_environment_last_error(struct vfs_environment *environment,
                                    char text[ERR_TEXT_SIZE])
{
	vfs_report_last(environment, text);
}

int sql_rig_view_control(void)
{
	return VFS_FCNTL_VIEW;
}

/* Each process brings its calls and its stores; those the library made for itself
 * go. */
void sql_rig_environment_own(struct vfs_environment *environment)
{
	store_environment_close(environment->stores);
	environment->stores = NULL;
	os_posix_close(environment->os);
	environment->os = NULL;
}
