// The AI SDK (npm `ai`) with the provider that the first argument names.
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { Output, embedMany, generateText, stepCountIs, streamText, tool } from 'ai';
import { createOllama } from 'ollama-ai-provider-v2';
import { z } from 'zod';
import {
  ANSWER, BASE, COLOUR_QUESTION, COLOURS, EMBEDDING_MODEL, KEY, MODEL, QUESTION, SUNNY,
  TOOL_DESCRIPTION, WEATHER, expect, runChecks,
} from './harness.mjs';

const kind = process.argv[2];
const openai = createOpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY });
const compatible = createOpenAICompatible({
  name: 'llamabind', baseURL: `${BASE}/v1`, supportsStructuredOutputs: true,
});
const ollama = createOllama({ baseURL: `${BASE}/api` });
const [model, embedder] = {
  compatible: () => [compatible(MODEL), compatible.embeddingModel(EMBEDDING_MODEL)],
  responses: () => [openai(MODEL), openai.embeddingModel(EMBEDDING_MODEL)],
  chat: () => [openai.chat(MODEL)],
  anthropic: () => [createAnthropic({ baseURL: `${BASE}/v1`, apiKey: KEY })(MODEL)],
  ollama: () => [ollama(MODEL), ollama.embeddingModel(EMBEDDING_MODEL)],
}[kind]();
const call = { model, temperature: 0, maxRetries: 0 };

async function chat() {
  const { text } = await generateText({ ...call, prompt: QUESTION });
  expect(text === ANSWER, text);
}

async function stream() {
  let problem;
  const result = streamText({ ...call, prompt: QUESTION, onError: ({ error }) => { problem = error; } });
  let text = '';
  for await (const part of result.textStream) text += part;
  expect(text === ANSWER, problem ?? text);
}

async function tools() {
  const get_weather = tool({
    description: TOOL_DESCRIPTION,
    inputSchema: z.object({ city: z.string() }),
    execute: async () => JSON.parse(SUNNY),
  });
  const { text } = await generateText({
    ...call, prompt: WEATHER, tools: { get_weather }, stopWhen: stepCountIs(3),
  });
  expect(text.includes('sunny'), text);
}

async function schema() {
  const { output } = await generateText({
    ...call,
    prompt: COLOUR_QUESTION,
    output: Output.object({ schema: z.object({ colour: z.enum(COLOURS) }) }),
  });
  expect(COLOURS.includes(output.colour), output);
}

async function embeddings() {
  const { embeddings: vectors } = await embedMany({
    model: embedder, values: ['one', 'two'], maxRetries: 0,
  });
  expect(vectors.length === 2 && vectors[1].some(Boolean), vectors);
}

await runChecks(chat, stream, tools, schema, ...(embedder ? [embeddings] : []));
