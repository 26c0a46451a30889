/* text/chat_marks.h: the spelling of control tokens and of default system messages, for the encoders
 * (chat.c) and the detection (chat_detect.c). They must be byte-exact: models were trained on them. */
#ifndef TEXT_CHAT_MARKS_H
#define TEXT_CHAT_MARKS_H

#define CHAT_BOS "<｜begin▁of▁sentence｜>"
#define CHAT_EOS "<｜end▁of▁sentence｜>"
#define CHAT_USER_MARK "<｜User｜>"
#define CHAT_ASSISTANT_MARK "<｜Assistant｜>"
#define CHAT_THINK "<think>"
#define CHAT_THINK_END "</think>"
#define CHAT_SMOLLM2_SYSTEM "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
#define CHAT_QWEN2_SYSTEM "You are a helpful assistant."
#define CHAT_QWEN25_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

#endif
