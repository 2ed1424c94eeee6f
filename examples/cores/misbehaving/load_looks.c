/* A core whose constructor tries what a job would be refused. Answers the error of opening
 * /etc/shadow and that of writing to /usr, a line for each. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "farcall_core.h"

static char found[512];

__attribute__((constructor)) static void look(void)
{
    int length;
    errno = 0;
    open("/etc/shadow", O_RDONLY);
    length = sprintf(found, "%s\n", strerror(errno));
    errno = 0;
    open("/usr/farcall-was-here", O_CREAT | O_WRONLY, 0600);
    sprintf(found + length, "%s\n", strerror(errno));
}

int32_t worker_init(int32_t version)
{
    return version == FARCALL_CORE_API_VERSION ? 0 : 1;
}

int32_t worker_run_job(uint64_t size, void *data, uint64_t *outsize, void **outdata)
{
    (void)size;
    (void)data;
    *outsize = strlen(found);
    *outdata = found;
    return 0;
}

void worker_free_outdata(uint64_t size, void *outdata)
{
    (void)size;
    (void)outdata;
}
