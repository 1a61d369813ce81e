/* container_wire.h: what the writer and the reader of container files agree on. Internal to the
 * library. */
#ifndef CODEC_CONTAINER_WIRE_H
#define CODEC_CONTAINER_WIRE_H

#include <stdint.h>

enum { CODEC_FILE_MAGIC_BYTES = 4, CODEC_FILE_SYNC_BYTES = 16 };

static const uint8_t codec_file_magic[CODEC_FILE_MAGIC_BYTES] = {'O', 'b', 'j', 1};

#endif
