/* server/otherfields.c: see otherfields.h. The names are those of vLLM, SGLang, llama.cpp, Ollama, OpenRouter,
 * Text Generation Inference, Mistral and DashScope. */
#include "server/otherfields.h"

#define OTHERFIELDS_NO(field, nothing, because) \
    {field, .type = FIELDS_REFUSED, .neutral = nothing, .why = because}
#define OTHERFIELDS_SAMPLING "here temperature, top_k, top_p, min_p and the penalties choose a token"
#define OTHERFIELDS_SEARCH "one token is chosen after the other here, by chance"
#define OTHERFIELDS_FORM "say it as response_format or grammar, in chat completions"
#define OTHERFIELDS_TEMPLATE "the model's own chat format is used, whole"
#define OTHERFIELDS_TOKENS "tokens come as they are here"
#define OTHERFIELDS_LENGTH "use max_tokens"
#define OTHERFIELDS_REASONING "reasoning always comes apart from the content here"
#define OTHERFIELDS_BUDGET "use thinking, with budget_tokens"
#define OTHERFIELDS_CUT "a prompt is never cut here"
#define OTHERFIELDS_ADAPTER "this server has one model, without adapters"
#define OTHERFIELDS_CHAT "chat completions take it, this format does not"

static const struct fields_row otherfields_rows[] = {
    OTHERFIELDS_NO("typical_p", "1", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("typ_p", "1", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("tfs_z", "1", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("tfs", "1", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("top_a", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("top_n_sigma", "-1|0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("epsilon_cutoff", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("eta_cutoff", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("mirostat", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("mirostat_mode", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("xtc_probability", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("dry_multiplier", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("dynatemp_range", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("dynamic_temperature", NULL, OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("smoothing_factor", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("adaptive_target", "-1", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("min_keep", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("no_repeat_ngram_size", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("encoder_repetition_penalty", "1", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("penalty_alpha", "0", OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("samplers", NULL, OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("sampler_order", NULL, OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("sampler_priority", NULL, OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("logits_processors", NULL, OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("custom_logit_processor", NULL, OTHERFIELDS_SAMPLING),
    OTHERFIELDS_NO("do_sample", "true", "for the likeliest tokens, use temperature 0"),
    OTHERFIELDS_NO("random_seed", "", "use seed"),

    OTHERFIELDS_NO("best_of", "1", OTHERFIELDS_SEARCH),
    OTHERFIELDS_NO("use_beam_search", NULL, OTHERFIELDS_SEARCH),
    OTHERFIELDS_NO("num_beams", "1", OTHERFIELDS_SEARCH),
    OTHERFIELDS_NO("beam_width", "1", OTHERFIELDS_SEARCH),
    OTHERFIELDS_NO("length_penalty", "1|0", OTHERFIELDS_SEARCH),
    OTHERFIELDS_NO("early_stopping", NULL, OTHERFIELDS_SEARCH),

    OTHERFIELDS_NO("guided_json", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("guided_regex", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("guided_choice", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("guided_grammar", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("guided_whitespace_pattern", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("structured_outputs", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("structural_tag", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("json_schema", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("regex", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("ebnf", NULL, OTHERFIELDS_FORM),
    OTHERFIELDS_NO("format", NULL, OTHERFIELDS_FORM),

    OTHERFIELDS_NO("allowed_token_ids", NULL, "use grammar, in chat completions and completions"),
    OTHERFIELDS_NO("bad_words", NULL, "use logit_bias, in chat completions and completions"),
    OTHERFIELDS_NO("bad_words_ids", NULL, "use logit_bias, in chat completions and completions"),
    OTHERFIELDS_NO("banned_strings", NULL, "use logit_bias, in chat completions and completions"),
    OTHERFIELDS_NO("custom_token_bans", NULL, "use logit_bias, in chat completions and completions"),
    OTHERFIELDS_NO("ban_eos_token", NULL, "use ignore_eos, in chat completions and completions"),
    OTHERFIELDS_NO("include_stop_str_in_output", NULL, "a stop string is never shown here"),
    OTHERFIELDS_NO("no_stop_trim", NULL, "a stop string is never shown here"),
    OTHERFIELDS_NO("stop_regex", NULL, "use stop, whose strings are taken as they are"),
    OTHERFIELDS_NO("skip_special_tokens", "true", "control tokens are never shown here"),
    OTHERFIELDS_NO("return_token_ids", NULL, "answers come as text; /tokenize has the tokens of one"),
    OTHERFIELDS_NO("return_tokens", NULL, "answers come as text; /tokenize has the tokens of one"),
    OTHERFIELDS_NO("return_tokens_as_token_ids", NULL, "answers come as text; /tokenize has the tokens of one"),
    OTHERFIELDS_NO("prompt_logprobs", "", "only the answer's tokens have log-probabilities here"),
    OTHERFIELDS_NO("n_probs", "0", "use logprobs and top_logprobs"),
    OTHERFIELDS_NO("post_sampling_probs", NULL, "probabilities are the model's own here"),

    OTHERFIELDS_NO("n_predict", "-1", OTHERFIELDS_LENGTH),
    OTHERFIELDS_NO("num_predict", "-1", OTHERFIELDS_LENGTH),
    OTHERFIELDS_NO("max_new_tokens", "", OTHERFIELDS_LENGTH),
    OTHERFIELDS_NO("max_length", "", OTHERFIELDS_LENGTH),
    OTHERFIELDS_NO("min_new_tokens", "0", "use min_tokens, in chat completions and completions"),
    OTHERFIELDS_NO("t_max_predict_ms", "0|-1", OTHERFIELDS_LENGTH),
    OTHERFIELDS_NO("n_indent", "0", OTHERFIELDS_LENGTH),
    OTHERFIELDS_NO("truncate_prompt_tokens", "", OTHERFIELDS_CUT),
    OTHERFIELDS_NO("truncate", "", OTHERFIELDS_CUT),
    OTHERFIELDS_NO("transforms", NULL, OTHERFIELDS_CUT),

    OTHERFIELDS_NO("chat_template", NULL, OTHERFIELDS_TEMPLATE),
    OTHERFIELDS_NO("chat_template_kwargs", NULL, OTHERFIELDS_TEMPLATE),
    OTHERFIELDS_NO("documents", NULL, OTHERFIELDS_TEMPLATE),
    OTHERFIELDS_NO("add_generation_prompt", "true", OTHERFIELDS_TEMPLATE),
    OTHERFIELDS_NO("continue_final_message", NULL, "the last message goes on with prefix: true, under /beta"),
    OTHERFIELDS_NO("add_special_tokens", NULL, OTHERFIELDS_TEMPLATE),
    OTHERFIELDS_NO("system", NULL, "use a message of role system"),
    OTHERFIELDS_NO("echo", NULL, "completions alone repeat their prompt"),
    OTHERFIELDS_NO("raw", NULL, "completions take a text as it is"),
    OTHERFIELDS_NO("options", NULL, "its members are fields of the request here"),

    OTHERFIELDS_NO("include_reasoning", "true", OTHERFIELDS_REASONING),
    OTHERFIELDS_NO("separate_reasoning", "true", OTHERFIELDS_REASONING),
    OTHERFIELDS_NO("stream_reasoning", "true", OTHERFIELDS_REASONING),
    OTHERFIELDS_NO("reasoning_format", "auto|deepseek", OTHERFIELDS_REASONING),
    OTHERFIELDS_NO("reasoning_budget", "-1", OTHERFIELDS_BUDGET),
    OTHERFIELDS_NO("thinking_budget_tokens", "-1", OTHERFIELDS_BUDGET),
    OTHERFIELDS_NO("thinking_token_budget", "-1", OTHERFIELDS_BUDGET),
    OTHERFIELDS_NO("thinking_forced_open", NULL, OTHERFIELDS_TEMPLATE),
    OTHERFIELDS_NO("parse_tool_calls", "true", "calls always come apart from the content here"),
    OTHERFIELDS_NO("verbosity", "medium", "these models have no such setting; ask for it in words"),

    OTHERFIELDS_NO("lora", NULL, OTHERFIELDS_ADAPTER),
    OTHERFIELDS_NO("lora_path", NULL, OTHERFIELDS_ADAPTER),
    OTHERFIELDS_NO("lora_request", NULL, OTHERFIELDS_ADAPTER),
    OTHERFIELDS_NO("adapter_id", NULL, OTHERFIELDS_ADAPTER),
    OTHERFIELDS_NO("cache_salt", NULL, "use user, by which cached prefixes are kept apart"),
    OTHERFIELDS_NO("enable_search", NULL, "this server reaches no network"),
    OTHERFIELDS_NO("search_parameters", NULL, "this server reaches no network"),
    OTHERFIELDS_NO("plugins", NULL, "this server runs none"),
    OTHERFIELDS_NO("safe_prompt", NULL, "say it in a message of role system"),
};

const struct fields otherfields = {otherfields_rows, sizeof otherfields_rows / sizeof *otherfields_rows, NULL};

static const struct fields_row otherfields_of_chat_rows[] = {
    OTHERFIELDS_NO("stop", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("seed", "", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("n", "1", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("min_p", "0", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("top_k", "0|-1", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("presence_penalty", "0", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("frequency_penalty", "0", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("repetition_penalty", "1", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("repeat_penalty", "1", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("logit_bias", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("logprobs", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("max_completion_tokens", "", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("max_tokens", "", "use max_output_tokens"),
    OTHERFIELDS_NO("min_tokens", "0", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("ignore_eos", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("stop_token_ids", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("response_format", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("grammar", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("thinking", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("enable_thinking", "", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("thinking_budget", "", OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("reasoning_effort", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("reasoning", NULL, OTHERFIELDS_CHAT),
    OTHERFIELDS_NO("functions", NULL, "the old form of tools; use tools"),
    OTHERFIELDS_NO("prediction", NULL, OTHERFIELDS_CHAT),
};

const struct fields otherfields_of_chat = {
    otherfields_of_chat_rows, sizeof otherfields_of_chat_rows / sizeof *otherfields_of_chat_rows, &otherfields};
