// What all checks share: where the server is, what is asked, and how a result is reported.
export const BASE = process.env.CLIENTS_BASE_URL;
export const MODEL = process.env.CLIENTS_MODEL;
export const EMBEDDING_MODEL = process.env.CLIENTS_EMBEDDING_MODEL;
export const KEY = 'none';
export const QUESTION = 'What is the capital of France?';
export const ANSWER = 'The capital of France is Paris.';
export const WEATHER = 'What is the weather in Paris?';
export const SUNNY = '{"weather": "sunny"}';
export const COLOURS = ['red', 'blue'];
export const COLOUR_QUESTION = 'What is the colour of the sky?';
export const TOOL_DESCRIPTION = 'Get the weather of a city';
export const CITY_SCHEMA = {
  type: 'object',
  properties: { city: { type: 'string', description: 'Name of the city' } },
  required: ['city'],
};
export const COLOUR_SCHEMA = {
  type: 'object',
  properties: { colour: { type: 'string', enum: COLOURS } },
  required: ['colour'],
  additionalProperties: false,
};
export const FUNCTION = {
  name: 'get_weather',
  description: TOOL_DESCRIPTION,
  parameters: CITY_SCHEMA,
};

export function expect(condition, found) {
  if (!condition) throw new Error(`found ${JSON.stringify(found)}`);
}

// Runs each check and prints its result as one line of JSON. The name is the function's.
export async function runChecks(...checks) {
  for (const check of checks) {
    const start = performance.now();
    let error = '';
    try {
      await check();
    } catch (problem) {
      error = `${problem?.name}: ${problem?.message ?? problem}`;
      if (process.env.CLIENTS_TRACEBACKS) console.error(problem);
    }
    const seconds = (performance.now() - start) / 1000;
    console.log(`RESULT ${JSON.stringify({ check: check.name, error, seconds })}`);
  }
}
