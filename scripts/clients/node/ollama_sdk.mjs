// The npm package ollama.
import { Ollama } from 'ollama';
import {
  ANSWER, BASE, COLOUR_QUESTION, COLOUR_SCHEMA, COLOURS, EMBEDDING_MODEL, FUNCTION, MODEL,
  QUESTION, SUNNY, WEATHER, expect, runChecks,
} from './harness.mjs';

const client = new Ollama({ host: BASE });
const options = { temperature: 0 };
const user = (content) => [{ role: 'user', content }];

async function chat() {
  const answer = await client.chat({ model: MODEL, messages: user(QUESTION), options });
  expect(answer.message.content === ANSWER, answer);
}

async function stream() {
  const parts = await client.chat({
    model: MODEL, messages: user(QUESTION), stream: true, options,
  });
  let text = '';
  for await (const part of parts) text += part.message.content;
  expect(text === ANSWER, text);
}

async function tools() {
  const tools = [{ type: 'function', function: FUNCTION }];
  const messages = user(WEATHER);
  const first = await client.chat({ model: MODEL, messages, tools, options });
  const call = first.message.tool_calls?.[0].function;
  expect(call?.arguments.city === 'Paris', first);
  messages.push(first.message, { role: 'tool', tool_name: call.name, content: SUNNY });
  const second = await client.chat({ model: MODEL, messages, tools, options });
  expect(second.message.content.includes('sunny'), second);
}

async function schema() {
  const answer = await client.chat({
    model: MODEL, messages: user(COLOUR_QUESTION), format: COLOUR_SCHEMA,
  });
  expect(COLOURS.includes(JSON.parse(answer.message.content).colour), answer);
}

async function embeddings() {
  const answer = await client.embed({ model: EMBEDDING_MODEL, input: ['one', 'two'] });
  expect(answer.embeddings.length === 2 && answer.embeddings[1].some(Boolean), answer);
}

async function old_embeddings() {
  const answer = await client.embeddings({ model: EMBEDDING_MODEL, prompt: 'one' });
  expect(answer.embedding.some(Boolean), answer);
}

async function models() {
  const listed = await client.list();
  expect(listed.models.some((model) => model.model.startsWith(MODEL)), listed);
  const shown = await client.show({ model: MODEL });
  expect(shown.capabilities.includes('tools'), shown);
}

await runChecks(chat, stream, tools, schema, embeddings, old_embeddings, models);
