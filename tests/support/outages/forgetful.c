/* LD_PRELOAD: a library under which nothing is ever synced. A bug to be found, or a bad disk. */
#include <unistd.h>

int fsync(int fd) {
    (void)fd;
    return 0;
}
int fdatasync(int fd) {
    (void)fd;
    return 0;
}
