/* text/chat_marks.h: the spelling of control tokens, of what marks calls and of default system messages,
 * for the encoders (chat*.c), the detection (chat_detect.c) and the parser of answers (answerparser.c).
 * They must be byte-exact: models were trained on them. */
#ifndef TEXT_CHAT_MARKS_H
#define TEXT_CHAT_MARKS_H

#define CHAT_BOS "<｜begin▁of▁sentence｜>"
#define CHAT_EOS "<｜end▁of▁sentence｜>"
#define CHAT_USER_MARK "<｜User｜>"
#define CHAT_ASSISTANT_MARK "<｜Assistant｜>"
#define CHAT_REMINDER_MARK "<｜latest_reminder｜>"
#define CHAT_THINK "<think>"
#define CHAT_THINK_END "</think>"

/* Filling in the middle */
#define CHAT_FIM_BEGIN "<｜fim▁begin｜>"
#define CHAT_FIM_HOLE "<｜fim▁hole｜>"
#define CHAT_FIM_END "<｜fim▁end｜>"

/* Calls of V3, R1, V3.1 */
#define CHAT_CALLS "<｜tool▁calls▁begin｜>"
#define CHAT_CALLS_END "<｜tool▁calls▁end｜>"
#define CHAT_CALL "<｜tool▁call▁begin｜>"
#define CHAT_CALL_END "<｜tool▁call▁end｜>"
#define CHAT_CALL_SEP "<｜tool▁sep｜>"
#define CHAT_RESULTS "<｜tool▁outputs▁begin｜>"
#define CHAT_RESULTS_END "<｜tool▁outputs▁end｜>"
#define CHAT_RESULT "<｜tool▁output▁begin｜>"
#define CHAT_RESULT_END "<｜tool▁output▁end｜>"

/* Calls of V3.2 and V4 */
#define CHAT_DSML "｜DSML｜"
#define CHAT_DSML_INVOKE "<" CHAT_DSML "invoke name=\""
#define CHAT_DSML_INVOKE_END "</" CHAT_DSML "invoke>"
#define CHAT_DSML_PARAMETER "<" CHAT_DSML "parameter name=\""
#define CHAT_DSML_PARAMETER_END "</" CHAT_DSML "parameter>"

/* Calls of ChatML */
#define CHAT_TOOL_CALL "<tool_call>"
#define CHAT_TOOL_CALL_END "</tool_call>"
#define CHAT_TOOL_RESPONSE "<tool_response>"
#define CHAT_TOOL_RESPONSE_END "</tool_response>"

#define CHAT_SMOLLM2_SYSTEM "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
#define CHAT_QWEN2_SYSTEM "You are a helpful assistant."
#define CHAT_QWEN25_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

#endif
