/* text/chat_dsmlwords.h: what V3.2 and V4 are told about tools, answers and effort; byte-exact, for
 * chat_dsml.c. V4's words are those of its encoding code (certain). V3.2's, and what the refresh of V4
 * calls its efforts, are at second hand, from engines that serve these models. */
#ifndef TEXT_CHAT_DSMLWORDS_H
#define TEXT_CHAT_DSMLWORDS_H

#include "text/chat_marks.h"

/* The pattern of calls: block "tool_calls" or "function_calls", what a name is called. */
#define CHAT_DSMLWORDS_SAMPLE(block, name) \
    "<" CHAT_DSML block ">\n" CHAT_DSML_INVOKE name "\">\n" CHAT_DSML_PARAMETER \
    "$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE" CHAT_DSML_PARAMETER_END "\n...\n" \
    CHAT_DSML_INVOKE_END "\n" CHAT_DSML_INVOKE name "2\">\n...\n" CHAT_DSML_INVOKE_END "\n" \
    "</" CHAT_DSML block ">\n\n"

#define CHAT_DSMLWORDS_V4 \
    "## Tools\n\n" \
    "You have access to a set of tools to help answer the user's question. You can invoke tools by " \
    "writing a \"<" CHAT_DSML "tool_calls>\" block like the following:\n\n" \
    CHAT_DSMLWORDS_SAMPLE("tool_calls", "$TOOL_NAME") \
    "String parameters should be specified as is and set `string=\"true\"`. For all other types (numbers, " \
    "booleans, arrays, objects), pass the value in JSON format and set `string=\"false\"`.\n\n" \
    "If thinking_mode is enabled (triggered by " CHAT_THINK "), you MUST output your complete reasoning " \
    "inside " CHAT_THINK "..." CHAT_THINK_END " BEFORE any tool calls or final response.\n\n" \
    "Otherwise, output directly after " CHAT_THINK_END " with tool calls or final response.\n\n" \
    "### Available Tool Schemas\n\n"
#define CHAT_DSMLWORDS_V4_END \
    "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n"

#define CHAT_DSMLWORDS_V32 \
    "## Tools\n\n" \
    "You have access to a set of tools you can use to answer the user's question.\n" \
    "You can invoke functions by writing a \"<" CHAT_DSML "function_calls>\" block like the following as " \
    "part of your reply to the user:\n" \
    CHAT_DSMLWORDS_SAMPLE("function_calls", "$FUNCTION_NAME") \
    "String and scalar parameters should be specified as is without any escaping or quotes, while lists and " \
    "objects should use JSON format. The \"string\" attribute should be set to \"true\" for string type " \
    "parameters and \"false\" for other types (numbers, booleans, arrays, objects).\n\n" \
    "If the thinking_mode is enabled, then after function results you should strongly consider outputting a " \
    "thinking block. Here is an example:\n\n" \
    "<" CHAT_DSML "function_calls>\n...\n</" CHAT_DSML "function_calls>\n\n" \
    "<function_results>\n...\n</function_results>\n\n" \
    CHAT_THINK "...thinking about results" CHAT_THINK_END "\n\n" \
    "Here are the functions available in JSONSchema format:\n<functions>\n"
#define CHAT_DSMLWORDS_V32_END "\n</functions>\n"

#define CHAT_DSMLWORDS_RESPONSE \
    "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"

#define CHAT_DSMLWORDS_MAXIMUM \
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n" \
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the " \
    "root cause, rigorously stress-testing your logic against all potential paths, edge cases, and " \
    "adversarial scenarios.\n" \
    "Explicitly write out your entire deliberation process, documenting every intermediate step, considered " \
    "alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.\n\n"
#define CHAT_DSMLWORDS_BEYOND \
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n" \
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively " \
    "decompose the problem into its most fundamental components, trace every causal chain to its root, and " \
    "resolve the underlying cause rather than any surface symptom.\n" \
    "Do not stop reasoning until you have independently verified the solution from multiple angles and are " \
    "certain that no assumption remains unchecked and no error remains undiscovered.\n\n"

#endif
