// Conversations by Anthropic's SDK for Node. Every block of an answer goes back as it came.
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { BUDGET_TOKENS, called, Event, MAX_TOKENS, resultOf, run } from "./program.mjs";

async function converse(conversation) {
  const baseURL = conversation.base_url.replace(/\/v1$/, "");
  const client = new Anthropic({ apiKey: conversation.key, baseURL, maxRetries: 0 });
  const messages = [{ role: "user", content: ask(conversation) }];
  const calls = [];
  for (;;) {
    const answer = await create(client.messages, conversation, messages);
    const used = answer.content.filter((block) => block.type === "tool_use");
    if (!used.length) {
      const text = answer.content.map((block) => (block.type === "text" ? block.text : "")).join("");
      const usage = [answer.usage.input_tokens + answer.usage.cache_read_input_tokens, answer.usage.output_tokens];
      return { text, calls, usage, parsed: answer.parsed_output };
    }
    calls.push(...used.map((call) => called(call.name, call.input)));
    const results = used.map(({ id, name }) => ({ type: "tool_result", tool_use_id: id, content: resultOf(name) }));
    messages.push({ role: "assistant", content: answer.content }, { role: "user", content: results });
  }
}

function ask({ prompt, image }) {
  if (!image) return prompt;
  const source = { type: "base64", media_type: "image/png", data: image };
  return [{ type: "text", text: prompt }, { type: "image", source }];
}

function create(client, { model, tools, thinks, schema, stream }, messages) {
  const asked = { model, messages, max_tokens: MAX_TOKENS };
  if (tools) asked.tools = tools.map(({ name, description, parameters }) => ({ name, description, input_schema: parameters }));
  if (thinks) asked.thinking = { type: "enabled", budget_tokens: BUDGET_TOKENS };
  if (schema) return client.parse({ ...asked, output_config: { format: zodOutputFormat(Event) } });
  return stream ? client.stream(asked).finalMessage() : client.create(asked);
}

await run(converse);
