/* server/chatfields.c: see chatfields.h. */
#include "server/chatfields.h"

#include <string.h>

#include "base/mem.h"
#include "server/chattree.h"
#include "text/utf8.h"

static err chatfields_wrong(const char *name, const json_t *value, const char *expected, struct errinfo *info)
{
    return err_set(info, ERR_ARGUMENT, "\"%s\": found %s, expected %s", name, json_type_name(value), expected);
}

static err chatfields_string(const char *name, const json_t *value, size_t most, struct errinfo *info)
{
    if (!json_is_string(value)) {
        return chatfields_wrong(name, value, "a string", info);
    }
    size_t n = json_string_length(value);
    return n <= most
               ? ERR_OK
               : err_set(info, ERR_ARGUMENT, "\"%s\" has %zu bytes, at most %zu are accepted", name, n, most);
}

static err chatfields_settings(const json_t *value, struct errinfo *info)
{
    if (!json_is_object(value)) {
        return chatfields_wrong("settings", value, "an object", info);
    }
    char *text = json_text_dup(value, JSON_COMPACT);
    if (!text) {
        return chatrecord_nomem(info);
    }
    size_t n = strlen(text);
    mem_free(text);
    return n <= CHATSTORE_SETTINGS_MAX ? ERR_OK
                                       : err_set(info, ERR_ARGUMENT,
                                                 "\"settings\" have %zu bytes, at most "
                                                 "%d are accepted",
                                                 n, CHATSTORE_SETTINGS_MAX);
}

static err chatfields_bool(const char *name, const json_t *value, bool *out, struct errinfo *info)
{
    if (!json_is_boolean(value)) {
        return chatfields_wrong(name, value, "true or false", info);
    }
    *out = json_is_true(value);
    return ERR_OK;
}

static err chatfields_days(const json_t *value, int64_t *out, struct errinfo *info)
{
    int64_t days = json_is_integer(value) ? json_integer_value(value) : 0;
    if (!json_is_null(value) && (days < 1 || days > CHATSTORE_DAYS_MAX)) {
        return err_set(info, ERR_ARGUMENT, "\"forget_after_days\": 1 to %d days, or null, are accepted",
                       CHATSTORE_DAYS_MAX);
    }
    *out = days;
    return ERR_OK;
}

static err chatfields_leaf(const json_t *value, char leaf[VAULT_ID + 1], struct errinfo *info)
{
    if (!json_is_null(value) && (!json_is_string(value) || json_string_length(value) != VAULT_ID)) {
        return chatfields_wrong("leaf", value, "the id of a message, or null", info);
    }
    memset(leaf, 0, VAULT_ID + 1);
    if (json_is_string(value)) {
        memcpy(leaf, json_string_value(value), VAULT_ID);
    }
    return ERR_OK;
}

/* What is sealed: checked, then put into the head as it is. */
static err chatfields_head(json_t *head, const char *name, json_t *value, struct errinfo *info)
{
    if (strcmp(name, "title") == 0) {
        TRY(chatfields_string(name, value, CHATSTORE_TITLE_MAX, info));
    } else if (strcmp(name, "system") == 0) {
        TRY(chatfields_string(name, value, CHATSTORE_SYSTEM_MAX, info));
    } else if (strcmp(name, "settings") == 0) {
        TRY(chatfields_settings(value, info));
    } else if (!json_is_null(value)) {
        TRY(chatfields_string(name, value, CHATSTORE_FOLDER_MAX, info));
        value = json_string_length(value) == 0 ? json_null() : value; /* no folder has no name */
    }
    return json_object_set(head, name, value) == 0 ? ERR_OK : chatrecord_nomem(info);
}

