// Conversations by OpenAI's SDK for Node: Responses. Every item of an answer goes back as it came.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { called, EFFORT, Event, resultOf, run } from "./program.mjs";

/** The SDK gives a failed response like any other, and leaves it to its caller to look at the status. */
class ResponseFailed extends Error {}

async function converse(conversation) {
  const client = new OpenAI({ apiKey: conversation.key, baseURL: conversation.base_url, maxRetries: 0 });
  const input = [{ role: "user", content: ask(conversation) }];
  const calls = [];
  for (;;) {
    const answer = await respond(client.responses, conversation, input);
    const asked = answer.output.filter((item) => item.type === "function_call");
    if (!asked.length) {
      const usage = [answer.usage.input_tokens, answer.usage.output_tokens];
      return { text: answer.output_text, calls, usage, parsed: answer.output_parsed };
    }
    input.push(...answer.output);
    for (const call of asked) {
      calls.push(called(call.name, call.arguments));
      input.push({ type: "function_call_output", call_id: call.call_id, output: resultOf(call.name) });
    }
  }
}

function ask({ prompt, image }) {
  if (!image) return prompt;
  const picture = { type: "input_image", image_url: `data:image/png;base64,${image}`, detail: "auto" };
  return [{ type: "input_text", text: prompt }, picture];
}

async function respond(responses, { model, tools, thinks, schema, stream }, input) {
  const asked = { model, input };
  if (tools) asked.tools = tools.map((tool) => ({ type: "function", strict: true, ...tool }));
  if (thinks) {
    asked.reasoning = { effort: EFFORT, summary: "auto" };
    asked.store = false;
    asked.include = ["reasoning.encrypted_content"];
  }
  if (schema) return responses.parse({ ...asked, text: { format: zodTextFormat(Event, "event") } });
  if (!stream) return responses.create(asked);
  const answer = await responses.stream(asked).finalResponse();
  if (answer.status === "failed") throw new ResponseFailed(answer.error.message);
  return answer;
}

await run(converse);
