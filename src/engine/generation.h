/* engine/generation.h: the generation loop behind session_generate (fathom.h). */
#ifndef ENGINE_GENERATION_H
#define ENGINE_GENERATION_H

#include "engine/session.h"

ERR_MUST_USE err generation_run(struct session *s, const struct sampling *sampling,
                                const struct generate_options *options, session_callback callback,
                                void *user, struct generate_result *result, struct errinfo *info);

#endif
