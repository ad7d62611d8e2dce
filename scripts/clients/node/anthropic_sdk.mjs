// The npm package @anthropic-ai/sdk.
import Anthropic from '@anthropic-ai/sdk';
import { betaTool } from '@anthropic-ai/sdk/helpers/beta/json-schema';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
import {
  ANSWER, BASE, CITY_SCHEMA, COLOUR_QUESTION, COLOURS, KEY, MODEL, QUESTION, SUNNY,
  TOOL_DESCRIPTION, WEATHER, expect, runChecks,
} from './harness.mjs';

const client = new Anthropic({ baseURL: BASE, apiKey: KEY, maxRetries: 0 });
const request = (content) => ({
  model: MODEL, max_tokens: 64, messages: [{ role: 'user', content }], temperature: 0,
});

async function chat() {
  const answer = await client.messages.create(request(QUESTION));
  expect(answer.content[0].text === ANSWER, answer);
}

async function stream() {
  const text = await client.messages.stream(request(QUESTION)).finalText();
  expect(text === ANSWER, text);
}

async function tools() {
  const tool = {
    name: 'get_weather', description: TOOL_DESCRIPTION, input_schema: CITY_SCHEMA,
  };
  const body = { ...request(WEATHER), tools: [tool] };
  const first = await client.messages.create(body);
  const call = first.content.at(-1);
  expect(call.type === 'tool_use' && call.input.city === 'Paris', first);
  const result = { type: 'tool_result', tool_use_id: call.id, content: SUNNY };
  const second = await client.messages.create({
    ...body,
    messages: [
      ...body.messages,
      { role: 'assistant', content: first.content },
      { role: 'user', content: [result] },
    ],
  });
  expect(second.content[0].text.includes('sunny'), second);
}

async function tool_runner() {
  const tool = betaTool({
    name: 'get_weather', description: TOOL_DESCRIPTION, inputSchema: CITY_SCHEMA,
    run: async () => SUNNY,
  });
  const final = await client.beta.messages.toolRunner({ ...request(WEATHER), tools: [tool] });
  expect(final.content[0].text.includes('sunny'), final);
}

async function schema() {
  const answer = await client.messages.parse({
    ...request(COLOUR_QUESTION),
    output_config: { format: zodOutputFormat(z.object({ colour: z.enum(COLOURS) })) },
  });
  expect(COLOURS.includes(answer.parsed_output?.colour), answer);
}

async function count_tokens() {
  const { model, messages } = request(QUESTION);
  const counted = await client.messages.countTokens({ model, messages });
  expect(counted.input_tokens > 5, counted);
}

await runChecks(chat, stream, tools, tool_runner, schema, count_tokens);