static err chatfields_one(struct chatrecord *r, const char *name, json_t *value, bool creating,
                          struct errinfo *info)
{
    bool temporary;
    if (strcmp(name, "title") == 0 || strcmp(name, "system") == 0 || strcmp(name, "settings") == 0 ||
        strcmp(name, "folder") == 0) {
        return chatfields_head(r->head, name, value, info);
    }
    if (strcmp(name, "forget_after_days") == 0) {
        return chatfields_days(value, &r->days, info);
    }
    if (creating && strcmp(name, "temporary") == 0) {
        return chatfields_bool(name, value, &temporary, info);
    }
    if (!creating && strcmp(name, "pinned") == 0) {
        return chatfields_bool(name, value, &r->pinned, info);
    }
    if (!creating && strcmp(name, "leaf") == 0) {
        return chatfields_leaf(value, r->leaf, info);
    }
    return err_set(info, ERR_ARGUMENT,
                   "\"%.60s\" is no field that a chat takes here: title, folder, system, "
                   "settings, forget_after_days and %s are",
                   name, creating ? "temporary" : "pinned, leaf");
}

err chatfields_apply(struct chatrecord *r, const json_t *fields, bool creating, struct errinfo *info)
{
    const char *name;
    json_t *value;
    if (!json_is_object(fields)) {
        return chatfields_wrong("chat", fields, "an object", info);
    }
    json_object_foreach((json_t *)(uintptr_t)fields, name, value) {
        err e = chatfields_one(r, name, value, creating, info);
        if (e != ERR_OK) {
            return err_at(info, e, "%s", name);
        }
    }
    return ERR_OK;
}

bool chatfields_temporary(const json_t *fields)
{
    return json_is_true(json_object_get(fields, "temporary"));
}

static err chatfields_preset(const json_t *p, struct errinfo *info)
{
    if (json_object_size(p) != 3) {
        return err_set(info, ERR_ARGUMENT, "a preset: an object with name, system and settings was expected");
    }
    TRY(chatfields_string("name", json_object_get(p, "name"), CHATSTORE_TITLE_MAX, info));
    TRY(chatfields_string("system", json_object_get(p, "system"), CHATSTORE_SYSTEM_MAX, info));
    return chatfields_settings(json_object_get(p, "settings"), info);
}

err chatfields_presets(const json_t *presets, struct errinfo *info)
{
    if (!json_is_array(presets) || json_array_size(presets) > CHATSTORE_PRESETS_MAX) {
        err_set(info, ERR_ARGUMENT, "\"presets\": a list of at most %d was expected", CHATSTORE_PRESETS_MAX);
        return err_at(info, ERR_ARGUMENT, "presets");
    }
    for (size_t i = 0; i < json_array_size(presets); i++) {
        err e = chatfields_preset(json_array_get(presets, i), info);
        if (e != ERR_OK) {
            return err_at(info, e, "presets[%zu]", i);
        }
    }
    return ERR_OK;
}

err chatfields_attachments(const json_t *attachments, size_t *bytes, struct errinfo *info)
{
    if (!attachments) {
        return ERR_OK;
    }
    if (!json_is_array(attachments) || json_array_size(attachments) > CHATTREE_ATTACHMENTS_MAX) {
        return err_set(info, ERR_ARGUMENT, "\"attachments\": a list of at most %d was expected",
                       CHATTREE_ATTACHMENTS_MAX);
    }
    for (size_t i = 0; i < json_array_size(attachments); i++) {
        const json_t *a = json_array_get(attachments, i);
        if (json_object_size(a) != 2) {
            return err_set(info, ERR_ARGUMENT, "attachment %zu: an object with name and text was expected",
                           i + 1);
        }
        TRY(chatfields_string("name", json_object_get(a, "name"), CHATTREE_NAME_MAX, info));
        TRY(chatfields_string("text", json_object_get(a, "text"), CHATTREE_CONTENT_MAX, info));
        *bytes += json_string_length(json_object_get(a, "text"));
    }
    return ERR_OK;
}

err chatfields_text(const char *name, const char *text, size_t most, struct errinfo *info)
{
    size_t n = strlen(text);
    if (n > most) {
        return err_set(info, ERR_ARGUMENT, "\"%s\" has %zu bytes, at most %zu are accepted", name, n, most);
    }
    size_t valid = utf8_valid_prefix(text, n);
    return valid == n ? ERR_OK : err_set(info, ERR_ARGUMENT, "\"%s\" is no UTF-8 at byte %zu", name, valid);
}
