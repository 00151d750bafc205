// Conversations by OpenAI's SDK for Node: chat completions.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { called, EFFORT, Event, resultOf, run } from "./program.mjs";

async function converse(conversation) {
  const client = new OpenAI({ apiKey: conversation.key, baseURL: conversation.base_url, maxRetries: 0 });
  const messages = [{ role: "user", content: ask(conversation) }];
  const calls = [];
  for (;;) {
    const answer = await complete(client.chat.completions, conversation, messages);
    const { message } = answer.choices[0];
    if (!message.tool_calls?.length) {
      const usage = [answer.usage.prompt_tokens, answer.usage.completion_tokens];
      return { text: message.content, calls, usage, parsed: message.parsed };
    }
    messages.push(message);
    for (const call of message.tool_calls) {
      calls.push(called(call.function.name, call.function.arguments));
      messages.push({ role: "tool", tool_call_id: call.id, content: resultOf(call.function.name) });
    }
  }
}

function ask({ prompt, image }) {
  if (!image) return prompt;
  const picture = { type: "image_url", image_url: { url: `data:image/png;base64,${image}` } };
  return [{ type: "text", text: prompt }, picture];
}

function complete(completions, { model, tools, thinks, schema, stream }, messages) {
  const asked = { model, messages };
  if (tools) asked.tools = tools.map((tool) => ({ type: "function", function: { ...tool, strict: true } }));
  if (thinks) asked.reasoning_effort = EFFORT;
  if (schema) return completions.parse({ ...asked, response_format: zodResponseFormat(Event, "event") });
  if (!stream) return completions.create(asked);
  return completions.stream({ ...asked, stream_options: { include_usage: true } }).finalChatCompletion();
}

await run(converse);
