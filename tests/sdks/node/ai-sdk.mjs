// Conversations by Vercel's AI SDK, which calls tools itself: `ai-sdk.mjs openai` by its default provider for OpenAI, which
// speaks Responses, or `ai-sdk.mjs anthropic`.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, isStepCount, jsonSchema, Output, streamText, tool } from "ai";
import { BUDGET_TOKENS, called, EFFORT, Event, MAX_TOKENS, resultOf, run } from "./program.mjs";

const MOST_STEPS = 5;
const CREATE = { openai: createOpenAI, anthropic: createAnthropic };
const THINKS = {
  openai: { forceReasoning: true, reasoningEffort: EFFORT, reasoningSummary: "auto" },
  anthropic: { thinking: { type: "enabled", budgetTokens: BUDGET_TOKENS } },
};
// its other way with OpenAI: whole items go back, in place of references to what the server is taken to store
const STATELESS = { openai: { store: false } };
const maker = process.argv[2];

async function converse(conversation) {
  const provider = CREATE[maker]({ apiKey: conversation.key, baseURL: conversation.base_url });
  const calls = [];
  const asked = {
    model: provider(conversation.model),
    messages: [{ role: "user", content: ask(conversation) }],
    tools: makeTools(conversation.tools ?? [], calls),
    stopWhen: isStepCount(MOST_STEPS),
    maxRetries: 0,
    maxOutputTokens: MAX_TOKENS,
  };
  if (conversation.thinks) {
    asked.providerOptions = { [maker]: { ...THINKS[maker], ...(conversation.stream && STATELESS[maker]) } };
  }
  if (conversation.schema) asked.output = Output.object({ schema: Event });
  const result = conversation.stream ? await readStream(asked) : await generateText(asked);
  const { inputTokens, outputTokens } = result.steps.at(-1).usage;
  const parsed = conversation.schema ? result.output : null;
  return { text: result.text, calls, usage: [inputTokens, outputTokens], parsed };
}

async function readStream(asked) {
  const stream = streamText({ ...asked, onError: () => {} });
  for await (const part of stream.fullStream) {
    if (part.type === "error") throw part.error;
  }
  return { text: await stream.text, steps: await stream.steps };
}

function makeTools(tools, calls) {
  const make = ({ name, description, parameters }) =>
    tool({
      description,
      inputSchema: jsonSchema(parameters),
      execute: (given) => {
        calls.push(called(name, given));
        return resultOf(name);
      },
    });
  return Object.fromEntries(tools.map((each) => [each.name, make(each)]));
}

function ask({ prompt, image }) {
  if (!image) return prompt;
  return [
    { type: "text", text: prompt },
    { type: "image", image, mediaType: "image/png" },
  ];
}

await run(converse);
