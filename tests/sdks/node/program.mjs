// What every SDK's program is: conversations come as JSON on stdin, and one line of JSON tells what came of each.
import { readFileSync } from "node:fs";
import { z } from "zod";

export const EFFORT = "medium";
export const BUDGET_TOKENS = 2000;
export const MAX_TOKENS = 8000;
export const Event = z.object({ name: z.string(), day: z.string() });

/** Hold all conversations, one after the other. An exception is what the SDK says, too. */
export async function run(converse) {
  for (const conversation of JSON.parse(readFileSync(0, "utf8"))) {
    const said = await converse(conversation).catch((error) => ({ error: describe(error) }));
    console.log(JSON.stringify({ id: conversation.id, ...said }));
  }
}

/** What a tool answers. */
export function resultOf(name) {
  return `Result of ${name}`;
}

/** A call as it is told, with arguments as text or read. */
export function called(name, given) {
  return { name, arguments: typeof given === "string" ? JSON.parse(given) : given };
}

function describe(error) {
  const classes = [];
  for (let each = error; each?.constructor && each !== Object.prototype; each = Object.getPrototypeOf(each)) {
    if (!classes.includes(each.constructor.name)) classes.push(each.constructor.name);
  }
  const status = error.status ?? error.statusCode ?? null;
  const requestId = error.requestID ?? error.responseHeaders?.["x-request-id"] ?? null;
  return { classes, status, message: String(error.message), request_id: requestId };
}
