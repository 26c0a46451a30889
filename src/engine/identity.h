/* engine/identity.h: 32 bytes that tell one model from every other, so that a saved session is never
 * continued with weights or a vocabulary it was not made with.
 *
 * A BLAKE2b over the config, the vocabulary, and every tensor's name, type, shape and bytes. Models of up
 * to 128 MiB are hashed whole. Of larger ones IDENTITY_PAGES pages of 4 KiB are, shared out by size, at
 * least two of every tensor, its first and its last, the others evenly between: another checkpoint, another
 * quantisation, a fine-tune of any single tensor has another identity; a few numbers changed by hand between
 * the pages of a large model have not. */
#ifndef ENGINE_IDENTITY_H
#define ENGINE_IDENTITY_H

#include <stdint.h>

#include "model/model.h"

enum { IDENTITY_BYTES = 32, IDENTITY_PAGE = 4096, IDENTITY_PAGES = 32768 };

/* Needs sodium_init. Reads what it hashes: up to 128 MiB, from the disk when it is not in memory. */
void identity_of(const struct model *m, uint8_t out[IDENTITY_BYTES]);

#endif
