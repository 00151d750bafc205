// Vectors and pictures by OpenAI's SDK for Node: a new picture, one in a stream, and an edit of a file.
import OpenAI, { toFile } from "openai";

const [baseURL, apiKey, embedder, drawer] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const { data: vectors } = await client.embeddings.create({ model: embedder, input: ["one", "three"] });
const asked = { model: drawer, prompt: "A harbour at night" };
const drawn = await client.images.generate({ ...asked, n: 2 });
const edited = await client.images.edit({ ...asked, image: await toFile(Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), "a.png") });
const events = [];
for await (const event of await client.images.generate({ ...asked, stream: true, partial_images: 1 })) {
  events.push([event.type, event.b64_json]);
}
const pictures = [drawn, edited].map(({ data, usage }) => [data.map((each) => each.b64_json), usage.output_tokens]);
console.log(JSON.stringify({ vectors: vectors.map((each) => each.embedding), pictures, events }));
