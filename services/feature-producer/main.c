#include "fp_service.h"

#include <malloc.h>

/*
 * The client library allocates and frees megabytes for every fetch. glibc's defaults give them back
 * to the kernel each time, and a fifth of the CPU went into faulting the same pages in again; what
 * is kept instead is bounded by the client's queue.
 */
static void keep_freed_pages(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
    (void)mallopt(M_TOP_PAD, 16 << 20);
}

int main(int argc, char **argv)
{
    keep_freed_pages();
    return svc_main(&fp_service, argc, argv);
}
