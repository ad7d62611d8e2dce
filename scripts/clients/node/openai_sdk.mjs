// The npm package openai: chat completions, responses and embeddings.
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import {
  ANSWER, BASE, COLOUR_QUESTION, COLOURS, EMBEDDING_MODEL, FUNCTION, KEY, MODEL, QUESTION, SUNNY,
  WEATHER, expect, runChecks,
} from './harness.mjs';

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, maxRetries: 0 });
const Colour = z.object({ colour: z.enum(COLOURS) });
const user = (content) => [{ role: 'user', content }];

async function chat() {
  const answer = await client.chat.completions.create({
    model: MODEL, messages: user(QUESTION), temperature: 0,
  });
  expect(answer.choices[0].message.content === ANSWER, answer);
}

async function stream() {
  const runner = client.chat.completions.stream({
    model: MODEL, messages: user(QUESTION), temperature: 0,
  });
  const text = await runner.finalContent();
  expect(text === ANSWER, text);
}

async function tools() {
  const tool = {
    type: 'function',
    function: { ...FUNCTION, parse: JSON.parse, function: async () => SUNNY },
  };
  const runner = client.chat.completions.runTools({
    model: MODEL, messages: user(WEATHER), tools: [tool], temperature: 0,
  });
  const text = await runner.finalContent();
  expect(text.includes('sunny'), text);
}

async function schema() {
  const answer = await client.chat.completions.parse({
    model: MODEL, messages: user(COLOUR_QUESTION), response_format: zodResponseFormat(Colour, 'c'),
  });
  expect(COLOURS.includes(answer.choices[0].message.parsed?.colour), answer);
}

async function embeddings() {
  const answer = await client.embeddings.create({ model: EMBEDDING_MODEL, input: ['one', 'two'] });
  expect(answer.data.length === 2 && answer.data[1].embedding.some(Boolean), answer);
}

async function responses() {
  const answer = await client.responses.create({ model: MODEL, input: QUESTION, temperature: 0 });
  expect(answer.output_text === ANSWER, answer);
}

async function responses_stream() {
  const events = client.responses.stream({ model: MODEL, input: QUESTION, temperature: 0 });
  const answer = await events.finalResponse();
  expect(answer.output_text === ANSWER, answer);
}

async function responses_tools() {
  const tools = [{ type: 'function', strict: false, ...FUNCTION }];
  const input = user(WEATHER);
  const first = await client.responses.create({ model: MODEL, input, tools, temperature: 0 });
  const call = first.output.at(-1);
  expect(call.type === 'function_call' && call.arguments.includes('Paris'), first);
  const output = { type: 'function_call_output', call_id: call.call_id, output: SUNNY };
  const second = await client.responses.create({
    model: MODEL, input: [...input, ...first.output, output], tools, temperature: 0,
  });
  expect(second.output_text.includes('sunny'), second);
}

async function responses_schema() {
  const answer = await client.responses.parse({
    model: MODEL, input: COLOUR_QUESTION, text: { format: zodTextFormat(Colour, 'c') },
  });
  expect(COLOURS.includes(answer.output_parsed?.colour), answer);
}

await runChecks(
  chat, stream, tools, schema, embeddings, responses, responses_stream, responses_tools,
  responses_schema,
);
