import OpenAI from 'openai';

import { question, seen } from './weather.mjs';

const [, stream] = process.argv.slice(2);
const client = new OpenAI();
const weather = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather in a city now.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    parse: JSON.parse,
    function: () => seen,
  },
};
const runner = client.chat.completions.runTools({
  model: 'gpt-4.1-mini',
  messages: [{ role: 'user', content: question }],
  tools: [weather],
  stream: stream === 'true',
});
console.log(await runner.finalContent());
